//! Reading: what is tolerated, what is bounded, and what says which instance it is.

use std::borrow::Cow;
use std::cell::Cell;
use std::io;

use dicom_core::{Tag, VR};
use dicom_data::{
    Attributes, BulkPath, Limits, ReadError, Source, SourceError, Value, encode, find_bulk, read, read_identifiers,
};

use super::*;

fn texts(attributes: &Attributes, tag: Tag) -> Vec<String> {
    match &attributes.get(tag).unwrap().value {
        Value::Text(values) => values.clone(),
        other => panic!("{other:?}"),
    }
}

fn items(attributes: &Attributes, tag: Tag) -> Vec<Attributes> {
    match &attributes.get(tag).unwrap().value {
        Value::Sequence(items) => items.clone(),
        other => panic!("{other:?}"),
    }
}

const CODES: Tag = Tag(0x0008, 0x1032);
const CODE_VALUE: Tag = Tag(0x0008, 0x0100);

#[test]
fn un_of_undefined_length_is_an_implicit_sequence() {
    // ST-008
    let code = implicit(8, 0x100, b"T1");
    let mut bytes = explicit_header(0x11, 0x1001, "UN", UNDEFINED);
    bytes.extend(implicit_header(0xFFFE, 0xE000, UNDEFINED));
    bytes.extend(&code);
    bytes.extend(item_delimiter());
    bytes.extend(item(&code));
    bytes.extend(sequence_delimiter());
    bytes.extend(explicit(0x20, 0x10, "SH", b"ID"));
    let all = attributes(&bytes, EXPLICIT);
    let found = items(&all, Tag(0x11, 0x1001));
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].text(CODE_VALUE), Some("T1"));
    assert_eq!(all.text(Tag(0x20, 0x10)), Some("ID"));
    // It is little endian in a big endian data set, too.
    let big = [&[0, 0x11, 0x10, 1][..], b"UN", &[0, 0], &[0xFF; 4], &item(&code), &sequence_delimiter()];
    let all = attributes(&big.concat(), BIG);
    assert_eq!(items(&all, Tag(0x11, 0x1001))[0].text(CODE_VALUE), Some("T1"));
}

#[test]
fn un_of_a_known_tag_has_the_vr_of_the_dictionary() {
    let code = implicit(8, 0x100, b"T1");
    let bytes = [
        explicit(8, 0x1032, "UN", &item(&code)),
        explicit(0x10, 0x20, "UN", b"P1"),
        explicit(0x11, 0x1001, "UN", b"xx"),
    ]
    .concat();
    let all = attributes(&bytes, EXPLICIT);
    assert_eq!(items(&all, CODES)[0].text(CODE_VALUE), Some("T1"));
    assert_eq!(all.text(PATIENT_ID), Some("P1"));
    let items_bytes = item(&code);
    let big = [&[0, 8, 0x10, 0x32][..], b"UN", &[0, 0], &[0, 0, 0, items_bytes.len() as u8], &items_bytes];
    let all_big = attributes(&big.concat(), BIG);
    assert_eq!(items(&all_big, CODES)[0].text(CODE_VALUE), Some("T1"));
    // ST-007: private ones stay as they are
    assert_eq!(all.get(Tag(0x11, 0x1001)).unwrap().vr, VR::UN);
}

#[test]
fn odd_lengths_do_not_lose_the_next_element() {
    // ST-006
    let bytes = [
        explicit(0x10, 0x20, "LO", b"P1x"),
        explicit(0x28, 0x10, "US", &[1, 2, 3]),
        explicit(0x28, 0x11, "US", &[1]),
        explicit(0x28, 0x100, "US", &[16, 0]),
    ]
    .concat();
    let all = attributes(&bytes, EXPLICIT);
    assert_eq!(all.text(PATIENT_ID), Some("P1x"));
    assert_eq!(all.integer(Tag(0x28, 0x10)), Some(0x0201));
    assert_eq!(all.get(Tag(0x28, 0x11)).unwrap().value, Value::Binary(vec![1]));
    assert_eq!(all.integer(Tag(0x28, 0x100)), Some(16));
}

