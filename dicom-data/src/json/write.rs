//! Attributes to DICOM JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dicom_core::VR;
use dicom_core::header::Tag;

use super::super::bulk::BulkPath;
use super::super::{Attribute, Attributes, PersonName, Value};
use super::{BASE_URL_MARK, SPECIFIC_CHARACTER_SET};

/// Integers up to this are exact in every reader of JSON (RFC 8259 §6).
const EXACT_MAX: i128 = 1 << 53;

/// Appends one JSON object without line breaks. `bulk_uri` names values that were left where they are.
pub fn write_json(attributes: &Attributes, bulk_uri: &dyn Fn(&BulkPath) -> String, out: &mut Vec<u8>) {
    let mut writer = Writer { out, bulk_uri, items: Vec::new() };
    writer.object(attributes);
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    bulk_uri: &'a dyn Fn(&BulkPath) -> String,
    /// The sequences around the data set that is written, and the item's number in each.
    items: Vec<(Tag, u32)>,
}

impl Writer<'_> {
    /// The depth of the attributes bounds the recursion: whoever makes them bounds that.
    fn object(&mut self, attributes: &Attributes) {
        self.raw("{");
        let mut first = true;
        for (tag, attribute) in &attributes.0 {
            if tag.element() == 0 {
                continue; // PS3.18 §F.2.2: no group lengths
            }
            if !first {
                self.raw(",");
            }
            first = false;
            self.attribute(*tag, attribute);
        }
        self.raw("}");
    }

    fn attribute(&mut self, tag: Tag, attribute: &Attribute) {
        self.raw("\"");
        self.hex(tag.group());
        self.hex(tag.element());
        self.raw("\":{\"vr\":\"");
        self.raw(attribute.vr.to_string());
        self.raw("\"");
        match &attribute.value {
            Value::Empty => {}
            Value::Text(_) if tag == SPECIFIC_CHARACTER_SET => {
                self.raw(",\"Value\":[\"ISO_IR 192\"]");
            }
            Value::Text(values) => self.values(values, |w, v| w.text(attribute.vr, v)),
            Value::PersonNames(names) => self.values(names, Self::person_name),
            Value::Integers(values) => self.values(values, |w, v| w.integer(attribute.vr, *v)),
            Value::Floats(values) if values.iter().all(|v| v.is_finite()) => {
                // The debug form has an exponent where the plain one has 300 zeros.
                self.values(values, |w, v| w.raw(&format!("{v:?}")));
            }
            Value::Floats(values) => self.inline_binary(&float_bytes(attribute.vr, values)),
            Value::Sequence(items) => self.sequence(tag, items),
            Value::Binary(bytes) => self.inline_binary(bytes),
            Value::Bulk { .. } => self.bulk(tag),
        }
        self.raw("}");
    }

    fn values<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Self, &T)) {
        if values.is_empty() {
            return;
        }
        self.raw(",\"Value\":[");
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            write(self, value);
        }
        self.raw("]");
    }

    fn sequence(&mut self, tag: Tag, items: &[Attributes]) {
        let mut number = 0;
        self.values(items, |w, item| {
            w.items.push((tag, number));
            w.object(item);
            w.items.pop();
            number += 1;
        });
    }

    fn bulk(&mut self, tag: Tag) {
        let uri = (self.bulk_uri)(&BulkPath { items: self.items.clone(), tag });
        self.raw(",\"BulkDataURI\":");
        match uri.strip_prefix(BASE_URL_MARK) {
            Some(rest) => {
                self.raw("\"");
                self.out.push(1); // kept unescaped: what stands for the base URL must be found
                self.escaped(rest);
                self.raw("\"");
            }
            None => self.string(&uri),
        }
    }

    fn inline_binary(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let base64 = STANDARD.encode(bytes);
        self.raw(",\"InlineBinary\":\"");
        self.raw(&base64);
        self.raw("\"");
    }

    fn text(&mut self, vr: VR, value: &str) {
        if value.is_empty() {
            self.raw("null");
        } else if (vr == VR::IS || vr == VR::DS) && is_exact_number(value) {
            self.raw(value);
        } else {
            self.string(value);
        }
    }

    fn integer(&mut self, vr: VR, value: i128) {
        if vr == VR::AT {
            self.raw(&format!("\"{value:08X}\""));
        } else if value.abs() > EXACT_MAX {
            self.raw(&format!("\"{value}\""));
        } else {
            self.raw(&value.to_string());
        }
    }

    fn person_name(&mut self, name: &PersonName) {
        let groups =
            [("Alphabetic", &name.alphabetic), ("Ideographic", &name.ideographic), ("Phonetic", &name.phonetic)];
        if groups.iter().all(|(_, group)| group.is_empty()) {
            return self.raw("null");
        }
        let mut before = "{";
        for (key, group) in groups {
            if !group.is_empty() {
                self.raw(before);
                self.string(key);
                self.raw(":");
                self.string(group);
                before = ",";
            }
        }
        self.raw("}");
    }

    fn string(&mut self, text: &str) {
        self.raw("\"");
        self.escaped(text);
        self.raw("\"");
    }

    fn escaped(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|b| b < 0x20 || b == b'"' || b == b'\\') {
            let (plain, special) = rest.split_at(at);
            self.raw(plain);
            let mut chars = special.chars();
            match chars.next() {
                Some('"') => self.raw("\\\""),
                Some('\\') => self.raw("\\\\"),
                Some('\n') => self.raw("\\n"),
                Some('\r') => self.raw("\\r"),
                Some('\t') => self.raw("\\t"),
                Some(c) => self.raw(&format!("\\u{:04x}", u32::from(c))),
                None => {}
            }
            rest = chars.as_str();
        }
        self.raw(rest);
    }

    /// Four digits.
    fn hex(&mut self, number: u16) {
        for shift in [12, 8, 4, 0] {
            let digit = char::from_digit(u32::from(number >> shift) & 0xF, 16).unwrap_or('0');
            self.out.push(u8::try_from(digit.to_ascii_uppercase()).unwrap_or(b'0'));
        }
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// Says whether a text is a JSON number that every reader gives back with the same digits.
fn is_exact_number(text: &str) -> bool {
    is_short_number(text) || is_shortest_number(text)
}

/// Says so of most numbers there are, without reading them: two numbers of at most 15 digits are never the same `f64`.
fn is_short_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "1"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    digits.len() <= 15
        && is_digits(whole)
        && is_digits(fraction)
        && (whole == "0" || !whole.starts_with('0'))
        && !fraction.ends_with('0')
        && text != "-0"
}

