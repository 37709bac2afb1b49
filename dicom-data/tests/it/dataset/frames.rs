//! Frames of native and encapsulated Pixel Data.

use dicom_core::{Tag, VR};
use dicom_data::{
    Fragment, FragmentTable, ReadError, align_frame, fragment_table, frame_count, native_frame_range, swap_byte_order,
    whole_numbers,
};
use proptest::prelude::*;

use super::*;

fn us(value: u16) -> [u8; 2] {
    value.to_le_bytes()
}

fn layout(frames: &str, rows: u16, columns: u16, samples: u16, bits: u16, photometric: &str) -> Attributes {
    let bytes = [
        explicit(0x28, 2, "US", &us(samples)),
        explicit(0x28, 4, "CS", photometric.as_bytes()),
        explicit(0x28, 8, "IS", frames.as_bytes()),
        explicit(0x28, 0x10, "US", &us(rows)),
        explicit(0x28, 0x11, "US", &us(columns)),
        explicit(0x28, 0x100, "US", &us(bits)),
    ]
    .concat();
    attributes(&bytes, EXPLICIT)
}

#[test]
fn number_of_frames_is_one_unless_it_says_more() {
    // ST-073
    for (text, count) in [("", 1), ("0 ", 1), ("-3", 1), ("x ", 1), ("7 ", 7), ("2147483647", 2_147_483_647)] {
        assert_eq!(frame_count(&layout(text, 1, 1, 1, 8, "MONOCHROME2")), count, "{text}");
    }
}

#[test]
fn native_frames_are_found_by_arithmetic() {
    // WE-121, WE-127
    let ct = layout("3 ", 4, 5, 1, 16, "MONOCHROME2 ");
    let frame = native_frame_range(&ct, 120, 2).unwrap();
    assert_eq!((frame.bytes, frame.shift), (80..120, 0));
    assert_eq!(native_frame_range(&ct, 120, 3), None);
    assert_eq!(native_frame_range(&ct, 119, 2), None);
    let huge = layout("2147483647", 65535, 65535, 65535, 65535, "RGB ");
    assert_eq!(native_frame_range(&huge, u64::MAX, 2_147_483_646), None);
    assert_eq!(native_frame_range(&Attributes::default(), 100, 0), None);
}

#[test]
fn subsampled_colour_has_two_bytes_a_pixel() {
    let us = layout("2 ", 2, 4, 3, 8, "YBR_FULL_422");
    assert_eq!(native_frame_range(&us, 32, 1).unwrap().bytes, 16..32);
    // Written in full, whatever it says.
    assert_eq!(native_frame_range(&us, 48, 1).unwrap().bytes, 24..48);
}

#[test]
fn big_endian_frames_are_turned_by_whole_words() {
    // WE-121: 2 frames of 3 bytes in words
    let words = [1, 0, 3, 2, 5, 4];
    for (frame, wide, expected) in [(0..3, 0..4, [0, 1, 2]), (3..6, 2..6, [3, 4, 5])] {
        assert_eq!(whole_numbers(VR::OW, &frame, 6), wide);
        let mut bytes = words[usize::try_from(wide.start).unwrap()..usize::try_from(wide.end).unwrap()].to_vec();
        swap_byte_order(VR::OW, &mut bytes);
        let skip = usize::try_from(frame.start - wide.start).unwrap();
        assert_eq!(bytes[skip..skip + 3], expected);
    }
    assert_eq!(whole_numbers(VR::OB, &(3..6), 6), 3..6);
    assert_eq!(whole_numbers(VR::OW, &(4..7), 7), 4..7);
}

#[test]
fn single_bit_frames_begin_at_bit_zero() {
    // WE-123: 3 frames of 3 x 3 bits: 110010101 000000001 111111111
    let seg = layout("3 ", 3, 3, 1, 1, "MONOCHROME2 ");
    let frames = [0b1_0101_0011_u32, 0b1_0000_0000, 0b1_1111_1111];
    let packed = (frames[0] | frames[1] << 9 | frames[2] << 18).to_le_bytes();
    for (number, expected) in frames.iter().enumerate() {
        let frame = native_frame_range(&seg, 4, number as u32).unwrap();
        let mut bytes = packed[frame.bytes.start as usize..frame.bytes.end as usize].to_vec();
        align_frame(&frame, &mut bytes);
        assert_eq!(bytes, expected.to_le_bytes()[..2], "frame {number}");
    }
}