#[test]
fn unknown_value_representations_are_stepped_over() {
    // ST-006: the short, the long and the implicit form
    let after = explicit(0x10, 0x20, "LO", b"P1");
    let short = [&[8, 0, 0x70, 0][..], b"??", &[4, 0], b"ACME"].concat();
    let zeros = [&[8, 0, 0x70, 0, 0, 0, 4, 0][..], b"ACME"].concat();
    let long = [&[8, 0, 0x70, 0][..], b"ZZ", &[0, 0, 4, 0, 0, 0], b"ACME"].concat();
    let implicit = implicit(8, 0x70, b"ACME");
    for form in [short, zeros, long, implicit] {
        let first = explicit(8, 5, "CS", b"ISO_IR 100");
        let all = attributes(&[first, form.clone(), after.clone()].concat(), EXPLICIT);
        assert_eq!(all.text(PATIENT_ID), Some("P1"), "{form:?}");
        let value = all.get(Tag(8, 0x70)).unwrap();
        assert!(
            value.value == Value::Text(vec!["ACME".into()]) || value.value == Value::Binary(b"ACME".into()),
            "{value:?}"
        );
    }
}

#[test]
fn the_encoding_is_found_out_at_the_first_element() {
    // ST-006
    let encoded = [explicit(8, 0x60, "CS", b"CT"), explicit(0x10, 0x20, "LO", b"P1")].concat();
    assert_eq!(attributes(&encoded, IMPLICIT).text(PATIENT_ID), Some("P1"));
    let encoded = [implicit(8, 0x60, b"CT"), implicit(0x10, 0x20, b"P1")].concat();
    assert_eq!(attributes(&encoded, EXPLICIT).text(PATIENT_ID), Some("P1"));
    // Implicit items in an explicit data set.
    let sequence = explicit(8, 0x1032, "SQ", &item(&implicit(8, 0x100, b"T1")));
    assert_eq!(items(&attributes(&sequence, EXPLICIT), CODES)[0].text(CODE_VALUE), Some("T1"));
}

#[test]
fn missing_delimiters_end_with_the_data_set() {
    // ST-006
    let mut bytes = identity();
    bytes.extend(explicit_header(0x40, 0x275, "SQ", UNDEFINED));
    bytes.extend(implicit_header(0xFFFE, 0xE000, UNDEFINED));
    bytes.extend(explicit(0x40, 9, "SH", b"S1"));
    let result = parsed(&bytes, EXPLICIT);
    let found = items(&result.attributes, Tag(0x40, 0x275));
    assert_eq!(found[0].text(Tag(0x40, 9)), Some("S1"));
    // The item's delimiter is missing, the sequence's is not.
    bytes.extend(sequence_delimiter());
    bytes.extend(explicit(0x40, 0xA491, "CS", b"COMPLETE"));
    let all = attributes(&bytes, EXPLICIT);
    assert_eq!(items(&all, Tag(0x40, 0x275)).len(), 1);
    assert_eq!(all.text(Tag(0x40, 0xA491)), Some("COMPLETE"));
}

#[test]
fn stray_delimiters_padding_and_trailing_zeros_are_no_errors() {
    // ST-005
    let bytes = [
        explicit(8, 0, "UL", &[1, 0, 0, 0]),
        identity(),
        item_delimiter(),
        explicit(0x20, 0x10, "SH", b"ID"),
        explicit(0xFFFC, 0xFFFC, "OB", &[0; 10]),
        vec![0; 1003],
    ]
    .concat();
    let limits = Limits { elements_max: 10, ..Limits::default() };
    let result = read(bytes.as_slice(), syntax(EXPLICIT), &limits).unwrap();
    assert!(result.complete);
    assert_eq!(result.attributes.0.len(), 5, "{:?}", result.attributes);
    assert_eq!(result.attributes.text(Tag(0x20, 0x10)), Some("ID"));
}

#[test]
fn groups_of_commands_and_files_are_dropped() {
    // ST-004
    let bytes = [
        explicit(0, 0x100, "US", &[1, 0]),
        explicit(2, 0x10, "UI", b"1.2.840.10008.1.2\0"),
        explicit(0x10, 0x20, "LO", b"P1"),
    ]
    .concat();
    assert_eq!(attributes(&bytes, EXPLICIT).0.keys().collect::<Vec<_>>(), [&PATIENT_ID]);
}

#[test]
fn implicit_value_representations_depend_on_the_context() {
    // ST-009
    let signed = [
        implicit(0x28, 0x103, &[1, 0]),
        implicit(0x28, 0x106, &[0xFF, 0xFF]),
        implicit(0x11, 0x10, b"ACME"),
        implicit(0x11, 0x1001, b"xx"),
        implicit(0x6002, 0x3000, &[1, 2]),
        implicit(0x7FE0, 0x10, &[1, 2]),
    ]
    .concat();
    let all = attributes(&signed, IMPLICIT);
    let vr = |group, element| all.get(Tag(group, element)).unwrap().vr;
    assert_eq!(all.integer(Tag(0x28, 0x106)), Some(-1));
    assert_eq!([vr(0x28, 0x106), vr(0x11, 0x10), vr(0x11, 0x1001)], [VR::SS, VR::LO, VR::UN]);
    assert_eq!([vr(0x6002, 0x3000), vr(0x7FE0, 0x10)], [VR::OW, VR::OW]);
    let unsigned = implicit(0x28, 0x106, &[0xFF, 0xFF]);
    assert_eq!(attributes(&unsigned, IMPLICIT).integer(Tag(0x28, 0x106)), Some(0xFFFF));
}

