//! Damaged headers: whatever the bytes are, reading ends, soon and without a panic.

use dicom_data::{
    FileMetaRead, encode, find_bulk, fragment_table, frame_count, level_attributes, native_frame_range, read_file_meta,
    read_frame_layout, read_identifiers, read_levels, write_json,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::encode::any_attributes;
use super::*;

/// Reads bytes in every way and checks what must hold of any result.
pub(super) fn read_all(bytes: &[u8], uid: &str) {
    drop(read_identifiers(bytes, syntax(uid)));
    for path in ["7FE00010", "00081115/0/00420011"] {
        let found = find_bulk(bytes, syntax(uid), &path.parse().unwrap()).unwrap();
        if let Some(found) = found.filter(|_| uid != DEFLATED) {
            assert!(found.offset + found.bytes <= bytes.len() as u64);
        }
    }
    let Ok(result) = read(bytes, syntax(uid), &Limits::default()) else {
        return;
    };
    let indexed = read_levels(bytes, syntax(uid), &Limits::default()).unwrap();
    assert_eq!(level_attributes(&indexed), level_attributes(&result.attributes), "what the index keeps is the same");
    let of_frames = read_frame_layout(bytes, syntax(uid), &Limits::default()).unwrap();
    if result.complete {
        assert_eq!(of_frames.pixel_data, result.pixel_data);
        assert_eq!(frame_count(&of_frames.attributes), frame_count(&result.attributes));
        let second = |parsed: &Parsed| native_frame_range(&parsed.attributes, u64::from(u32::MAX), 1);
        assert_eq!(second(&of_frames), second(&result), "how frames lie is the same");
    }
    let mut json = Vec::new();
    write_json(&result.attributes, &|path| path.to_string(), &mut json);
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&json).is_ok());
    drop(encode(&result.attributes, syntax(uid)));
    if let Some(pixels) = result.pixel_data.filter(|_| uid != DEFLATED) {
        assert!(pixels.offset + pixels.bytes <= bytes.len() as u64);
        if let Ok(table) = fragment_table(bytes, &pixels, &result.attributes) {
            for fragment in table.all() {
                assert!(fragment.offset + fragment.bytes <= bytes.len() as u64);
            }
        }
    }
}

fn data_set(all: &Attributes, uid: &str) -> Vec<u8> {
    let mut bytes = encode(all, syntax(uid));
    if uid == EXPLICIT {
        bytes = [identity(), bytes, explicit(0x28, 8, "IS", b"2 "), encapsulated(&[0; 8], &[b"abcdef".as_slice(); 3])]
            .concat();
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn damaged_data_sets(
        all in any_attributes(),
        uid in prop::sample::select(vec![EXPLICIT, IMPLICIT, BIG, DEFLATED]),
        damages in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = data_set(&all, uid);
        if !bytes.is_empty() {
            for (at, byte) in damages {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            read_all(&bytes, uid);
            read_all(&bytes[..cut.index(bytes.len())], uid);
        }
    }

    #[test]
    fn any_bytes(bytes in vec(prop_oneof![any::<u8>(), Just(0), Just(0xFF), Just(0xFE), Just(0xE0)], 0..300)) {
        for uid in [EXPLICIT, IMPLICIT, BIG, DEFLATED] {
            read_all(&bytes, uid);
        }
        let file = [&[0; 128][..], b"DICM", &bytes].concat();
        if let Ok(FileMetaRead::Meta { data_set_offset, .. }) = read_file_meta(&file) {
            prop_assert!(data_set_offset <= file.len());
        }
    }
}
