//! Attributes to the bytes of a data set: answers to queries, commitment reports, generated objects.

use std::io::Write;

use dicom_core::VR;
use dicom_core::header::Tag;

use super::dictionary::{ITEM, has_long_length, unit_bytes};
use super::json::single;
use super::transfer_syntax::TransferSyntax;
use super::value::swap_byte_order;
use super::walker::Encoding;
use super::{Attribute, Attributes, PersonName, Value};

const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008, 0x0005);

/// Encodes attributes in a transfer syntax, sequences and items with defined lengths.
///
/// Text is written in UTF-8; if any of it is beyond ASCII, Specific Character Set (0008,0005) is
/// `ISO_IR 192` whatever it was. Values that are elsewhere (`Value::Bulk`) become empty, group lengths are left
/// out, values too long for their value representation become UN (PS3.5 §6.2.2).
pub fn encode(attributes: &Attributes, syntax: &TransferSyntax) -> Vec<u8> {
    let beyond_ascii = is_beyond_ascii(attributes);
    let mut encoder = Encoder { encoding: Encoding::of(syntax), out: Vec::new() };
    if beyond_ascii {
        let mut attributes = attributes.clone();
        attributes.put_text(SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
        encoder.data_set(&attributes, true);
    } else {
        encoder.data_set(attributes, true);
    }
    if syntax.deflated { deflate(&encoder.out) } else { encoder.out }
}

/// Compresses a data set (PS3.5 §A.5), padded to even length.
fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("a vector takes all bytes");
    let mut out = encoder.finish().expect("a vector takes all bytes");
    if out.len() % 2 == 1 {
        out.push(0);
    }
    out
}

fn is_beyond_ascii(attributes: &Attributes) -> bool {
    attributes.0.values().any(|attribute| match &attribute.value {
        Value::Text(values) => values.iter().any(|value| !value.is_ascii()),
        Value::PersonNames(names) => names
            .iter()
            .any(|name| !name.alphabetic.is_ascii() || !name.ideographic.is_ascii() || !name.phonetic.is_ascii()),
        Value::Sequence(items) => items.iter().any(is_beyond_ascii),
        Value::Empty | Value::Integers(_) | Value::Floats(_) | Value::Binary(_) | Value::Bulk { .. } => false,
    })
}

struct Encoder {
    encoding: Encoding,
    out: Vec<u8>,
}

impl Encoder {
    /// The depth of the attributes bounds the recursion: whoever makes them bounds that.
    fn data_set(&mut self, attributes: &Attributes, outermost: bool) {
        for (tag, attribute) in &attributes.0 {
            // Items inherit the one character set that everything is written in.
            let inherited = *tag == SPECIFIC_CHARACTER_SET && !outermost;
            if tag.element() != 0 && !inherited {
                self.element(*tag, attribute);
            }
        }
    }

    fn element(&mut self, tag: Tag, attribute: &Attribute) {
        let value = self.value(attribute.vr, &attribute.value);
        self.header(tag, attribute.vr, value.len());
        self.out.extend_from_slice(&value);
    }

    fn items(&self, items: &[Attributes]) -> Vec<u8> {
        let mut inner = Self { encoding: self.encoding, out: Vec::new() };
        let mut out = Self { encoding: self.encoding, out: Vec::new() };
        for item in items {
            inner.out.clear();
            inner.data_set(item, false);
            out.tag(ITEM);
            out.u32(length(inner.out.len()));
            out.out.extend_from_slice(&inner.out);
        }
        out.out
    }

    fn header(&mut self, tag: Tag, vr: VR, len: usize) {
        self.tag(tag);
        if !self.encoding.explicit {
            return self.u32(length(len));
        }
        let short = u16::try_from(len).ok().filter(|len| !has_long_length(vr) && *len != u16::MAX);
        if let Some(len) = short {
            self.out.extend_from_slice(vr.to_string().as_bytes());
            return self.u16(len);
        }
        let vr = if has_long_length(vr) { vr } else { VR::UN };
        self.out.extend_from_slice(vr.to_string().as_bytes());
        self.out.extend_from_slice(&[0, 0]);
        self.u32(length(len));
    }