#[test]
fn pixel_data_is_never_read() {
    // WE-102, ST-010
    let native = [identity(), explicit(0x7FE0, 0x10, "OW", &[7; 20])].concat();
    let result = parsed(&native, EXPLICIT);
    let pixels = result.pixel_data.unwrap();
    assert_eq!((pixels.bytes, pixels.encapsulated, pixels.vr), (20, false, VR::OW));
    assert_eq!(pixels.offset, native.len() as u64 - 20);
    let bulk = Value::Bulk { offset: pixels.offset, bytes: 20, encapsulated: false };
    assert_eq!(result.attributes.get(Tag(0x7FE0, 0x10)).unwrap().value, bulk);

    let fragments = [identity(), encapsulated(&[], &[&[1; 6], &[2; 4]])].concat();
    let result = parsed(&fragments, JPEG);
    let pixels = result.pixel_data.unwrap();
    assert!(result.complete && pixels.encapsulated);
    assert_eq!(pixels.bytes, 3 * 8 + 10);

    let empty = [identity(), explicit(0x7FE0, 0x10, "OW", &[])].concat();
    let result = parsed(&empty, EXPLICIT);
    assert_eq!(result.attributes.get(Tag(0x7FE0, 0x10)).unwrap().value, Value::Empty);
    let float = [identity(), explicit(0x7FE0, 8, "OF", &[0; 8])].concat();
    assert_eq!(parsed(&float, EXPLICIT).pixel_data.unwrap().vr, VR::OF);
}

#[test]
fn cut_off_pixel_data_gives_what_there_is() {
    // ST-006
    let native = [identity(), explicit(0x7FE0, 0x10, "OW", &[7; 20])].concat();
    let result = parsed(&native[..native.len() - 5], EXPLICIT);
    assert!(!result.complete);
    assert_eq!(result.pixel_data.unwrap().bytes, 15);
    let fragments = [identity(), encapsulated(&[], &[&[1; 6], &[2; 4]])].concat();
    let result = parsed(&fragments[..fragments.len() - 10], JPEG);
    assert!(!result.complete);
    assert_eq!(result.pixel_data.unwrap().bytes, 3 * 8 + 8);
}

#[test]
fn what_was_read_before_an_error_is_kept_if_it_says_which_instance_it_is() {
    // ST-006
    let broken = explicit_header(0x40, 0x10, "LO", 500);
    let result = parsed(&[identity(), broken.clone()].concat(), EXPLICIT);
    assert!(!result.complete);
    assert_eq!(result.attributes.0.len(), 4);
    let bytes = [explicit(8, 0x60, "CS", b"CT"), broken].concat();
    let error = read(bytes.as_slice(), syntax(EXPLICIT), &Limits::default()).unwrap_err();
    assert!(matches!(error, ReadError::Malformed { offset: 10, .. }), "{error}");
}

#[test]
fn deep_nesting_stops_cleanly() {
    // ST-072
    let level = [explicit_header(8, 0x1115, "SQ", UNDEFINED), implicit_header(0xFFFE, 0xE000, UNDEFINED)].concat();
    let bomb = [identity(), level.repeat(100_000)].concat();
    let result = parsed(&bomb, EXPLICIT);
    assert!(!result.complete);
    assert_eq!(read_identifiers(bomb.as_slice(), syntax(EXPLICIT)).unwrap().sop_instance_uid.as_str(), "1.2.3.4");
    let bare = level.repeat(100_000);
    assert!(read(bare.as_slice(), syntax(EXPLICIT), &Limits::default()).is_err());
    assert!(read_identifiers(bare.as_slice(), syntax(EXPLICIT)).is_err());
    assert!(find_bulk(bare.as_slice(), syntax(EXPLICIT), &"7FE00010".parse().unwrap()).unwrap().is_none());

    // Defined lengths, each within the one around it.
    let mut nested = explicit(8, 0x100, "SH", b"T1");
    for _ in 0..70 {
        nested = explicit(8, 0x1115, "SQ", &item(&nested));
    }
    assert!(!parsed(&[identity(), nested.clone()].concat(), EXPLICIT).complete);
    let limits = Limits { depth_max: 80, ..Limits::default() };
    assert!(read(nested.as_slice(), syntax(EXPLICIT), &limits).unwrap().complete);
}

