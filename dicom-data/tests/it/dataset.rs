//! Data sets: what is read from bytes, and what is written as bytes and JSON.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests may panic, and test data is small"
)]

mod encode;
mod file_meta;
mod frames;
mod fuzz;
mod hostile;
mod json;
mod read;

use dicom_core::Tag;
use dicom_data::{Attributes, Limits, Parsed, TransferSyntax, read, transfer_syntax};

/// Explicit VR Little Endian.
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
/// Implicit VR Little Endian.
const IMPLICIT: &str = "1.2.840.10008.1.2";
/// Explicit VR Big Endian.
const BIG: &str = "1.2.840.10008.1.2.2";
/// Deflated Explicit VR Little Endian.
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
/// JPEG Baseline.
const JPEG: &str = "1.2.840.10008.1.2.4.50";

const UNDEFINED: u32 = u32::MAX;

fn syntax(uid: &str) -> &'static TransferSyntax {
    transfer_syntax(uid).unwrap()
}

fn parsed(bytes: &[u8], uid: &str) -> Parsed {
    read(bytes, syntax(uid), &Limits::default()).unwrap()
}

fn attributes(bytes: &[u8], uid: &str) -> Attributes {
    parsed(bytes, uid).attributes
}

/// An element in Explicit VR Little Endian.
fn explicit(group: u16, element: u16, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut out = explicit_header(group, element, vr, value.len() as u32);
    out.extend_from_slice(value);
    out
}

fn explicit_header(group: u16, element: u16, vr: &str, length: u32) -> Vec<u8> {
    let mut out = [group.to_le_bytes(), element.to_le_bytes()].concat();
    out.extend_from_slice(vr.as_bytes());
    if ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"].contains(&vr) {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&length.to_le_bytes());
    } else {
        out.extend_from_slice(&(length as u16).to_le_bytes());
    }
    out
}

/// An element or item in Implicit VR Little Endian.
fn implicit(group: u16, element: u16, value: &[u8]) -> Vec<u8> {
    let mut out = implicit_header(group, element, value.len() as u32);
    out.extend_from_slice(value);
    out
}

fn implicit_header(group: u16, element: u16, length: u32) -> Vec<u8> {
    let mut out = [group.to_le_bytes(), element.to_le_bytes()].concat();
    out.extend_from_slice(&length.to_le_bytes());
    out
}

fn item(value: &[u8]) -> Vec<u8> {
    implicit(0xFFFE, 0xE000, value)
}

fn item_delimiter() -> Vec<u8> {
    implicit_header(0xFFFE, 0xE00D, 0)
}

fn sequence_delimiter() -> Vec<u8> {
    implicit_header(0xFFFE, 0xE0DD, 0)
}

/// The four UIDs, in Explicit VR Little Endian.
fn identity() -> Vec<u8> {
    [
        explicit(8, 0x16, "UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
        explicit(8, 0x18, "UI", b"1.2.3.4\0"),
        explicit(0x20, 0xD, "UI", b"1.2.3\0"),
        explicit(0x20, 0xE, "UI", b"1.2.3.1\0"),
    ]
    .concat()
}

/// Encapsulated Pixel Data: an offset table and fragments.
fn encapsulated(table: &[u8], fragments: &[&[u8]]) -> Vec<u8> {
    let mut out = explicit_header(0x7FE0, 0x10, "OB", UNDEFINED);
    out.extend(item(table));
    for fragment in fragments {
        out.extend(item(fragment));
    }
    out.extend(sequence_delimiter());
    out
}

const PATIENT_ID: Tag = Tag(0x0010, 0x0020);
const PATIENT_NAME: Tag = Tag(0x0010, 0x0010);
