//! File meta information (PS3.10 §7.1): what stands before a data set in a file.
//!
//! | bytes | content |
//! |---|---|
//! | 128 | preamble: written as zeros, never interpreted |
//! | 4 | `DICM` |
//! | rest | group 0002 in Explicit VR Little Endian |

use std::str::FromStr;

use dicom_core::VR;
use dicom_core::header::Tag;

use super::ReadError;
use super::dictionary::has_long_length;
use crate::Uid;

/// Implementation Class UID (0002,0012), also of associations (PS3.7 §D.3.3.2).
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.187466611256344398451479804058118102880";
/// Implementation Version Name (0002,0013), also of associations.
pub const IMPLEMENTATION_VERSION_NAME: &str = "FILMROOM_0_1";

/// Bytes of the preamble.
const PREAMBLE_BYTES: usize = 128;
const PREFIX: &[u8; 4] = b"DICM";
/// Meta information that has not ended by then is none.
const META_BYTES_MAX: usize = 64 * 1024;
/// Longest AE title (PS3.5 §6.2).
const AE_BYTES_MAX: usize = 16;

/// What the meta information says; absent and invalid values are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileMeta {
    /// (0002,0002)
    pub media_storage_sop_class_uid: Option<Uid>,
    /// (0002,0003)
    pub media_storage_sop_instance_uid: Option<Uid>,
    /// (0002,0010)
    pub transfer_syntax_uid: Option<Uid>,
    /// (0002,0012)
    pub implementation_class_uid: Option<Uid>,
    /// (0002,0013)
    pub implementation_version_name: Option<String>,
    /// (0002,0016)
    pub source_application_entity_title: Option<String>,
}

/// What the first bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileMetaRead {
    /// The meta information goes on: call again with more bytes. At the end of the file it is cut off.
    NeedMore,
    /// There is no `DICM` after the preamble: perhaps a bare data set.
    NotPart10,
    /// All of it was read.
    Meta {
        /// What it says.
        meta: FileMeta,
        /// First byte of the data set.
        data_set_offset: usize,
    },
}

/// Reads the meta information at the beginning of a file, of which `prefix` are the first bytes.
///
/// The group length (0002,0000) is not relied upon: the meta information ends where another group begins.
pub fn read_file_meta(prefix: &[u8]) -> Result<FileMetaRead, ReadError> {
    let Some((_, after)) = prefix.split_at_checked(PREAMBLE_BYTES) else {
        return Ok(FileMetaRead::NeedMore);
    };
    let Some(magic) = after.first_chunk::<4>() else {
        return Ok(FileMetaRead::NeedMore);
    };
    if magic != PREFIX {
        return Ok(FileMetaRead::NotPart10);
    }
    let mut meta = FileMeta::default();
    let mut at = PREAMBLE_BYTES + PREFIX.len();
    let mut promised_end = None;
    loop {
        let rest = prefix.get(at..).unwrap_or_default();
        let [g0, g1, ..] = *rest else {
            // Nothing follows. The group length may say that nothing of the meta information should.
            return match promised_end {
                Some(end) if end == at && rest.is_empty() => Ok(FileMetaRead::Meta { meta, data_set_offset: at }),
                _ => Ok(FileMetaRead::NeedMore),
            };
        };
        if u16::from_le_bytes([g0, g1]) != 0x0002 {
            return Ok(FileMetaRead::Meta { meta, data_set_offset: at });
        }
        let Some((tag, header, len)) = header(rest) else {
            return Ok(FileMetaRead::NeedMore);
        };
        let end = header.saturating_add(len);
        if at.saturating_add(end) > META_BYTES_MAX {
            let offset = u64::try_from(at).unwrap_or(u64::MAX);
            return Err(ReadError::malformed(offset, "the file meta information is too long"));
        }
        let Some(value) = rest.get(header..end) else {
            return Ok(FileMetaRead::NeedMore);
        };
        at += end;
        if tag == Tag(0x0002, 0x0000) {
            promised_end = value
                .first_chunk()
                .and_then(|bytes| usize::try_from(u32::from_le_bytes(*bytes)).ok())
                .and_then(|bytes| at.checked_add(bytes));
        }
        meta.take(tag, value);
    }
}

/// Writes preamble and meta information (PS3.10 Table 7.1-1) for a data set that follows.
pub fn write_file_meta(sop_class: &Uid, sop_instance: &Uid, transfer_syntax: &Uid, source_ae: Option<&str>) -> Vec<u8> {
    let mut group = Vec::with_capacity(256);
    element(&mut group, 0x0001, VR::OB, &[0, 1]);
    element(&mut group, 0x0002, VR::UI, sop_class.as_str().as_bytes());
    element(&mut group, 0x0003, VR::UI, sop_instance.as_str().as_bytes());
    element(&mut group, 0x0010, VR::UI, transfer_syntax.as_str().as_bytes());
    element(&mut group, 0x0012, VR::UI, IMPLEMENTATION_CLASS_UID.as_bytes());
    element(&mut group, 0x0013, VR::SH, IMPLEMENTATION_VERSION_NAME.as_bytes());
    if let Some(title) = source_ae {
        let title = title.as_bytes();
        element(&mut group, 0x0016, VR::AE, title.get(..AE_BYTES_MAX).unwrap_or(title));
    }
    let group_bytes = u32::try_from(group.len()).expect("UIDs and a title are short");
    let mut out = vec![0; PREAMBLE_BYTES];
    out.extend_from_slice(PREFIX);
    element(&mut out, 0x0000, VR::UL, &group_bytes.to_le_bytes());
    out.extend_from_slice(&group);
    out
}

impl FileMeta {
    fn take(&mut self, tag: Tag, value: &[u8]) {
        match tag.element() {
            0x0002 => self.media_storage_sop_class_uid = parsed(value),
            0x0003 => self.media_storage_sop_instance_uid = parsed(value),
            0x0010 => self.transfer_syntax_uid = parsed(value),
            0x0012 => self.implementation_class_uid = parsed(value),
            0x0013 => self.implementation_version_name = parsed(value),
            0x0016 => self.source_application_entity_title = parsed(value),
            _ => {}
        }
    }
}

fn parsed<T: FromStr>(value: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\0']);
    text.parse().ok().filter(|_| !text.is_empty())
}

/// Reads tag, header length and value length of an element; meta information without value
/// representations is tolerated.
fn header(bytes: &[u8]) -> Option<(Tag, usize, usize)> {
    let [g0, g1, e0, e1, v0, v1, l0, l1] = *bytes.first_chunk()?;
    let tag = Tag(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
    let (header, len) = match VR::from_binary([v0, v1]) {
        Some(vr) if has_long_length(vr) => (12, u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?)),
        Some(_) => (8, u32::from(u16::from_le_bytes([l0, l1]))),
        None => (8, u32::from_le_bytes([v0, v1, l0, l1])),
    };
    Some((tag, header, usize::try_from(len).ok()?))
}

fn element(out: &mut Vec<u8>, element: u16, vr: VR, value: &[u8]) {
    let even = value.len() + value.len() % 2;
    out.extend_from_slice(&0x0002_u16.to_le_bytes());
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(vr.to_string().as_bytes());
    if has_long_length(vr) {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&u32::try_from(even).expect("meta values are short").to_le_bytes());
    } else {
        out.extend_from_slice(&u16::try_from(even).expect("meta values are short").to_le_bytes());
    }
    out.extend_from_slice(value);
    if even > value.len() {
        out.push(if vr == VR::UI { 0 } else { b' ' });
    }
}