#[test]
fn a_length_beyond_the_data_set_allocates_nothing() {
    // ST-072: 28 bytes that promise 4 GiB
    let mut bytes = explicit(8, 0x60, "CS", b"CT");
    bytes.extend(explicit_header(0x40, 0xA160, "UT", UNDEFINED - 1));
    bytes.extend(b"abcdef");
    assert_eq!(bytes.len(), 28);
    assert!(read(bytes.as_slice(), syntax(EXPLICIT), &Limits::default()).is_err());
    assert!(read_identifiers(bytes.as_slice(), syntax(EXPLICIT)).is_err());
}

#[test]
fn the_number_of_elements_and_the_length_of_the_header_are_bounded() {
    let many = [identity(), explicit_header(8, 0x1115, "SQ", UNDEFINED), item(&[]).repeat(1000)].concat();
    let limits = Limits { elements_max: 100, ..Limits::default() };
    assert!(!read(many.as_slice(), syntax(EXPLICIT), &limits).unwrap().complete);
    let long = [identity(), explicit(0x40, 0x10, "LO", &[b'x'; 5000])].concat();
    let limits = Limits { header_bytes_max: 4000, ..Limits::default() };
    assert!(!read(long.as_slice(), syntax(EXPLICIT), &limits).unwrap().complete);
}

#[test]
fn contours_do_not_use_up_the_header() {
    // 40 contours of 50 KB are more than the header may have: the later ones are left where they are.
    let contour = explicit(0x3006, 0x50, "DS", &b"1.25\\".repeat(9_999)[..49_994]);
    let bytes =
        [identity(), explicit(0x3006, 0x39, "SQ", &item(&contour).repeat(40)), explicit(0x300E, 2, "CS", b"APPROVED")]
            .concat();
    let limits = Limits { header_bytes_max: 1_000_000, ..Limits::default() };
    let result = read(bytes.as_slice(), syntax(EXPLICIT), &limits).unwrap();
    assert!(result.complete);
    assert_eq!(result.attributes.text(Tag(0x300E, 2)), Some("APPROVED"));
    let contours = items(&result.attributes, Tag(0x3006, 0x39));
    let is_bulk =
        |item: &Attributes| matches!(item.get(Tag(0x3006, 0x50)).unwrap().value, Value::Bulk { bytes: 49_994, .. });
    let bulk = contours.iter().filter(|item| is_bulk(item)).count();
    assert!(!is_bulk(&contours[0]) && bulk > 30, "{bulk}");
    // A list of nothing costs more memory than bytes.
    let list = explicit(8, 8, "CS", &b"\\".repeat(60_000));
    let bytes = [identity(), list].concat();
    assert!(!read(bytes.as_slice(), syntax(EXPLICIT), &limits).unwrap().complete);
}

#[test]
fn long_values_stay_where_they_are_at_any_depth() {
    // WE-102, WE-103
    let data = vec![5; 1026];
    let waveform = explicit(0x5400, 0x1010, "OW", &data);
    let bytes = [
        identity(),
        explicit(0x42, 0x11, "OB", &data),
        explicit(0x5400, 0x100, "SQ", &[item(&[]), item(&waveform)].concat()),
    ]
    .concat();
    let all = attributes(&bytes, EXPLICIT);
    let nested = &items(&all, Tag(0x5400, 0x100))[1];
    for (path, value) in [
        ("00420011", all.get(Tag(0x42, 0x11)).unwrap()),
        ("54000100/1/54001010", nested.get(Tag(0x5400, 0x1010)).unwrap()),
    ] {
        let path: BulkPath = path.parse().unwrap();
        let found = find_bulk(bytes.as_slice(), syntax(EXPLICIT), &path).unwrap().unwrap();
        let start = found.offset as usize;
        assert_eq!(bytes[start..start + found.bytes as usize], data);
        let bulk = Value::Bulk { offset: found.offset, bytes: 1026, encapsulated: false };
        assert_eq!(value.value, bulk);
        assert_eq!(value.vr, found.vr);
    }
    for path in ["00420012", "54000100/0/54001010", "54000100/2/54001010", "54001010"] {
        assert_eq!(find_bulk(bytes.as_slice(), syntax(EXPLICIT), &path.parse().unwrap()).unwrap(), None);
    }
    let inline = [identity(), explicit(0x42, 0x11, "OB", &data[..1024])].concat();
    assert_eq!(attributes(&inline, EXPLICIT).get(Tag(0x42, 0x11)).unwrap().value, Value::Binary(data[..1024].to_vec()));
}

