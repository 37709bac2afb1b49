//! The account of bytes: what segments and large files take of the configured limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::segments::Segments;

/// The account of bytes on each copy.
#[derive(Debug)]
pub(crate) struct Space {
    segments: Arc<Segments>,
    /// Bytes of large files, those being written included.
    large_bytes: AtomicU64,
    bytes_max: u64,
}

impl Space {
    pub(crate) fn new(segments: Arc<Segments>, large_bytes: u64, bytes_max: u64) -> Self {
        Self { segments, large_bytes: AtomicU64::new(large_bytes), bytes_max }
    }

    /// Returns the limit.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Returns the bytes in use.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.segments.file_bytes() + self.large_bytes.load(Ordering::Acquire)
    }

    /// Tells whether one more segment fits when `freed_bytes` have come back.
    pub(crate) fn has_room_for_segment(&self, freed_bytes: u64) -> bool {
        self.used_bytes().saturating_sub(freed_bytes) + self.segments.segment_bytes() <= self.bytes_max
    }

    /// Returns the error that says that the limit is reached.
    pub(crate) fn full(&self) -> Error {
        Error::Full { bytes_max: self.bytes_max }
    }

    /// Reserves space for a large file's next bytes.
    pub(crate) fn reserve_large(&self, bytes: u64) -> Result<(), Error> {
        self.large_bytes.fetch_add(bytes, Ordering::AcqRel);
        if self.used_bytes() > self.bytes_max {
            self.free_large(bytes);
            return Err(self.full());
        }
        Ok(())
    }

    /// Returns the space of a large file.
    pub(crate) fn free_large(&self, bytes: u64) {
        self.large_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}
