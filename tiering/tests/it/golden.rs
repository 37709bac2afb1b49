//! Shards of format version 1, kept for ever: every later version must read them.
//!
//! They were written as `written` writes; `README.md` beside them says how they are stored.

use std::fs;
use std::path::PathBuf;

use tiering::{ContainerId, PoolConfig, Store, Tier, Toc, Verdict};

use crate::support::{Rig, options, read_of, toc_of};

const ID: &str = "01930000-0000-7000-8000-0000000000f1";
const ITEMS: [usize; 4] = [3_000, 60_000, 100_001, 9];
/// Units are of 64 KiB, so the third item lies in three units of two rows.
const OFFSETS: [u64; 4] = [0, 3_000, 63_000, 163_001];

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/formats/container/v1").join(name);
    zstd::decode_all(fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// Content that any language writes in a line.
fn item(number: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from((at * 7 + at / 997 + number * 31) % 251).unwrap()).collect()
}

/// Writes the golden container anew.
fn written() -> (Rig, Toc) {
    let rig = Rig::new("2+1", 3);
    let mut writer = rig.open().create_as(ID.parse().unwrap(), Tier::Hot, 1_000).unwrap();
    for (number, bytes) in ITEMS.into_iter().enumerate() {
        assert_eq!(writer.append(&item(number, bytes)).unwrap(), OFFSETS[number]);
    }
    let toc = toc();
    writer.seal(&toc).unwrap();
    (rig, toc)
}

fn toc() -> Toc {
    let kind = std::sync::Arc::new(tiering::InstanceKind {
        sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".to_owned(),
        transfer_syntax_uid: "1.2.840.10008.1.2.1".to_owned(),
        encoding: 0,
        detail: bytes::Bytes::from_static(b"detail"),
    });
    let instance = |number: i32, offset, bytes| tiering::ManifestInstance {
        sop_instance_uid: format!("2.25.1.2.{number}"),
        number: Some(number),
        offset,
        bytes,
        crc32c: 0x0102_0304,
        pixel_data: 1_000,
        frame_table: (number == 2).then_some(tiering::Extent { offset: 7, bytes: 8, crc32c: 9 }),
        received_millis: 1_731_628_800_000,
        kind: std::sync::Arc::clone(&kind),
    };
    let manifest = tiering::Manifest {
        instances: vec![instance(1, 0, 3_000), instance(2, 3_000, 60_000), instance(4, 63_000, 100_001)],
    };
    let segment = tiering::TocSegment {
        study_instance_uid: "2.25.1".to_owned(),
        series_instance_uid: "2.25.1.2".to_owned(),
        summary: bytes::Bytes::from_static(b"{}"),
        metadata: tiering::Extent { offset: 163_001, bytes: 9, crc32c: 5 },
        manifest,
    };
    Toc { segments: vec![segment] }
}

/// Puts the golden shards on three devices, one of them replaced by a damaged one.
fn placed(damaged: Option<(usize, &str)>) -> (Rig, Store) {
    let rig = Rig::new("2+1", 3);
    drop(rig.open());
    for number in 0..3 {
        let name = match damaged {
            Some((shard, name)) if shard == number => format!("damaged/{name}.fshard.zst"),
            _ => format!("healthy/{number:03}.fshard.zst"),
        };
        let directory = rig.device(number).join("containers/f1");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join(format!("{ID}.{number:03}.fshard")), golden(&name)).unwrap();
    }
    let store = rig.open();
    (rig, store)
}

fn assert_golden(store: &Store) {
    let id: ContainerId = ID.parse().unwrap();
    for (number, (offset, bytes)) in OFFSETS.into_iter().zip(ITEMS).enumerate() {
        let got = read_of(store, id, offset..offset + bytes as u64).unwrap();
        assert!(got == item(number, bytes), "item {number}");
    }
    assert_eq!(toc_of(store, id).unwrap(), toc());
}

#[test]
fn healthy_shards_are_read() {
    let (_rig, store) = placed(None);
    assert_golden(&store);
    assert!(store.verify(ID.parse().unwrap()).unwrap().is_healthy());
}