fn is_shortest_number(text: &str) -> bool {
    // The shortest form has no exponent, no plus and no zeros that say nothing.
    text.parse::<f64>().is_ok_and(|number| number.is_finite() && format!("{number}") == text) && text != "-0"
}

/// The little endian bytes of numbers that JSON cannot say.
fn float_bytes(vr: VR, values: &[f64]) -> Vec<u8> {
    if vr == VR::FL {
        values.iter().flat_map(|v| single(*v).to_le_bytes()).collect()
    } else {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }
}

/// The single precision number that a value of FL was read from.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "no other conversion rounds")]
pub(in super::super) fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_short_number_is_the_shortest_of_its_value(text in "-?[0-9]{1,9}(\\.[0-9]{0,9})?") {
            prop_assert!(!is_short_number(&text) || is_shortest_number(&text), "{text}");
            let within = text.trim_start_matches('-').len() <= 15;
            prop_assert!(!within || is_short_number(&text) == is_shortest_number(&text), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", ".", "1.", ".5", "1.50", "01", "-0", "-0.0", "+1", "1e3", " 1", "1..2", "--1", "0x1", "٣"]
        {
            assert!(!is_exact_number(text), "{text}");
        }
        for text in ["0", "-1", "0.5", "-0.5", "100", "176.25", "9007199254740993.5", "123456789012345"] {
            assert_eq!(is_exact_number(text), format!("{}", text.parse::<f64>().unwrap()) == text, "{text}");
        }
    }
}
