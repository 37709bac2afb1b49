//! How a journal is kept.

use std::time::Duration;

use crate::error::Error;
use crate::format::{HEAD_BYTES_MAX, len64};
use crate::place::CopyPlace;
use crate::random::Ids;

/// Length of the file system's blocks that a segment is made of.
const BLOCK_BYTES: u64 = 4096;

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// Where each copy lies, one per failure domain.
    pub copies: Vec<CopyPlace>,
    /// Copies without which nothing is acknowledged.
    pub copies_required: usize,
    /// Bytes of a segment: a multiple of 4096. Counts for a new journal; one that exists keeps its own.
    pub segment_bytes: u64,
    /// Limit of segments and large files together on each copy; at least two segments.
    pub bytes_max: u64,
    /// Limit of what waits in memory to be written.
    pub queue_bytes_max: u64,
    /// Longest payload in memory; a longer one is a large file.
    pub inline_bytes_max: u64,
    /// A copy that does not answer for so long, beside others, is given up.
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