    /// The bytes of a value, padded to even length (PS3.5 §6.2).
    fn value(&self, vr: VR, value: &Value) -> Vec<u8> {
        let mut bytes = match value {
            Value::Empty | Value::Bulk { .. } => Vec::new(),
            Value::Sequence(items) => self.items(items),
            Value::Text(values) => self.texts(vr, values),
            Value::PersonNames(names) => names.iter().map(person_name).collect::<Vec<_>>().join("\\").into_bytes(),
            Value::Integers(values) => self.integers(vr, values),
            Value::Floats(values) => self.floats(vr, values),
            Value::Binary(bytes) => self.binary(vr, bytes),
        };
        if bytes.len() % 2 == 1 {
            bytes.push(padding(vr));
        }
        bytes
    }

    fn texts(&self, vr: VR, values: &[String]) -> Vec<u8> {
        if unit_bytes(vr) == 1 {
            return values.join("\\").into_bytes();
        }
        // Text where numbers belong comes from queries; what is no number is left out.
        let texts = values.iter().map(|value| value.trim());
        if matches!(vr, VR::FL | VR::FD) {
            return self.floats(vr, &texts.filter_map(|v| v.parse().ok()).collect::<Vec<_>>());
        }
        let radix = if vr == VR::AT { 16 } else { 10 };
        let number = |text| i128::from_str_radix(text, radix).ok();
        self.integers(vr, &texts.filter_map(number).collect::<Vec<_>>())
    }

    fn integers(&self, vr: VR, values: &[i128]) -> Vec<u8> {
        let len = if vr == VR::AT { 4 } else { unit_bytes(vr) };
        if len == 1 {
            let texts: Vec<_> = values.iter().map(i128::to_string).collect();
            return texts.join("\\").into_bytes();
        }
        let mut out = Vec::with_capacity(values.len() * len);
        for value in values {
            let bytes = value.to_le_bytes();
            out.extend_from_slice(bytes.get(..len).unwrap_or_default());
        }
        if vr == VR::AT {
            // Group first, each half in its own byte order.
            for tag in out.chunks_exact_mut(4) {
                tag.rotate_left(2);
            }
        }
        self.binary(vr, &out)
    }

    fn floats(&self, vr: VR, values: &[f64]) -> Vec<u8> {
        if unit_bytes(vr) == 1 {
            let texts: Vec<_> = values.iter().map(f64::to_string).collect();
            return texts.join("\\").into_bytes();
        }
        let bytes: Vec<u8> = if vr == VR::FL {
            values.iter().flat_map(|v| single(*v).to_le_bytes()).collect()
        } else {
            values.iter().flat_map(|v| v.to_le_bytes()).collect()
        };
        self.binary(vr, &bytes)
    }

    /// Little endian bytes in the byte order of the transfer syntax.
    fn binary(&self, vr: VR, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        if self.encoding.big_endian {
            swap_byte_order(vr, &mut bytes);
        }
        bytes
    }

    fn tag(&mut self, tag: Tag) {
        self.u16(tag.group());
        self.u16(tag.element());
    }

    fn u16(&mut self, value: u16) {
        let bytes = if self.encoding.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        self.out.extend_from_slice(&bytes);
    }

    fn u32(&mut self, value: u32) {
        let bytes = if self.encoding.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        self.out.extend_from_slice(&bytes);
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("inline values of a data set are bounded far below 4 GiB")
}

fn padding(vr: VR) -> u8 {
    let text = matches!(
        vr,
        VR::AE
            | VR::AS
            | VR::CS
            | VR::DA
            | VR::DS
            | VR::DT
            | VR::IS
            | VR::LO
            | VR::LT
            | VR::PN
            | VR::SH
            | VR::ST
            | VR::TM
            | VR::UC
            | VR::UR
            | VR::UT
    );
    if text { b' ' } else { 0 }
}

fn person_name(name: &PersonName) -> String {
    let text = format!("{}={}={}", name.alphabetic, name.ideographic, name.phonetic);
    text.trim_end_matches('=').to_owned()
}
