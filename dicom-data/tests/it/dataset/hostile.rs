//! Headers made to hurt: what they say is bounded by what is there, whatever it is.

use dicom_data::{
    FileMetaRead, InstanceUids, Value, encode, find_bulk, inflate, level_attributes, metadata_json, read_file_meta,
    read_identifiers, read_levels,
};

use super::*;

/// Levels of nesting, and items of a header.
const MANY: usize = 100_000;

/// Sequences in sequences, each with one item, all of defined length.
fn nested_defined(levels: usize, vr: &str) -> Vec<u8> {
    let (sequence_bytes, item_bytes) = (12, 8);
    let mut out = Vec::with_capacity(levels * 20);
    for level in 0..levels {
        let inside = (levels - level - 1) * (sequence_bytes + item_bytes);
        out.extend(explicit_header(8, 0x1115, vr, (inside + item_bytes) as u32));
        out.extend(implicit_header(0xFFFE, 0xE000, inside as u32));
    }
    out
}

fn nested_undefined(levels: usize, vr: &str) -> Vec<u8> {
    let level = [explicit_header(8, 0x1115, vr, UNDEFINED), implicit_header(0xFFFE, 0xE000, UNDEFINED)].concat();
    level.repeat(levels)
}

fn nested_implicit(levels: usize) -> Vec<u8> {
    let level = [implicit_header(8, 0x1115, UNDEFINED), implicit_header(0xFFFE, 0xE000, UNDEFINED)].concat();
    level.repeat(levels)
}

/// Reads a data set that is wrong after its UIDs: they count, and what else was read.
fn stops(bytes: &[u8], uid: &str) -> Attributes {
    assert_eq!(read_identifiers(bytes, syntax(uid)).unwrap().sop_instance_uid.as_str(), "1.2.3.4");
    drop(find_bulk(bytes, syntax(uid), &"7FE00010".parse().unwrap()));
    let result = parsed(bytes, uid);
    assert!(!result.complete);
    result.attributes
}

#[test]
fn a_hundred_thousand_levels_stop_the_reading() {
    // ST-072
    for vr in ["SQ", "UN"] {
        for nest in [nested_defined(MANY, vr), nested_undefined(MANY, vr)] {
            if vr == "SQ" || nest[8..12] == UNDEFINED.to_le_bytes() {
                stops(&[identity(), nest.clone()].concat(), EXPLICIT);
            }
            drop(read(nest.as_slice(), syntax(EXPLICIT), &Limits::default()));
            drop(read_identifiers(nest.as_slice(), syntax(EXPLICIT)));
        }
    }
    let implicit = [encode(&attributes(&identity(), EXPLICIT), syntax(IMPLICIT)), nested_implicit(MANY)].concat();
    stops(&implicit, IMPLICIT);
    // Before the UIDs, nothing says which instance it is.
    let first = [explicit_header(8, 5, "SQ", UNDEFINED), nested_undefined(MANY, "SQ"), identity()].concat();
    assert!(read_identifiers(first.as_slice(), syntax(EXPLICIT)).is_err());
}

#[test]
fn values_that_declare_4_gib_are_not_believed() {
    // ST-070, ST-072
    for vr in ["OB", "OW", "OV", "UN", "UT", "UC", "UR", "SQ"] {
        for (group, element) in [(8, 0x2112), (0x42, 0x11), (0x7FE0, 0x10), (0xFFFC, 0xFFFC)] {
            let value = [explicit_header(group, element, vr, UNDEFINED - 1), b"abcdef".to_vec()].concat();
            let outside = [identity(), value.clone()].concat();
            let inside = [identity(), explicit(0x40, 0x275, "SQ", &item(&value))].concat();
            for bytes in [outside, inside] {
                assert_eq!(
                    read_identifiers(bytes.as_slice(), syntax(EXPLICIT)).unwrap().study_instance_uid.as_str(),
                    "1.2.3"
                );
                let result = parsed(&bytes, EXPLICIT);
                let pixels_end = result.pixel_data.map_or(0, |pixels| pixels.offset + pixels.bytes);
                assert!(pixels_end <= bytes.len() as u64, "{vr} {group:04x}");
            }
        }
    }
    let implicit = [implicit(8, 0x16, b"1.2 "), implicit_header(0x10, 0x10, UNDEFINED - 1), b"A^B ".to_vec()].concat();
    assert!(read(implicit.as_slice(), syntax(IMPLICIT), &Limits::default()).is_err());
    assert!(read_identifiers(implicit.as_slice(), syntax(IMPLICIT)).is_err());
}

