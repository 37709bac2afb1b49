//! Encoding, and that what is encoded in any transfer syntax is read as the same attributes.

use dicom_core::{Tag, VR};
use dicom_data::{Attribute, Attributes, PersonName, Value, encode};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn one(tag: Tag, vr: VR, value: Value) -> Attributes {
    Attributes([(tag, Attribute { vr, value })].into())
}

fn text(tag: Tag, vr: VR, value: &str) -> Attributes {
    one(tag, vr, Value::Text(vec![value.into()]))
}

#[test]
fn values_are_padded_to_even_length() {
    let bytes = encode(&text(PATIENT_ID, VR::LO, "P12"), syntax(EXPLICIT));
    assert_eq!(bytes, explicit(0x10, 0x20, "LO", b"P12 "));
    let bytes = encode(&text(Tag(8, 0x18), VR::UI, "1.2"), syntax(EXPLICIT));
    assert_eq!(bytes, explicit(8, 0x18, "UI", b"1.2\0"));
    let bytes = encode(&one(Tag(0x42, 0x11), VR::OB, Value::Binary(vec![7])), syntax(EXPLICIT));
    assert_eq!(bytes, explicit(0x42, 0x11, "OB", &[7, 0]));
}

#[test]
fn text_beyond_ascii_declares_its_character_set() {
    // QR-047, QR-053
    let ascii = encode(&text(PATIENT_ID, VR::LO, "P1"), syntax(EXPLICIT));
    assert_eq!(attributes(&ascii, EXPLICIT).get(Tag(8, 5)), None);
    let mut all = text(Tag(8, 5), VR::CS, "ISO_IR 100");
    let mut inner = text(PATIENT_ID, VR::LO, "é");
    inner.put_text(Tag(8, 5), VR::CS, "GB18030");
    all.0.insert(Tag(8, 0x1115), Attribute { vr: VR::SQ, value: Value::Sequence(vec![inner]) });
    let encoded = encode(&all, syntax(EXPLICIT));
    let found = attributes(&encoded, EXPLICIT);
    assert_eq!(found.text(Tag(8, 5)), Some("ISO_IR 192"));
    let Value::Sequence(items) = &found.get(Tag(8, 0x1115)).unwrap().value else { panic!() };
    assert_eq!(items[0], text(PATIENT_ID, VR::LO, "é"));
}

#[test]
fn values_too_long_for_their_vr_become_un() {
    // WE-088
    let long = "x".repeat(65_536);
    let bytes = encode(&text(Tag(0x20, 0x4000), VR::LT, &long), syntax(EXPLICIT));
    assert_eq!(bytes[..12], explicit_header(0x20, 0x4000, "UN", 65_536));
    let bytes = encode(&text(Tag(0x20, 0x4000), VR::LT, &long[..65_534]), syntax(EXPLICIT));
    assert_eq!(bytes[..8], explicit_header(0x20, 0x4000, "LT", 65_534));
}

#[test]
fn sequences_have_defined_lengths() {
    let all = one(Tag(8, 0x1115), VR::SQ, Value::Sequence(vec![text(PATIENT_ID, VR::LO, "P1"), Attributes::default()]));
    let items = [item(&explicit(0x10, 0x20, "LO", b"P1")), item(&[])].concat();
    assert_eq!(encode(&all, syntax(EXPLICIT)), explicit(8, 0x1115, "SQ", &items));
    let items = [item(&implicit(0x10, 0x20, b"P1")), item(&[])].concat();
    assert_eq!(encode(&all, syntax(IMPLICIT)), implicit(8, 0x1115, &items));
}

#[test]
fn big_endian_swaps_what_it_must() {
    let mut all = one(Tag(0x28, 9), VR::AT, Value::Integers(vec![0x0018_1063]));
    all.0.insert(Tag(0x28, 0x10), Attribute { vr: VR::US, value: Value::Integers(vec![258]) });
    let bytes = encode(&all, syntax(BIG));
    let at = [&[0, 0x28, 0, 9][..], b"AT", &[0, 4, 0, 0x18, 0x10, 0x63]].concat();
    let us = [&[0, 0x28, 0, 0x10][..], b"US", &[0, 2, 1, 2]].concat();
    assert_eq!(bytes, [at, us].concat());
}

#[test]
fn bulk_values_and_wrong_forms_encode_as_something_readable() {
    let bulk = Value::Bulk { offset: 5, bytes: 7, encapsulated: false };
    let bytes = encode(&one(Tag(0x42, 0x11), VR::OB, bulk), syntax(EXPLICIT));
    assert_eq!(bytes, explicit(0x42, 0x11, "OB", &[]));
    let bytes = encode(&text(Tag(0x28, 0x10), VR::US, "512"), syntax(EXPLICIT));
    assert_eq!(bytes, explicit(0x28, 0x10, "US", &[0, 2]));
    let bytes = encode(&text(Tag(0x28, 9), VR::AT, "00181063"), syntax(EXPLICIT));
    assert_eq!(bytes, explicit(0x28, 9, "AT", &[0x18, 0, 0x63, 0x10]));
    let bytes = encode(&one(Tag(0x20, 0x13), VR::IS, Value::Integers(vec![12])), syntax(EXPLICIT));
    assert_eq!(bytes, explicit(0x20, 0x13, "IS", b"12"));
}

