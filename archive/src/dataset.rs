//! Data sets (PS3.5 §7): read from bytes, decoded to text, written as bytes and as DICOM JSON. Pure: no I/O of its own.

mod attributes;
mod source;

pub use attributes::{Attribute, Attributes, PersonName, TagPath, Value};
pub use source::{Source, SourceError};
