//! Tests of the manifest's stored form.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn kind(encoding: u8) -> Arc<InstanceKind> {
    Arc::new(InstanceKind {
        sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".to_owned(),
        transfer_syntax_uid: "1.2.840.10008.1.2.1".to_owned(),
        encoding,
        detail: Bytes::from_static(b"512x512"),
    })
}

/// A CT series: compressed slices of changing length, received a few milliseconds apart, padded now and then.
fn series(instances: u32) -> Manifest {
    let kind = kind(0);
    let mut offset = 0;
    let instances = (0..instances).map(|number| {
        let noise = crc32c(&number.to_le_bytes());
        let instance = ManifestInstance {
            sop_instance_uid: format!(
                "1.3.12.2.1107.5.1.4.54321.300000221122{:017}",
                8_123_456_789_u64 + u64::from(number) * 3
            ),
            number: Some(i32::try_from(number + 1).unwrap()),
            offset,
            bytes: 180_000 + u64::from(noise % 60_000),
            crc32c: noise.wrapping_mul(2_654_435_761),
            pixel_data: 2_300 + u64::from(noise % 3) * 2,
            frame_table: None,
            received_millis: 1_760_000_000_000 + i64::from(number) * 23 + i64::from(noise % 11),
            kind: Arc::clone(&kind),
        };
        offset += instance.bytes + if number % 20 == 19 { u64::from(noise % 200_000) } else { 0 };
        instance
    });
    Manifest { instances: instances.collect() }
}

fn instances() -> impl Strategy<Value = Vec<ManifestInstance>> {
    let extent = (any::<u64>(), any::<u64>(), any::<u32>());
    let extent = extent.prop_map(|(offset, bytes, crc32c)| Extent { offset, bytes, crc32c });
    let fields = (
        "\\PC{0,8}|1\\.2\\.[0-9.]{0,40}",
        any::<Option<i32>>(),
        any::<[u64; 3]>(),
        any::<u32>(),
        proptest::option::of(extent),
        any::<i64>(),
        any::<u8>(),
    );
    let instance = fields.prop_map(
        |(uid, number, [offset, bytes, pixel_data], crc32c, frame_table, received_millis, encoding)| ManifestInstance {
            sop_instance_uid: uid,
            number,
            offset,
            bytes,
            crc32c,
            pixel_data,
            frame_table,
            received_millis,
            kind: kind(encoding % 3),
        },
    );
    vec(instance, 0..40)
}

#[test]
fn a_thousand_slices_take_at_most_22_bytes_each() {
    let manifest = series(1_000);
    let bytes = manifest.encode();
    assert!(bytes.len() <= 22_000, "{} bytes", bytes.len());
    assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
}

#[test]
fn kinds_are_shared_after_decoding() {
    let decoded = Manifest::decode(&series(2).encode()).unwrap();
    assert!(Arc::ptr_eq(&decoded.instances[0].kind, &decoded.instances[1].kind));
}

#[test]
fn every_flip_and_cut_is_refused() {
    let bytes = series(20).encode();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x40;
        assert!(Manifest::decode(&flipped).is_err(), "flip at {at}");
        assert!(Manifest::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}

/// Wraps a body so that only its content is judged.
fn wrap(form: u8, body_bytes: usize, stored: &[u8]) -> Vec<u8> {
    let mut out = vec![VERSION, form];
    put_varint(&mut out, length(body_bytes));
    out.extend_from_slice(stored);
    out.extend_from_slice(&crc32c(&out).to_le_bytes());
    out
}

#[test]
fn claims_of_more_than_is_there_are_refused() {
    let mut body = Vec::new();
    put_varint(&mut body, length(INSTANCES_MAX));
    assert!(Manifest::decode(&wrap(PLAIN, body.len(), &body)).is_err());
    let bomb = zstd::bulk::compress(&vec![0; 1 << 20], 3).unwrap();
    assert!(Manifest::decode(&wrap(ZSTD, 1_000, &bomb)).is_err());
    assert!(Manifest::decode(&wrap(ZSTD, BODY_BYTES_MAX + 1, &bomb)).is_err());
    assert!(Manifest::decode(&wrap(2, 1, &[0])).is_err());
}

proptest! {
    #[test]
    fn any_manifest_round_trips(instances in instances()) {
        let manifest = Manifest { instances };
        prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
    }

    #[test]
    fn any_body_decodes_or_fails(body in vec(any::<u8>(), 0..300)) {
        if let Ok(manifest) = Manifest::decode(&wrap(PLAIN, body.len(), &body)) {
            prop_assert!(manifest.instances.len() <= body.len());
        }
    }
}
