//! Bytes of one value to its decoded form (PS3.5 §6.2).

use std::ops::Range;

use dicom_core::VR;

use super::charset::{Charset, TextKind};
use super::dictionary::{has_charset, is_multi_valued, unit_bytes};
use super::{Attribute, PersonName, Value};

/// Decodes a value. Numbers whose length is less than one number are kept as UN, so that nothing is lost.
pub(super) fn decode(vr: VR, bytes: &[u8], big_endian: bool, charset: Charset) -> Attribute {
    if bytes.is_empty() {
        return Attribute { vr, value: Value::Empty };
    }
    let numbers = Numbers { bytes, big_endian };
    let value = match vr {
        VR::PN => person_names(bytes, charset),
        VR::US => Value::Integers(numbers.map(|b| u16::from_le_bytes(b).into())),
        VR::SS => Value::Integers(numbers.map(|b| i16::from_le_bytes(b).into())),
        VR::UL => Value::Integers(numbers.map(|b| u32::from_le_bytes(b).into())),
        VR::SL => Value::Integers(numbers.map(|b| i32::from_le_bytes(b).into())),
        VR::UV => Value::Integers(numbers.map(|b| u64::from_le_bytes(b).into())),
        VR::SV => Value::Integers(numbers.map(|b| i64::from_le_bytes(b).into())),
        VR::AT => Value::Integers(tags(&numbers)),
        VR::FL => Value::Floats(numbers.map(|b| f32::from_le_bytes(b).into())),
        VR::FD => Value::Floats(numbers.map(f64::from_le_bytes)),
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN | VR::SQ => {
            let mut bytes = bytes.to_vec();
            if big_endian {
                swap_byte_order(vr, &mut bytes);
            }
            Value::Binary(bytes)
        }
        VR::AE
        | VR::AS
        | VR::CS
        | VR::DA
        | VR::DS
        | VR::DT
        | VR::IS
        | VR::LO
        | VR::LT
        | VR::SH
        | VR::ST
        | VR::TM
        | VR::UC
        | VR::UI
        | VR::UR
        | VR::UT => texts(vr, bytes, charset),
    };
    let none = match &value {
        Value::Integers(values) => values.is_empty(),
        Value::Floats(values) => values.is_empty(),
        // A value of defined length that was not walked into is no sequence.
        Value::Binary(_) => vr == VR::SQ,
        Value::Empty | Value::Text(_) | Value::PersonNames(_) | Value::Sequence(_) | Value::Bulk { .. } => false,
    };
    if none {
        return Attribute { vr: VR::UN, value: Value::Binary(bytes.to_vec()) };
    }
    Attribute { vr, value }
}

/// Turns the bytes of a value from big to little endian or back (PS3.5 §7.3): what bulk data of the big endian
/// transfer syntax needs before it is sent.
pub fn swap_byte_order(vr: VR, bytes: &mut [u8]) {
    let unit_bytes = unit_bytes(vr);
    if unit_bytes > 1 {
        for unit in bytes.chunks_exact_mut(unit_bytes) {
            unit.reverse();
        }
    }
}

/// Widens a byte range of a value of `bytes` bytes to whole numbers: a frame of an odd length ends, or begins, inside
/// one, and its bytes can be turned only with the rest of it.
pub fn whole_numbers(vr: VR, range: &Range<u64>, bytes: u64) -> Range<u64> {
    let unit = u64::try_from(unit_bytes(vr)).expect("at most 8");
    let end = range.end.checked_next_multiple_of(unit).unwrap_or(range.end);
    range.start - range.start % unit..end.min(bytes)
}

struct Numbers<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Numbers<'_> {
    /// Decodes numbers of N bytes, given in little endian; what is left over is no number.
    fn map<const N: usize, T>(&self, decode: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (chunks, _) = self.bytes.as_chunks::<N>();
        chunks
            .iter()
            .map(|chunk| {
                let mut chunk = *chunk;
                if self.big_endian {
                    chunk.reverse();
                }
                decode(chunk)
            })
            .collect()
    }
}

/// Tags are two numbers of two bytes each, as group * 65536 + element.
fn tags(numbers: &Numbers<'_>) -> Vec<i128> {
    let halves = numbers.map(|b| i128::from(u16::from_le_bytes(b)));
    let (pairs, _) = halves.as_chunks::<2>();
    pairs.iter().map(|[group, element]| group * 0x1_0000 + element).collect()
}

fn texts(vr: VR, bytes: &[u8], charset: Charset) -> Value {
    let charset = if has_charset(vr) { charset } else { Charset::default() };
    let text = charset.decode(bytes, TextKind::Text);
    let values: Vec<String> = if is_multi_valued(vr) && text.contains('\\') {
        text.split('\\').map(|value| trimmed(vr, value).to_owned()).collect()
    } else {
        vec![trimmed(vr, &text).to_owned()]
    };
    match values.as_slice() {
        [only] if only.is_empty() => Value::Empty,
        _ => Value::Text(values),
    }
}

/// Removes padding: trailing spaces and NULs, and leading spaces where they mean nothing and are not text.
fn trimmed(vr: VR, value: &str) -> &str {
    let value = value.trim_end_matches([' ', '\0']);
    match vr {
        VR::AE | VR::AS | VR::CS | VR::DA | VR::DS | VR::DT | VR::IS | VR::TM | VR::UI => value.trim_start_matches(' '),
        VR::AT
        | VR::FL
        | VR::FD
        | VR::LO
        | VR::LT
        | VR::OB
        | VR::OD
        | VR::OF
        | VR::OL
        | VR::OV
        | VR::OW
        | VR::PN
        | VR::SH
        | VR::SL
        | VR::SQ
        | VR::SS
        | VR::ST
        | VR::SV
        | VR::UC
        | VR::UL
        | VR::UN
        | VR::UR
        | VR::US
        | VR::UT
        | VR::UV => value,
    }
}

fn person_names(bytes: &[u8], charset: Charset) -> Value {
    let text = charset.decode(bytes, TextKind::PersonName);
    let names: Vec<PersonName> = text.split('\\').map(person_name).collect();
    match names.as_slice() {
        [only] if *only == PersonName::default() => Value::Empty,
        _ => Value::PersonNames(names),
    }
}

/// Splits a name at its first two `=`; more than three groups stay in the third.
fn person_name(text: &str) -> PersonName {
    let mut groups = text.splitn(3, '=').map(|group| group.trim_end_matches([' ', '\0']).to_owned());
    PersonName {
        alphabetic: groups.next().unwrap_or_default(),
        ideographic: groups.next().unwrap_or_default(),
        phonetic: groups.next().unwrap_or_default(),
    }
}
