//! Random access to the bytes of one data set, wherever they lie.

use std::borrow::Cow;
use std::io;

/// Bytes of one data set: in memory, in a journal's large file, or in a container.
pub trait Source {
    /// Length of the data set in bytes.
    fn bytes(&self) -> u64;

    /// Returns bytes `offset..offset + len`; fewer only at the end of the data set.
    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>, SourceError>;
}

/// Says that the bytes could not be had.
#[derive(Debug, thiserror::Error)]
#[error("read bytes of an instance")]
pub struct SourceError(#[from] pub io::Error);

impl Source for [u8] {
    fn bytes(&self) -> u64 {
        u64::try_from(self.len()).expect("a slice is shorter than 2^64")
    }

    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>, SourceError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let end = start.saturating_add(len).min(self.len());
        Ok(Cow::Borrowed(self.get(start..end).unwrap_or_default()))
    }
}
