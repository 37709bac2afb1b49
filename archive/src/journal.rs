//! The journal: what makes an acknowledgement durable (contract; the module is written beside it).

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

/// An error of the journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The record is not there any more: its segment was recycled.
    #[error("read journal record: its segment was recycled")]
    Gone,
}
