//! DICOM's data, pure: no I/O, no clock. Data sets (PS3.5 §7) read from bytes, decoded to text, written as bytes and as DICOM
//! JSON; UIDs; and in [`query`] keys and matching.

pub mod query;

mod attributes;
mod bulk;
mod charset;
mod cursor;
mod dictionary;
mod encode;
mod error;
mod file_meta;
mod frames;
mod identifiers;
mod inflate;
mod json;
mod levels;
mod parse;
mod sop_class;
mod source;
mod tag_map;
mod transfer_syntax;
mod uid;
mod value;
mod walker;

pub use attributes::{Attribute, Attributes, PersonName, TagPath, Value};
pub use bulk::{BulkLocation, BulkPath, InvalidBulkPath, find_bulk};
pub use encode::encode;
pub use error::ReadError;
pub use file_meta::{
    FileMeta, FileMetaRead, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, read_file_meta, write_file_meta,
};
pub use frames::{Fragment, FragmentTable, NativeFrame, align_frame, fragment_table, frame_count, native_frame_range};
pub use identifiers::{Identifiers, read_identifiers};
pub use inflate::inflate;
pub use json::{BASE_URL_MARK, InstanceUids, attributes_json, metadata_json, read_json, write_json};
pub use levels::{LevelAttributes, level_attributes};
pub use parse::{Limits, Parsed, PixelData, read, read_frame_layout, read_levels};
pub use sop_class::{is_storage, storage_sop_classes};
pub use source::{Source, SourceError};
pub use tag_map::{Iter, TagMap};
pub use transfer_syntax::{
    ByteOrder, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, TransferSyntax, transfer_syntax, transfer_syntaxes,
};
pub use uid::{InvalidUid, UID_CHARS_MAX, Uid};
pub use value::{swap_byte_order, whole_numbers};
