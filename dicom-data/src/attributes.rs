//! The attributes of a data set as decoded values: the common form of headers, queries and answers.

use dicom_core::{Tag, VR};

use super::TagMap;

/// Attributes by tag, in ascending order; private ones come with their creator elements.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes(pub TagMap);

/// One attribute: its value representation and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// As encoded, or from the dictionary where the encoding is implicit; `UN` when unknown.
    pub vr: VR,
    /// The decoded value.
    pub value: Value,
}

/// A decoded value. An empty text in a list is an empty value of a multi-valued attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Zero length, or an empty sequence.
    Empty,
    /// AE AS CS DA DT IS DS LO LT SH ST TM UC UI UR UT: values split at backslashes where the
    /// value representation allows it, padding removed, in Unicode.
    Text(Vec<String>),
    /// PN.
    PersonNames(Vec<PersonName>),
    /// US SS UL SL UV SV, and AT as group * 65536 + element.
    Integers(Vec<i128>),
    /// FL FD.
    Floats(Vec<f64>),
    /// SQ, and UN of undefined length.
    Sequence(Vec<Attributes>),
    /// OB OD OF OL OV OW UN, little endian, as stored inline.
    Binary(Vec<u8>),
    /// A value left where it is: bytes `offset..offset + bytes` of the data set (of the inflated one
    /// for the deflated transfer syntax). `encapsulated`: Pixel Data in fragments, from the first
    /// item's tag to before the sequence delimiter.
    Bulk {
        /// First byte of the value, counted from the first byte of the data set.
        offset: u64,
        /// Length of the value in bytes.
        bytes: u64,
        /// Whether the value is a sequence of fragments (PS3.5 §A.4).
        encapsulated: bool,
    },
}

/// A person name's three component groups (PS3.5 §6.2.1), each possibly empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PersonName {
    /// First group.
    pub alphabetic: String,
    /// Second group.
    pub ideographic: String,
    /// Third group.
    pub phonetic: String,
}

/// Names an attribute, perhaps inside sequences: `00400275.00400009`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TagPath(pub Vec<Tag>);

impl Attributes {
    /// Returns the attribute with this tag.
    pub fn get(&self, tag: Tag) -> Option<&Attribute> {
        self.0.get(&tag)
    }

    /// Returns the first text value, trimmed; `None` when absent, empty or not text.
    pub fn text(&self, tag: Tag) -> Option<&str> {
        match &self.get(tag)?.value {
            Value::Text(values) => values.first().map(|v| v.trim()).filter(|v| !v.is_empty()),
            Value::Empty
            | Value::PersonNames(_)
            | Value::Integers(_)
            | Value::Floats(_)
            | Value::Sequence(_)
            | Value::Binary(_)
            | Value::Bulk { .. } => None,
        }
    }

    /// Returns the first whole number of an integer or IS value.
    pub fn integer(&self, tag: Tag) -> Option<i64> {
        match &self.get(tag)?.value {
            Value::Integers(values) => values.first().and_then(|v| i64::try_from(*v).ok()),
            Value::Text(values) => values.first().and_then(|v| v.trim().parse().ok()),
            Value::Empty
            | Value::PersonNames(_)
            | Value::Floats(_)
            | Value::Sequence(_)
            | Value::Binary(_)
            | Value::Bulk { .. } => None,
        }
    }

    /// Puts one text value, replacing what was there.
    pub fn put_text(&mut self, tag: Tag, vr: VR, value: impl Into<String>) {
        self.0.insert(tag, Attribute { vr, value: Value::Text(vec![value.into()]) });
    }
}