/// Attributes of every kind of value, of tags that the dictionary knows with that value representation.
pub(super) fn any_attributes() -> impl Strategy<Value = Attributes> {
    any_leaves().prop_recursive(3, 40, 4, |inner| {
        (any_leaves(), vec(inner, 0..3)).prop_map(|(mut all, items)| {
            let value = if items.is_empty() { Value::Empty } else { Value::Sequence(items) };
            all.0.insert(Tag(8, 0x1115), Attribute { vr: VR::SQ, value });
            all
        })
    })
}

fn any_leaves() -> impl Strategy<Value = Attributes> {
    vec(any_leaf(), 0..6).prop_map(|leaves| Attributes(leaves.into_iter().collect()))
}

fn any_leaf() -> impl Strategy<Value = (Tag, Attribute)> {
    prop_oneof![
        leaf(Tag(0x28, 0x10), VR::US, integers(0, u16::MAX.into())),
        leaf(Tag(0x28, 0x9503), VR::SS, integers(i16::MIN.into(), i16::MAX.into())),
        leaf(Tag(0x28, 0x9001), VR::UL, integers(0, u32::MAX.into())),
        leaf(Tag(0x18, 0x6020), VR::SL, integers(i32::MIN.into(), i32::MAX.into())),
        leaf(Tag(0x72, 0x82), VR::SV, integers(i64::MIN.into(), i64::MAX.into())),
        leaf(Tag(0x72, 0x83), VR::UV, integers(0, u64::MAX.into())),
        leaf(Tag(0x28, 9), VR::AT, integers(0, u32::MAX.into())),
        leaf(Tag(0x18, 0x9073), VR::FD, vec(finite(), 1..4).prop_map(Value::Floats)),
        leaf(Tag(0x10, 0x9431), VR::FL, vec(single(), 1..4).prop_map(Value::Floats)),
        leaf(Tag(0x18, 0x50), VR::DS, texts("[+-]?[0-9]{1,12}(\\.[0-9]{1,6})?(E-?[0-9])?")),
        leaf(Tag(0x20, 0x13), VR::IS, texts("[+-]?[0-9]{1,10}|abc")),
        leaf(Tag(8, 8), VR::CS, texts("[A-Z_]{1,16}")),
        leaf(Tag(8, 0x103E), VR::LO, texts("[a-zA-Zäßñ山\u{1F600}\"/]{1,20}")),
        leaf(Tag(0x10, 0x4000), VR::LT, "[a-zé\\\\\r\n\t\u{1}\u{7f}]{0,40}x".prop_map(|t| Value::Text(vec![t]))),
        leaf(Tag(0x10, 0x10), VR::PN, vec(name(), 1..3).prop_map(Value::PersonNames)),
        leaf(Tag(0x42, 0x11), VR::OB, bytes(2)),
        leaf(Tag(0x28, 0x1201), VR::OW, bytes(2)),
        leaf(Tag(0x66, 0x16), VR::OF, bytes(4)),
        leaf(Tag(0x7FE0, 1), VR::OV, bytes(8)),
        leaf(Tag(0x11, 0x1001), VR::UN, bytes(2)),
        Just((Tag(8, 0x50), Attribute { vr: VR::SH, value: Value::Empty })),
    ]
}

fn leaf(tag: Tag, vr: VR, value: impl Strategy<Value = Value>) -> impl Strategy<Value = (Tag, Attribute)> {
    value.prop_map(move |value| (tag, Attribute { vr, value }))
}

fn integers(min: i128, max: i128) -> impl Strategy<Value = Value> {
    vec(min..=max, 1..4).prop_map(Value::Integers)
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("finite", |v| v.is_finite())
}

fn single() -> impl Strategy<Value = f64> {
    any::<f32>().prop_filter("finite", |v| v.is_finite()).prop_map(f64::from)
}

fn texts(pattern: &'static str) -> impl Strategy<Value = Value> {
    (pattern, vec(prop_oneof![pattern, Just(String::new())], 0..3)).prop_map(|(first, mut more)| {
        more.push(first);
        Value::Text(more)
    })
}

fn name() -> impl Strategy<Value = PersonName> {
    ("[A-Zé]{1,8}\\^[a-z]{1,8}", "[山田太郎^]{0,5}", "[やま]{0,5}")
        .prop_map(|(alphabetic, ideographic, phonetic)| PersonName { alphabetic, ideographic, phonetic })
}

fn bytes(unit: usize) -> impl Strategy<Value = Value> {
    vec(any::<u8>(), 1..20).prop_map(move |mut bytes| {
        bytes.resize(bytes.len().next_multiple_of(unit), 0);
        Value::Binary(bytes)
    })
}

proptest! {
    #[test]
    fn every_transfer_syntax_says_the_same(all in any_attributes()) {
        let encoded = encode(&all, syntax(EXPLICIT));
        let mut expected = all.clone();
        if !encoded.is_ascii() && let Some(charset) = attributes(&encoded, EXPLICIT).get(Tag(8, 5)) {
            expected.0.insert(Tag(8, 5), charset.clone());
        }
        for uid in [EXPLICIT, IMPLICIT, BIG, DEFLATED] {
            let result = parsed(&encode(&all, syntax(uid)), uid);
            prop_assert!(result.complete);
            prop_assert_eq!(&result.attributes, &expected, "{}", uid);
        }
        prop_assert_eq!(encode(&attributes(&encoded, EXPLICIT), syntax(EXPLICIT)), encoded);
    }
}