#[test]
fn damaged_shards_are_told_and_survived() {
    for (number, name) in
        [(0, "000-header"), (0, "000-toc"), (1, "001-block"), (1, "001-table"), (2, "002-footer"), (2, "002-cut")]
    {
        let (_rig, store) = placed(Some((number, name)));
        assert_golden(&store);
        let verification = store.verify(ID.parse().unwrap()).unwrap();
        assert!(verification.recoverable);
        for shard in verification.shards {
            let harmed = usize::from(shard.number) == number;
            assert_eq!(matches!(shard.verdict, Verdict::Damaged { .. }), harmed, "{name}: {:?}", shard.verdict);
        }
    }
}

#[test]
fn the_writer_still_writes_the_same_bytes() {
    let (rig, _) = written();
    for (number, path) in rig.shards(ID.parse().unwrap()).into_iter().enumerate() {
        let (new, old) = (fs::read(path).unwrap(), golden(&format!("healthy/{number:03}.fshard.zst")));
        // All but the table of contents and what follows: another version of zstd may compress it otherwise.
        let tail = old.len() - 100;
        let region = u64::from_le_bytes(old[tail + 40..][..8].try_into().unwrap()) as usize;
        let end = 4096 + region + region / 65_536 * 4 + 3 * 32;
        assert!(new[..end] == old[..end], "shard {number}");
    }
}

/// Reads the container by what the documentation says, with none of our code.
#[test]
fn the_format_is_what_the_documentation_says() {
    let shards: Vec<Vec<u8>> = (0..2).map(|number| golden(&format!("healthy/{number:03}.fshard.zst"))).collect();
    let footer = &shards[0][shards[0].len() - 100..];
    let field = |at: usize| u64::from_le_bytes(footer[at..][..8].try_into().unwrap()) as usize;
    let (logical, unit) = (field(32), u32::from_le_bytes(footer[48..52].try_into().unwrap()) as usize);
    assert_eq!((&footer[..8], footer[29], footer[30]), (b"FRFOOTER".as_slice(), 2, 1));
    let read = |offset: usize| shards[offset / unit % 2][4096 + offset / unit / 2 * unit + offset % unit];
    let all: Vec<u8> = (0..logical).map(read).collect();
    assert!(
        all[..3_000] == item(0, 3_000) && all[3_000..63_000] == item(1, 60_000) && all[logical - 9..] == item(3, 9)
    );
}

/// A last row is striped in units of its own size, as the documentation says.
#[test]
fn a_last_row_is_spread_as_the_documentation_says() {
    let rig = Rig::new("4+2", 6);
    let options = tiering::StoreOptions { unit_bytes_max: 1 << 20, ..options() };
    let store = Store::open(vec![rig.pool.clone()], options).unwrap();
    let filled = crate::support::make(&store, &[400_000; 18]);
    let (k, unit, logical) = (4, 1 << 20, filled.logical.len());
    let full = logical / (k * unit) * (k * unit);
    let short = (logical - full).div_ceil(k).next_multiple_of(65_536);
    assert!(full > 0 && short < unit, "{logical}");
    let shards: Vec<Vec<u8>> = rig.shards(filled.sealed.id).into_iter().map(|path| fs::read(path).unwrap()).collect();
    let read = |offset: usize| match offset.checked_sub(full) {
        None => shards[offset / unit % k][4096 + offset / unit / k * unit + offset % unit],
        Some(rest) => shards[rest / short][4096 + full / k + rest % short],
    };
    assert!((0..logical).all(|offset| read(offset) == filled.logical[offset]));
    crate::support::assert_readable(&store, &filled);
    fs::remove_file(&rig.shards(filled.sealed.id)[2]).unwrap();
    crate::support::assert_readable(&rig.open(), &filled);
}

/// The golden pool is not one that a configuration could mistake for another.
#[test]
fn golden_shards_do_not_fit_another_code() {
    let (rig, store) = placed(None);
    drop(store);
    let pool = PoolConfig { code: "1+2".parse().unwrap(), ..rig.pool.clone() };
    assert!(Store::open(vec![pool], options()).is_err());
}
