//! The options of a journal.

use std::time::Duration;

use crate::error::Error;
use crate::format::{HEAD_BYTES_MAX, len64};
use crate::place::CopyPlace;
use crate::random::Ids;

/// Bytes of a file system's block; a segment is a whole number of them.
const BLOCK_BYTES: u64 = 4096;

/// The options of a journal.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// Where each copy lies, one per failure domain.
    pub copies: Vec<CopyPlace>,
    /// Copies without which nothing is acknowledged.
    pub copies_required: usize,
    /// Bytes of a segment: a multiple of 4096. Applies to a new journal; an existing one keeps its
    /// own.
    pub segment_bytes: u64,
    /// Limit of segments and large files together on each copy; at least two segments.
    pub bytes_max: u64,
    /// Most bytes that wait in memory to be written.
    pub queue_bytes_max: u64,
    /// Longest payload in memory; a longer one is a large file.
    pub inline_bytes_max: u64,
    /// Longest wait for a copy beside others; a slower one is given up.
    pub copy_wait_max: Duration,
    /// Where UUIDs come from.
    pub ids: Ids,
}

impl JournalOptions {
    /// Returns the defaults for these copies, all of them required.
    pub fn new(copies: impl IntoIterator<Item = impl Into<CopyPlace>>) -> Self {
        let copies: Vec<CopyPlace> = copies.into_iter().map(Into::into).collect();
        Self {
            copies_required: copies.len(),
            copies,
            segment_bytes: 256 << 20,
            bytes_max: 16 << 30,
            queue_bytes_max: 64 << 20,
            inline_bytes_max: 1 << 20,
            copy_wait_max: Duration::from_secs(30),
            ids: Ids::random(),
        }
    }
}

/// Tells whether the options can be met.
pub(crate) fn check(options: &JournalOptions) -> Result<(), Error> {
    let record_bytes_max = options.inline_bytes_max.saturating_add(len64(HEAD_BYTES_MAX) + 8);
    let reason = if options.copies_required == 0 || options.copies_required > options.copies.len() {
        "the copies required must be at least one and at most the copies configured"
    } else if !options.segment_bytes.is_multiple_of(BLOCK_BYTES) || options.segment_bytes < record_bytes_max {
        "a segment must be a multiple of 4096 bytes and longer than the longest payload in memory"
    } else if options.bytes_max / 2 < options.segment_bytes {
        "the limit must be at least two segments"
    } else if options.queue_bytes_max == 0 {
        "the queue must hold at least one byte"
    } else {
        return Ok(());
    };
    Err(Error::Options { reason })
}