#[test]
fn deflate_bombs_are_defused() {
    // ST-027: 64 MB of zeros in 64 KB, behind whole UIDs and before them
    let zeros = explicit(0x7FE0, 0x10, "OB", &vec![0; 64 << 20]);
    for (bomb, identified) in [([identity(), zeros.clone()].concat(), true), ([zeros, identity()].concat(), false)] {
        let deflated = deflate(&bomb);
        drop(bomb);
        assert!(deflated.len() < 1 << 17, "{}", deflated.len());
        assert_eq!(read_identifiers(deflated.as_slice(), syntax(DEFLATED)).is_ok(), identified);
        assert!(inflate(deflated.as_slice(), &Limits::default()).is_err());
        assert!(read(deflated.as_slice(), syntax(DEFLATED), &Limits::default()).is_err());
        assert!(find_bulk(deflated.as_slice(), syntax(DEFLATED), &"7FE00010".parse().unwrap()).is_err());
    }
}

#[test]
fn half_a_million_items_are_not_kept() {
    // ST-072: 10 MB of items, each with one empty element; 267 MB of memory were there no bound
    let one = item(&explicit_header(8, 0x100, "SH", 0));
    let bytes = [identity(), explicit_header(8, 0x1115, "SQ", UNDEFINED), one.repeat(500_000)].concat();
    let all = stops(&bytes, EXPLICIT);
    let Value::Sequence(items) = &all.get(Tag(8, 0x1115)).unwrap().value else { panic!("no sequence") };
    let items_max = usize::try_from(Limits::default().items_max).unwrap();
    assert_eq!(items.len(), items_max);
    let uid = "1.2.3".parse().unwrap();
    let uids = InstanceUids { study_instance_uid: &uid, series_instance_uid: &uid, sop_instance_uid: &uid };
    assert!(metadata_json(bytes.as_slice(), syntax(EXPLICIT), uids).unwrap().len() < 64 << 20);
}

#[test]
fn the_index_keeps_no_more_of_a_level_than_devices_write() {
    // ST-072: what is too long is left out, what comes after it is not; so is a sequence that stops other reading
    let one = item(&explicit(0x40, 9, "SH", b"a "));
    let requests =
        |count| [explicit_header(0x40, 0x275, "SQ", UNDEFINED), one.repeat(count), sequence_delimiter()].concat();
    let after = explicit(0x40, 0xA493, "CS", b"VERIFIED");
    for (count, kept) in [(1, true), (100, true), (200, false), (2_000, false), (300_000, false)] {
        let comments = explicit(0x10, 0x4000, "LT", &vec![b'c'; 60_000]);
        let bytes = [identity(), comments, requests(count), after.clone()].concat();
        let read = read_levels(bytes.as_slice(), syntax(EXPLICIT), &Limits::default()).unwrap();
        let levels = level_attributes(&read);
        assert_eq!(levels.series.get(Tag(0x40, 0x275)).is_some(), kept, "{count}");
        assert!(levels.patient.get(Tag(0x10, 0x4000)).is_none());
        assert_eq!(levels.instance.text(Tag(0x40, 0xA493)), Some("VERIFIED"), "{count}");
        assert!(levels.bytes < 20_000, "{}", levels.bytes);
    }
}

#[test]
fn a_million_fragments_and_a_million_delimiters_end() {
    let fragments = vec![&b""[..]; 1_000_000];
    let pixels = [identity(), explicit(0x28, 8, "IS", b"1 "), encapsulated(&[], &fragments)].concat();
    assert!(parsed(&pixels, EXPLICIT).complete);
    let stray = [identity(), item_delimiter().repeat(500_000), sequence_delimiter().repeat(500_000)].concat();
    parsed(&stray, EXPLICIT);
}

/// A data set of each kind of generated study, with its transfer syntax.
fn generated() -> Vec<(Vec<u8>, &'static TransferSyntax)> {
    let spec = testdata::StudySpec { seed: 3, instances_per_series: 1, rows: 8, columns: 8, ..Default::default() };
    let mut all: Vec<_> = testdata::study(spec)
        .map(|instance| {
            let file = testdata::part10(&instance);
            let Ok(FileMetaRead::Meta { meta, data_set_offset }) = read_file_meta(&file) else { panic!("no file") };
            (file[data_set_offset..].to_vec(), syntax(meta.transfer_syntax_uid.unwrap().as_str()))
        })
        .collect();
    all.push(([identity(), nested_undefined(10, "SQ"), encapsulated(&[0; 8], &[b"ab", b"cd"])].concat(), syntax(JPEG)));
    let attributes = attributes(&all[0].0.clone(), all[0].1.uid);
    all.extend([IMPLICIT, BIG, DEFLATED].map(|uid| (encode(&attributes, syntax(uid)), syntax(uid))));
    all
}

#[test]
fn damaged_studies_are_read_or_refused() {
    // IH-011; 100,000 cases when the variable says so
    let cases = std::env::var("FILMROOM_HOSTILE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let generated = generated();
    for seed in 0..cases {
        let (data_set, syntax) = &generated[seed as usize % generated.len()];
        let mut bytes = data_set.clone();
        testdata::damage(&mut bytes, seed);
        super::fuzz::read_all(&bytes, syntax.uid);
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
