//! DICOM JSON: the forms of PS3.18 Annex F.

use dicom_core::{Tag, VR};
use dicom_data::{
    Attribute, Attributes, InstanceUids, PersonName, Value, level_attributes, metadata_json, read_json, write_json,
};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::encode::any_attributes;
use super::*;

fn json(attributes: &Attributes) -> String {
    let mut out = Vec::new();
    write_json(attributes, &|path| format!("../bulkdata/{path}"), &mut out);
    String::from_utf8(out).unwrap()
}

fn one(tag: Tag, vr: VR, value: Value) -> Attributes {
    Attributes([(tag, Attribute { vr, value })].into())
}

#[expect(clippy::needless_pass_by_value, reason = "reads well")]
fn check(bytes: &[u8], expected: Expect) {
    let all = attributes(bytes, EXPLICIT);
    let text = json(&all);
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    assert!(!text.contains('\n'));
    expected.assert_eq(&text.replace("},\"", "},\n\""));
}

#[test]
fn keys_ascend_in_capitals_without_group_lengths() {
    // WE-104, WE-105
    let bytes = [
        explicit(0x20, 0, "UL", &[8, 0, 0, 0]),
        explicit(0x20, 0xD, "UI", b"1.2.3\0"),
        explicit(8, 0x103E, "LO", b""),
        explicit(8, 0x1115, "SQ", b""),
    ]
    .concat();
    check(
        &bytes,
        expect![[r#"
        {"0008103E":{"vr":"LO"},
        "00081115":{"vr":"SQ"},
        "0020000D":{"vr":"UI","Value":["1.2.3"]}}"#]],
    );
    // Neither from data sets nor from elsewhere.
    assert_eq!(json(&one(Tag(0x20, 0), VR::UL, Value::Integers(vec![8]))), "{}");
}

#[test]
fn empty_values_are_null_and_empty_items_are_empty_objects() {
    // WE-106
    let bytes = [
        explicit(8, 8, "CS", b"ORIGINAL\\\\AXIAL "),
        explicit(8, 0x1115, "SQ", &item(&[])),
        explicit(0x10, 0x1001, "PN", b"A^B\\\\C "),
    ]
    .concat();
    check(
        &bytes,
        expect![[r#"
        {"00080008":{"vr":"CS","Value":["ORIGINAL",null,"AXIAL"]},
        "00081115":{"vr":"SQ","Value":[{}]},
        "00101001":{"vr":"PN","Value":[{"Alphabetic":"A^B"},null,{"Alphabetic":"C"}]}}"#]],
    );
}

#[test]
fn names_have_their_groups_and_text_is_utf_8() {
    // WE-107, WE-111
    let bytes = [
        explicit(8, 5, "CS", b"\\ISO 2022 IR 87 "),
        explicit(0x10, 0x10, "PN", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B="),
        explicit(0x10, 0x4000, "LT", b"\"quoted\" \\ and\r\nnext\x07 "),
    ]
    .concat();
    check(
        &bytes,
        expect![[r#"
        {"00080005":{"vr":"CS","Value":["ISO_IR 192"]},
        "00100010":{"vr":"PN","Value":[{"Alphabetic":"Yamada^Tarou","Ideographic":"山田^太郎"}]},
        "00104000":{"vr":"LT","Value":["\"quoted\" \\ and\r\nnext\u0007"]}}"#]],
    );
}

#[test]
fn numbers_are_numbers_where_no_digit_is_lost() {
    // WE-108, WE-113
    let sv: Vec<u8> = [1_i64 << 53, (1 << 53) + 1, -5].iter().flat_map(|n| n.to_le_bytes()).collect();
    let fd: Vec<u8> = [0.1_f64, 1e300, -0.0].iter().flat_map(|n| n.to_le_bytes()).collect();
    let bytes = [
        explicit(0x18, 0x50, "DS", b"1.5\\1.10\\+1\\-0.25\\1e3\\.5\\12345678901234567\\abc\\-0\\7 "),
        explicit(0x20, 0x13, "IS", b"12\\007\\1A\\-3"),
        explicit(0x28, 0x10, "US", &[1, 2]),
        explicit(0x72, 0x82, "SV", &sv),
        explicit(0x18, 0x9182, "FD", &fd),
        explicit(0x18, 0x9073, "FL", &0.5_f32.to_le_bytes()),
    ]
    .concat();
    check(
        &bytes,
        expect![[r#"
        {"00180050":{"vr":"DS","Value":[1.5,"1.10","+1",-0.25,"1e3",".5","12345678901234567","abc","-0",7]},
        "00189073":{"vr":"FL","Value":[0.5]},
        "00189182":{"vr":"FD","Value":[0.1,1e300,-0.0]},
        "00200013":{"vr":"IS","Value":[12,"007","1A",-3]},
        "00280010":{"vr":"US","Value":[513]},
        "00720082":{"vr":"SV","Value":[9007199254740992,"9007199254740993",-5]}}"#]],
    );
}

#[test]
fn numbers_that_json_has_no_form_for_are_binary() {
    // WE-109
    let bytes = [
        explicit(0x18, 0x9073, "FL", &f32::NAN.to_le_bytes()),
        explicit(0x18, 0x9182, "FD", &f64::INFINITY.to_le_bytes()),
    ]
    .concat();
    check(
        &bytes,
        expect![[r#"
        {"00189073":{"vr":"FL","InlineBinary":"AADAfw=="},
        "00189182":{"vr":"FD","InlineBinary":"AAAAAAAA8H8="}}"#]],
    );
}

#[test]
fn tags_and_bytes() {
    // WE-110, WE-112
    let bytes = [
        explicit(0x11, 0x10, "LO", b"ACME"),
        explicit(0x11, 0x1001, "UN", &[1, 2, 3, 4]),
        explicit(0x28, 9, "AT", &[0x18, 0, 0x63, 0x10]),
        explicit(0x28, 0x1201, "OW", &[1, 0, 2, 0]),
    ]
    .concat();
    check(
        &bytes,
        expect![[r#"
        {"00110010":{"vr":"LO","Value":["ACME"]},
        "00111001":{"vr":"UN","InlineBinary":"AQIDBA=="},
        "00280009":{"vr":"AT","Value":["00181063"]},
        "00281201":{"vr":"OW","InlineBinary":"AQACAA=="}}"#]],
    );
    // Big endian words come out little endian.
    let all = attributes(&[0, 0x28, 0x12, 1, b'O', b'W', 0, 0, 0, 0, 0, 2, 1, 2], BIG);
    assert_eq!(json(&all), r#"{"00281201":{"vr":"OW","InlineBinary":"AgE="}}"#);
}

#[test]
fn bulk_data_is_named_by_its_path() {
    // WE-102, WE-103
    let waveform = explicit(0x5400, 0x1010, "OW", &[1; 2000]);
    let bytes = [explicit(0x5400, 0x100, "SQ", &item(&waveform)), explicit(0x7FE0, 0x10, "OW", &[1, 2])].concat();
    check(
        &bytes,
        expect![[r#"
        {"54000100":{"vr":"SQ","Value":[{"54001010":{"vr":"OW","BulkDataURI":"../bulkdata/54000100/0/54001010"}}]},
        "7FE00010":{"vr":"OW","BulkDataURI":"../bulkdata/7FE00010"}}"#]],
    );
}

#[test]
fn kept_metadata_marks_the_base_url_with_a_byte_that_text_cannot_have() {
    let (study, series, sop) = ("1.2.3".parse().unwrap(), "1.2.3.1".parse().unwrap(), "1.2.3.4".parse().unwrap());
    let uids = InstanceUids { study_instance_uid: &study, series_instance_uid: &series, sop_instance_uid: &sop };
    let bytes = [identity(), explicit(0x20, 0x4000, "LT", b"\x01 "), explicit(0x7FE0, 0x10, "OW", &[1, 2])].concat();
    let out = metadata_json(bytes.as_slice(), syntax(EXPLICIT), uids).unwrap();
    assert_eq!(out.split(|b| *b == 1).count() - 1, 1);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.ends_with("\"BulkDataURI\":\"\u{1}/studies/1.2.3/series/1.2.3.1/instances/1.2.3.4/bulkdata/7FE00010\"}}")
    );
    // Unreadable: the UIDs at least.
    let out = metadata_json(&[0xFF; 40][..], syntax(EXPLICIT), uids).unwrap();
    let all = read_json(&out).unwrap();
    assert_eq!(all.text(Tag(8, 0x18)), Some("1.2.3.4"));
    assert_eq!(all.text(Tag(0x20, 0xE)), Some("1.2.3.1"));
}

#[test]
fn json_of_others_is_read() {
    // PS3.18 §F.2: any white space, any order of members, escapes, numbers as strings
    let text = r#" { "00100010" : { "Value" : [ { "Alphabetic" : "Mu\u00f1oz^\ud83d\ude00" } , null ], "vr" : "PN" },
        "00201208": {"vr": "IS", "Value": ["7"]}, "00280010": {"vr": "US", "Value": ["512"]},
        "00280009": {"vr":"AT","Value":["00181063"]}, "00420011": {"vr":"OB","BulkDataURI":"x"},
        "00189073": {"vr":"FL","InlineBinary":"AAAAPw=="}, "00081115": {"vr":"SQ","Value":[{},null]} } "#;
    let all = read_json(text.as_bytes()).unwrap();
    let name = PersonName { alphabetic: "Muñoz^😀".into(), ..PersonName::default() };
    assert_eq!(all.get(PATIENT_NAME).unwrap().value, Value::PersonNames(vec![name, PersonName::default()]));
    assert_eq!(all.integer(Tag(0x20, 0x1208)), Some(7));
    assert_eq!(all.integer(Tag(0x28, 0x10)), Some(512));
    assert_eq!(all.integer(Tag(0x28, 9)), Some(0x0018_1063));
    assert_eq!(all.get(Tag(0x18, 0x9073)).unwrap().value, Value::Floats(vec![0.5]));
    assert_eq!(all.get(Tag(8, 0x1115)).unwrap().value, Value::Sequence(vec![Attributes::default(); 2]));
    assert_eq!(all.get(Tag(0x42, 0x11)), None);
}

#[test]
fn wrong_json_is_refused() {
    for text in [
        "",
        "[]",
        "{",
        "{}x",
        r#"{"x":{}}"#,
        r#"{"00100010":1}"#,
        r#"{"00100010":{"vr":"PN"}"#,
        r#"{"00280010":{"vr":"US","Value":["a"]}}"#,
        r#"{"00280010":{"vr":"OB","InlineBinary":"!"}}"#,
        r#"{"00100020":{"vr":"LO","Value":["\x"]}}"#,
        r#"{"00100020":{"vr":"LO","Value":["\u12"]}}"#,
    ] {
        assert!(read_json(text.as_bytes()).is_err(), "{text}");
    }
    assert!(read_json(b"\xff").is_err());
    let level = br#"{"00081115":{"vr":"SQ","Value":["#;
    assert!(read_json(&level.repeat(100_000)).is_err());
    assert!(read_json(&b"[".repeat(1_000_000)).is_err());
}

#[test]
fn attributes_are_sorted_by_level() {
    // QR-001..005
    let bytes = [
        identity(),
        explicit(8, 0x60, "CS", b"CT"),
        explicit(0x10, 0x20, "LO", b"P1"),
        explicit(0x10, 0x1010, "AS", b"040Y"),
        explicit(0x20, 0x13, "IS", b"1 "),
        explicit(0x28, 0x10, "US", &[1, 2]),
        explicit(0x7FE0, 0x10, "OW", &[1, 2]),
    ]
    .concat();
    let levels = level_attributes(&attributes(&bytes, EXPLICIT));
    let tags = |attributes: &Attributes| attributes.0.keys().copied().collect::<Vec<_>>();
    assert_eq!(tags(&levels.patient), [PATIENT_ID]);
    assert_eq!(tags(&levels.study), [Tag(0x10, 0x1010), Tag(0x20, 0xD)]);
    assert_eq!(tags(&levels.series), [Tag(8, 0x60), Tag(0x20, 0xE)]);
    assert_eq!(tags(&levels.instance), [Tag(0x28, 0x10)]);
    assert_eq!(tags(&levels.instance_varying), [Tag(0x20, 0x13)]);
}

#[test]
fn depth_as_deep_as_data_sets_are_read_comes_back() {
    let mut all = one(PATIENT_ID, VR::LO, Value::Text(vec!["P1".into()]));
    for _ in 0..64 {
        all = one(Tag(8, 0x1115), VR::SQ, Value::Sequence(vec![all]));
    }
    assert_eq!(read_json(json(&all).as_bytes()).unwrap(), all);
}

proptest! {
    #[test]
    fn attributes_come_back_from_json(mut all in any_attributes()) {
        all.0.remove(&Tag(8, 5)); // becomes ISO_IR 192
        let text = json(&all);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        prop_assert_eq!(read_json(text.as_bytes()).unwrap(), all);
    }

    #[test]
    fn damaged_json_is_refused_or_read(
        all in any_attributes(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut text = json(&all).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        drop(read_json(&text));
        drop(read_json(&text[..at]));
    }
}
