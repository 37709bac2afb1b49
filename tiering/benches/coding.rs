//! What coding costs: parity of a row at 4+2 beside a copy of the same bytes, and the manifest of a series of 1,000
//! instances, whose cost is counted per instance.

use std::sync::Arc;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tiering::{CodeProfile, Erasure, InstanceKind, Manifest, ManifestInstance};

/// Data shards of a row.
const DATA_SHARDS: u8 = 4;
/// Parity shards of a row.
const PARITY_SHARDS: u8 = 2;
/// Bytes that one shard has of a row.
const CHUNK_BYTES: usize = 256 << 10;
/// Instances of the manifest.
const INSTANCES: u32 = 1_000;

fn main() {
    divan::main();
}

/// Copies what the erasure code reads.
#[divan::bench]
fn baseline_memcpy(bencher: Bencher<'_, '_>) {
    let (data, mut copy) = (row(DATA_SHARDS), row(DATA_SHARDS));
    bencher.counter(data_bytes()).bench_local(|| {
        for (from, to) in black_box(&data).iter().zip(&mut copy) {
            to.copy_from_slice(from);
        }
        black_box(&mut copy);
    });
}

#[divan::bench]
fn erasure_encode(bencher: Bencher<'_, '_>) {
    let (data, mut parity) = (row(DATA_SHARDS), row(PARITY_SHARDS));
    let erasure = erasure();
    bencher.counter(data_bytes()).bench_local(|| {
        erasure.encode(black_box(&data), &mut parity);
        black_box(&mut parity);
    });
}

/// Restores one data shard of a row that lacks two.
#[divan::bench]
fn erasure_decode(bencher: Bencher<'_, '_>) {
    let (data, mut parity) = (row(DATA_SHARDS), row(PARITY_SHARDS));
    let erasure = erasure();
    erasure.encode(&data, &mut parity);
    let lost = usize::from(PARITY_SHARDS);
    let left: Vec<(u8, &[u8])> = (0..).zip(data.iter().chain(&parity).map(Vec::as_slice)).skip(lost).collect();
    let mut out = vec![0; CHUNK_BYTES];
    bencher.counter(data_bytes()).bench_local(|| {
        erasure.decode(black_box(&left), 0, &mut out).expect("four of six are there");
        black_box(&mut out);
    });
}

#[divan::bench]
fn manifest_encode(bencher: Bencher<'_, '_>) {
    let manifest = manifest();
    bencher.counter(ItemsCount::new(INSTANCES)).bench_local(|| black_box(&manifest).encode());
}

#[divan::bench]
fn manifest_decode(bencher: Bencher<'_, '_>) {
    let bytes = manifest().encode();
    bencher
        .counter(ItemsCount::new(INSTANCES))
        .bench_local(|| Manifest::decode(black_box(&bytes)).expect("it was just encoded"));
}

fn data_bytes() -> BytesCount {
    BytesCount::new(usize::from(DATA_SHARDS) * CHUNK_BYTES)
}

fn row(shards: u8) -> Vec<Vec<u8>> {
    (0..shards).map(|shard| (0..=u8::MAX).map(|byte| byte ^ shard).cycle().take(CHUNK_BYTES).collect()).collect()
}

fn erasure() -> Erasure {
    let code = CodeProfile::new(DATA_SHARDS, PARITY_SHARDS).expect("4+2 is a code");
    Erasure::new(code).expect("4+2 has a matrix")
}

/// Slices of 60 KB, received a few milliseconds apart.
fn manifest() -> Manifest {
    let kind = Arc::new(InstanceKind {
        sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".to_owned(),
        transfer_syntax_uid: "1.2.840.10008.1.2.1".to_owned(),
        encoding: 0,
        detail: Bytes::from_static(b"172x172"),
    });
    let instance = |number: u32| ManifestInstance {
        sop_instance_uid: format!("2.25.{}", 85_070_591_730_234_615_865_843_651_857_942_052_864 + u128::from(number)),
        number: i32::try_from(number + 1).ok(),
        offset: u64::from(number) * 60_500,
        bytes: 60_500,
        crc32c: number.wrapping_mul(2_654_435_761),
        pixel_data: 1_332,
        frame_table: None,
        received_millis: 1_760_000_000_000 + i64::from(number) * 3,
        kind: Arc::clone(&kind),
    };
    Manifest { instances: (0..INSTANCES).map(instance).collect() }
}