#[test]
fn identifiers_are_those_of_the_outermost_data_set() {
    let nested = item(&explicit(8, 0x18, "UI", b"9.9\0"));
    let mut bytes = explicit(8, 0x16, "UI", b"1.2 ");
    bytes.extend(explicit_header(8, 0x1140, "SQ", UNDEFINED));
    bytes.extend(&nested);
    bytes.extend(sequence_delimiter());
    bytes.extend(explicit(8, 0x1115, "SQ", &nested));
    // Out of order, and a second one that does not count.
    bytes.extend(explicit(8, 0x18, "UI", b"1.2.3\0"));
    bytes.extend(explicit(8, 0x18, "UI", b"6.6.6\0"));
    bytes.extend(explicit(0x20, 0xD, "UI", b"1.5 "));
    let error = read_identifiers(bytes.as_slice(), syntax(EXPLICIT)).unwrap_err();
    assert!(matches!(error, ReadError::Missing { keyword: "SeriesInstanceUID" }));
    bytes.extend(explicit(0x20, 0xE, "UI", b"1.6\0"));
    let found = read_identifiers(bytes.as_slice(), syntax(EXPLICIT)).unwrap();
    assert_eq!(found.sop_class_uid.as_str(), "1.2");
    assert_eq!(found.sop_instance_uid.as_str(), "1.2.3");
    assert_eq!(found.study_instance_uid.as_str(), "1.5");
    let all = attributes(&bytes, EXPLICIT);
    assert_eq!(all.text(Tag(8, 0x18)), Some("1.2.3"));
    for syntax_uid in [IMPLICIT, BIG, DEFLATED] {
        let encoded = encode(&all, syntax(syntax_uid));
        assert_eq!(read_identifiers(encoded.as_slice(), syntax(syntax_uid)).unwrap(), found);
    }
}

#[test]
fn items_inherit_the_character_set_and_keep_their_own() {
    // QR-052
    let name = |bytes: &[u8]| explicit(0x40, 0xA123, "PN", bytes);
    let own = [explicit(8, 5, "CS", b"ISO_IR 192"), name("Jé".as_bytes())].concat();
    let bytes = [
        explicit(8, 5, "CS", b"ISO_IR 100"),
        explicit(8, 0x1115, "SQ", &[item(&name(b"J\xe9")), item(&own)].concat()),
        explicit(0x10, 0x10, "PN", b"J\xe9r\xf4me "),
    ]
    .concat();
    let all = attributes(&bytes, EXPLICIT);
    let alphabetic = |attributes: &Attributes, tag| match &attributes.get(tag).unwrap().value {
        Value::PersonNames(names) => names[0].alphabetic.clone(),
        other => panic!("{other:?}"),
    };
    for item in items(&all, Tag(8, 0x1115)) {
        assert_eq!(alphabetic(&item, Tag(0x40, 0xA123)), "Jé");
    }
    assert_eq!(alphabetic(&all, PATIENT_NAME), "Jérôme");
}

#[test]
fn a_backslash_byte_inside_a_character_does_not_split_the_value() {
    // QR-051
    let bytes = [explicit(8, 5, "CS", b"GB18030 "), explicit(8, 0x1030, "LO", b"\xd5\x5c\\b\xd5\x5c ")].concat();
    assert_eq!(texts(&attributes(&bytes, EXPLICIT), Tag(8, 0x1030)), ["誠", "b誠"]);
}

/// A source that counts what is read of it, and that may fail.
struct Probe<'a> {
    bytes: &'a [u8],
    read: Cell<usize>,
    fails: bool,
}

impl Source for Probe<'_> {
    fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>, SourceError> {
        if self.fails {
            return Err(SourceError(io::Error::other("gone")));
        }
        self.read.set(self.read.get() + len);
        self.bytes.read(offset, len)
    }
}

#[test]
fn reading_costs_the_header_not_the_pixels() {
    // ST-075
    let big = vec![0; 8 << 20];
    let bytes = [identity(), explicit(0x7FE0, 0x10, "OW", &big)].concat();
    let probe = Probe { bytes: &bytes, read: Cell::new(0), fails: false };
    assert!(read(&probe, syntax(EXPLICIT), &Limits::default()).unwrap().complete);
    assert!(probe.read.get() <= 128 << 10, "{}", probe.read.get());
    let fails = Probe { bytes: &bytes, read: Cell::new(0), fails: true };
    let error = read(&fails, syntax(EXPLICIT), &Limits::default()).unwrap_err();
    assert!(matches!(error, ReadError::Source(_)));
    assert!(matches!(read_identifiers(&fails, syntax(EXPLICIT)), Err(ReadError::Source(_))));
}
