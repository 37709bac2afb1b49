//! The DICOM JSON model (PS3.18 Annex F).
//!
//! | choice left open by the standard | here |
//! |---|---|
//! | IS, DS | a number if its shortest form is the text itself, else a string: `"1.10"` |
//! | SV, UV | a string beyond 2^53, where readers lose digits |
//! | NaN and infinities in FL, FD | InlineBinary, for JSON has no form for them |
//! | Specific Character Set | `ISO_IR 192` wherever it is present, since JSON is UTF-8 |
//! | empty names and texts among several values | `null` |

mod read;
mod tree;
mod write;

pub use read::read_json;
pub(super) use write::single;
pub use write::write_json;

use dicom_core::VR;
use dicom_core::header::Tag;

use super::parse::{Limits, read};
use super::transfer_syntax::TransferSyntax;
use super::{Attributes, ReadError, Source};
use crate::Uid;

/// Stands for the service's base URL in metadata that is kept; replaced when it is served. JSON text
/// has no other byte 01H.
pub const BASE_URL_MARK: char = '\u{1}';

/// The UIDs of an instance in the resources of PS3.18.
#[derive(Debug, Clone, Copy)]
pub struct InstanceUids<'a> {
    /// Study Instance UID.
    pub study_instance_uid: &'a Uid,
    /// Series Instance UID.
    pub series_instance_uid: &'a Uid,
    /// SOP Instance UID.
    pub sop_instance_uid: &'a Uid,
}

const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008, 0x0005);

/// Writes the metadata of an instance as one JSON object, with bulk data URIs below `BASE_URL_MARK`.
///
/// Of a data set that is only partly readable the object has what could be read, and always the UIDs.
pub fn metadata_json<S: Source + ?Sized>(
    source: &S,
    syntax: &TransferSyntax,
    uids: InstanceUids<'_>,
) -> Result<Vec<u8>, ReadError> {
    match read(source, syntax, &Limits::default()) {
        Ok(parsed) => Ok(attributes_json(parsed.attributes, uids)),
        Err(ReadError::Malformed { .. } | ReadError::Missing { .. }) => {
            Ok(attributes_json(Attributes::default(), uids))
        }
        Err(error @ ReadError::Source(_)) => Err(error),
    }
}

/// Writes what was read of an instance, as `metadata_json` does.
pub fn attributes_json(mut attributes: Attributes, uids: InstanceUids<'_>) -> Vec<u8> {
    uids.put_absent(&mut attributes);
    let instance = format!(
        "{BASE_URL_MARK}/studies/{}/series/{}/instances/{}",
        uids.study_instance_uid, uids.series_instance_uid, uids.sop_instance_uid
    );
    let mut out = Vec::new();
    write_json(&attributes, &|path| format!("{instance}/bulkdata/{path}"), &mut out);
    out
}

impl InstanceUids<'_> {
    /// Without its UIDs a client cannot tell what the object is of.
    fn put_absent(&self, attributes: &mut Attributes) {
        for (tag, uid) in [
            (Tag(0x0008, 0x0018), self.sop_instance_uid),
            (Tag(0x0020, 0x000D), self.study_instance_uid),
            (Tag(0x0020, 0x000E), self.series_instance_uid),
        ] {
            if attributes.text(tag).is_none() {
                attributes.put_text(tag, VR::UI, uid.as_str());
            }
        }
    }
}
