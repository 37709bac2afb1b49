//! A window over a source, so that small reads do not become small I/O.

use std::borrow::Cow;

use super::{ReadError, Source};

/// Bytes read at once when elements follow each other.
const WINDOW_BYTES: usize = 64 * 1024;
/// Bytes read at first: the header of most instances ends before, and their pixel data is left alone.
const FIRST_WINDOW_BYTES: usize = 8 * 1024;

/// A sized source that stands for one of any type.
pub(super) struct Erased<'a, S: Source + ?Sized>(pub(super) &'a S);

impl<S: Source + ?Sized> Source for Erased<'_, S> {
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>, super::SourceError> {
        self.0.read(offset, len)
    }
}

/// Reads anywhere in a source, keeping the last window.
pub(super) struct Cursor<'a> {
    source: &'a dyn Source,
    window: Cow<'a, [u8]>,
    window_offset: u64,
    window_bytes: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Self {
        Self { source, window: Cow::Borrowed(&[]), window_offset: 0, window_bytes: FIRST_WINDOW_BYTES }
    }

    /// Returns the length of the source.
    pub(super) fn source_bytes(&self) -> u64 {
        self.source.bytes()
    }

    /// Returns bytes `offset..offset + len`, fewer only at the end; reads ahead a window, at first a short one.
    #[inline]
    pub(super) fn at(&mut self, offset: u64, len: usize) -> Result<&[u8], ReadError> {
        self.at_least(offset, len, self.window_bytes)
    }

    /// As `at`, but reads ahead only `window` bytes: for jumps from fragment to fragment.
    #[inline]
    pub(super) fn at_least(&mut self, offset: u64, len: usize, window: usize) -> Result<&[u8], ReadError> {
        let within = offset
            .checked_sub(self.window_offset)
            .and_then(|start| usize::try_from(start).ok())
            .filter(|start| start.saturating_add(len) <= self.window.len());
        let start = if let Some(start) = within {
            start
        } else {
            self.fill(offset, len.max(window))?;
            0
        };
        let end = start.saturating_add(len).min(self.window.len());
        Ok(self.window.get(start..end).unwrap_or_default())
    }

    #[cold]
    fn fill(&mut self, offset: u64, len: usize) -> Result<(), ReadError> {
        // A length from the data set never decides how much is asked for: only what is there.
        self.window_bytes = WINDOW_BYTES;
        let left = self.source.bytes().saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(len);
        self.window = self.source.read(offset, len)?;
        self.window_offset = offset;
        Ok(())
    }
}