/// Data set with encapsulated Pixel Data; gives each frame's bytes, or why there are none.
fn frames(count: &str, before: &[u8], table: &[u32], fragments: &[&[u8]]) -> Result<Vec<Vec<u8>>, ReadError> {
    let table: Vec<u8> = table.iter().flat_map(|n| n.to_le_bytes()).collect();
    let bytes = [&explicit(0x28, 8, "IS", count.as_bytes()), before, &encapsulated(&table, fragments)].concat();
    let result = parsed(&bytes, JPEG);
    let table = fragment_table(bytes.as_slice(), &result.pixel_data.unwrap(), &result.attributes)?;
    assert_eq!(FragmentTable::decode(&table.encode()).unwrap(), table);
    let value = |f: &Fragment| bytes[f.offset as usize..(f.offset + f.bytes) as usize].to_vec();
    Ok((0..table.frames()).map(|n| table.frame(n).unwrap().iter().flat_map(value).collect()).collect())
}

const SOI: &[u8] = &[0xFF, 0xD8, 0xFF, 0xE0];
const MORE: &[u8] = &[1, 2, 3, 4, 5, 6];

#[test]
fn one_fragment_a_frame() {
    // WE-122
    assert_eq!(frames("2 ", &[], &[], &[SOI, MORE]).unwrap(), [SOI, MORE]);
    // Any number of fragments if there is one frame.
    assert_eq!(frames("1 ", &[], &[], &[SOI, MORE, MORE]).unwrap(), [[SOI, MORE, MORE].concat()]);
    // Cut off: the third frame is not there.
    assert_eq!(frames("3 ", &[], &[], &[SOI, MORE]).unwrap().len(), 2);
}

#[test]
fn the_basic_offset_table_groups_fragments() {
    // WE-126; the second frame begins after fragments of 4 and 6 bytes and their headers
    let found = frames("2 ", &[], &[0, 26], &[SOI, MORE, MORE]).unwrap();
    assert_eq!(found, [[SOI, MORE].concat(), MORE.to_vec()]);
}

#[test]
fn the_extended_offset_table_counts_first() {
    // WE-126, ST-032
    let offsets: Vec<u8> = [0_u64, 12].iter().flat_map(|n| n.to_le_bytes()).collect();
    let table = explicit(0x7FE0, 1, "OV", &offsets);
    let found = frames("2 ", &table, &[], &[SOI, MORE, MORE]).unwrap();
    assert_eq!(found, [SOI.to_vec(), [MORE, MORE].concat()]);
    // Beyond 1 KiB it is bulk data itself.
    let fragments = vec![MORE; 200];
    let offsets: Vec<u8> = (0..200_u64).flat_map(|n| (n * 14).to_le_bytes()).collect();
    let table = explicit(0x7FE0, 1, "OV", &offsets);
    assert_eq!(frames("200 ", &table, &[], &fragments).unwrap().len(), 200);
}

#[test]
fn markers_group_fragments_where_tables_are_wrong() {
    // WE-126
    let expected = [[SOI, MORE].concat(), [SOI, MORE, MORE].concat()];
    let fragments = [SOI, MORE, SOI, MORE, MORE];
    for table in [&[][..], &[0, 27], &[0], &[5, 26], &[26, 0]] {
        assert_eq!(frames("2 ", &[], table, &fragments).unwrap(), expected, "{table:?}");
    }
    let j2k: &[u8] = &[0xFF, 0x4F, 0xFF, 0x51];
    assert_eq!(frames("2 ", &[], &[], &[j2k, j2k, MORE]).unwrap(), [j2k.to_vec(), [j2k, MORE].concat()]);
    assert!(frames("2 ", &[], &[], &[MORE, MORE, MORE]).is_err());
}

#[test]
fn native_pixel_data_has_no_fragments() {
    let bytes = [identity(), explicit(0x7FE0, 0x10, "OW", &[7; 20])].concat();
    let result = parsed(&bytes, EXPLICIT);
    assert!(fragment_table(bytes.as_slice(), &result.pixel_data.unwrap(), &result.attributes).is_err());
    assert_eq!(result.attributes.get(Tag(0x28, 8)), None);
}

#[test]
fn a_table_of_a_hundred_thousand_frames_costs_two_bytes_a_frame() {
    // ST-073
    let fragments = vec![MORE; 100_000];
    let bytes = [explicit(0x28, 8, "IS", b"100000"), encapsulated(&[], &fragments)].concat();
    let result = parsed(&bytes, JPEG);
    let table = fragment_table(bytes.as_slice(), &result.pixel_data.unwrap(), &result.attributes).unwrap();
    assert_eq!(table.frames(), 100_000);
    let compact = table.encode();
    assert!(compact.len() < 200_020, "{}", compact.len());
    assert_eq!(FragmentTable::decode(&compact), Some(table));
}

proptest! {
    #[test]
    fn damaged_tables_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Some(table) = FragmentTable::decode(&bytes) {
            prop_assert_eq!(FragmentTable::decode(&table.encode()), Some(table));
        }
        drop(FragmentTable::decode(&[&[1][..], &bytes].concat()));
    }
}
