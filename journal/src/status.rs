//! What an operator is told about the journal.

use crate::copies::CopyStatus;
use crate::record::Lsn;

/// The state of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalStatus {
    /// The configured copies.
    pub copies: Vec<CopyStatus>,
    /// Copies without which nothing is acknowledged.
    pub copies_required: usize,
    /// Bytes of segments and large files on each copy.
    pub used_bytes: u64,
    /// Limit of these bytes.
    pub bytes_max: u64,
    /// Segments, with the one being written.
    pub segments: usize,
    /// Large files.
    pub large_files: usize,
    /// Places where a record could not be read on any copy, first 1,000.
    pub damaged: Vec<Lsn>,
}
