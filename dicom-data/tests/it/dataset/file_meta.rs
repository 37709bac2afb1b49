//! File meta information.

use dicom_data::Uid;
use dicom_data::{FileMeta, FileMetaRead, IMPLEMENTATION_CLASS_UID, read_file_meta, write_file_meta};

use super::*;

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

fn file(group: &[u8]) -> Vec<u8> {
    [&[0xAB; 128][..], b"DICM", group, &identity()].concat()
}

fn meta(bytes: &[u8]) -> (FileMeta, usize) {
    match read_file_meta(bytes).unwrap() {
        FileMetaRead::Meta { meta, data_set_offset } => (meta, data_set_offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_read() {
    // ST-021, ST-024
    let written = write_file_meta(&uid("1.2.3"), &uid("1.2.3.4"), &uid(EXPLICIT), Some("STORE_SCU"));
    assert_eq!(written[..128], [0; 128]);
    assert_eq!(written[132..144], [2, 0, 0, 0, b'U', b'L', 4, 0, (written.len() - 144) as u8, 0, 0, 0]);
    let bytes = [written.clone(), identity()].concat();
    let (meta, offset) = meta(&bytes);
    assert_eq!(offset, written.len());
    assert_eq!(meta.media_storage_sop_class_uid, Some(uid("1.2.3")));
    assert_eq!(meta.media_storage_sop_instance_uid, Some(uid("1.2.3.4")));
    assert_eq!(meta.transfer_syntax_uid, Some(uid(EXPLICIT)));
    assert_eq!(meta.implementation_class_uid, Some(uid(IMPLEMENTATION_CLASS_UID)));
    assert_eq!(meta.implementation_version_name.as_deref(), Some("FILMROOM_0_1"));
    assert_eq!(meta.source_application_entity_title.as_deref(), Some("STORE_SCU"));
    // Every prefix asks for more, but the one at which the group length says that it ends.
    for len in 0..written.len() {
        assert_eq!(read_file_meta(&written[..len]).unwrap(), FileMetaRead::NeedMore, "{len}");
    }
    assert!(matches!(read_file_meta(&written).unwrap(), FileMetaRead::Meta { .. }));
}

#[test]
fn group_lengths_and_order_are_not_relied_upon() {
    // ST-020
    let syntax = explicit(2, 0x10, "UI", b"1.2.840.10008.1.2.1\0");
    let version = explicit(2, 1, "OB", &[0, 1]);
    for length in [None, Some(0_u32), Some(4000)] {
        let length = length.map(|n| explicit(2, 0, "UL", &n.to_le_bytes())).unwrap_or_default();
        let bytes = file(&[length, syntax.clone(), version.clone()].concat());
        let (meta, offset) = meta(&bytes);
        assert_eq!(meta.transfer_syntax_uid, Some(uid(EXPLICIT)));
        assert_eq!(bytes[offset..], identity());
    }
    let none = file(&version);
    assert_eq!(meta(&none).0.transfer_syntax_uid, None);
}

#[test]
fn other_files_are_told_apart() {
    // ST-025
    assert_eq!(read_file_meta(&[0; 200]).unwrap(), FileMetaRead::NotPart10);
    assert_eq!(read_file_meta(&[0; 131]).unwrap(), FileMetaRead::NeedMore);
}

#[test]
fn meta_information_is_bounded() {
    let endless = [&[0; 128][..], b"DICM", &explicit(2, 0x102, "OB", &[0; 60]).repeat(2000)].concat();
    assert!(read_file_meta(&endless).is_err());
    let huge = [&[0; 128][..], b"DICM", &explicit_header(2, 0x102, "OB", UNDEFINED)].concat();
    assert!(read_file_meta(&huge).is_err());
}
