//! What the journal says about an instance: where its record lies, and what was received with it.

use dicom_data::Uid;

/// Log sequence number: a byte position in the journal, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// Where one instance lies in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRef {
    /// Position of the record.
    pub lsn: Lsn,
    /// Bytes of the record before its payload.
    pub head_bytes: u32,
    /// Bytes of the data set.
    pub payload_bytes: u64,
    /// CRC-32C of the data set.
    pub crc32c: u32,
    /// Whether the payload lies in a file of its own beside the segments.
    pub large: bool,
}

/// What the journal keeps about an instance beside its data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHead {
    /// Study Instance UID.
    pub study_instance_uid: Uid,
    /// Series Instance UID.
    pub series_instance_uid: Uid,
    /// SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// SOP Class UID.
    pub sop_class_uid: Uid,
    /// Encoding of the data set.
    pub transfer_syntax_uid: Uid,
    /// Calling AE title, at most 64 bytes; empty for DICOMweb and import.
    pub calling_ae: String,
    /// Called AE title, at most 64 bytes; empty for DICOMweb and import.
    pub called_ae: String,
    /// Time of arrival in milliseconds since 1970.
    pub received_millis: i64,
}

/// A record as `Journal::read_from` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How its payload is read.
    pub at: RecordRef,
    /// What is known about the instance.
    pub head: RecordHead,
    /// Where reading goes on.
    pub end: Lsn,
}
