//! Data sets that are not in memory: read in windows, so that a header costs one or two reads.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;

use bytes::Bytes;
use dicom_data::{Source, SourceError};

/// Bytes fetched at once: the header of most instances, pixel data left alone.
pub(crate) const WINDOW_BYTES: usize = 32 * 1024;

/// A data set behind a function that reads a range of it.
pub(crate) struct Windowed<F> {
    bytes: u64,
    fetch: F,
    window_bytes: usize,
    window: RefCell<(u64, Bytes)>,
}

impl<F: Fn(u64, usize) -> io::Result<Bytes>> Windowed<F> {
    /// Returns a data set of this length; `fetch` reads a range of it, `window_bytes` at a time.
    pub(crate) fn new(bytes: u64, window_bytes: usize, fetch: F) -> Self {
        Self { bytes, fetch, window_bytes, window: RefCell::new((0, Bytes::new())) }
    }
}

impl<F: Fn(u64, usize) -> io::Result<Bytes>> Source for Windowed<F> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>, SourceError> {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(left);
        if len == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        let mut window = self.window.borrow_mut();
        if let Some(part) = part_of(&window, offset, len) {
            return Ok(Cow::Owned(part.to_vec()));
        }
        let fetched = (self.fetch)(offset, len.max(self.window_bytes).min(left))?;
        *window = (offset, fetched);
        Ok(Cow::Owned(part_of(&window, offset, len).unwrap_or_default().to_vec()))
    }
}

fn part_of(window: &(u64, Bytes), offset: u64, len: usize) -> Option<&[u8]> {
    let start = usize::try_from(offset.checked_sub(window.0)?).ok()?;
    window.1.get(start..start.checked_add(len)?)
}

/// Reads a range of a data set.
pub(crate) type Fetch = Box<dyn Fn(u64, usize) -> io::Result<Bytes>>;

/// A data set in memory or in the journal.
pub(crate) enum PayloadSource {
    /// All of it.
    Whole(Bytes),
    /// Where it can be read.
    Record(Windowed<Fetch>),
}

impl Source for PayloadSource {
    fn bytes(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes[..].bytes(),
            Self::Record(record) => record.bytes(),
        }
    }

    fn read(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>, SourceError> {
        match self {
            Self::Whole(bytes) => bytes[..].read(offset, len),
            Self::Record(record) => record.read(offset, len),
        }
    }
}

/// Returns the data set that fills the file of a large payload.
pub(crate) fn file_source(file: journal::LargeFile, bytes: u64) -> impl Source {
    Windowed::new(bytes, WINDOW_BYTES, move |offset, len| {
        let mut buffer = vec![0; len];
        file.read_exact_at(&mut buffer, offset)?;
        Ok(buffer.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_is_read_right_with_few_fetches() {
        let data: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let fetches = std::cell::Cell::new(0);
        let whole = Bytes::from(data.clone());
        let source = Windowed::new(100_000, WINDOW_BYTES, |offset, len| {
            fetches.set(fetches.get() + 1);
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            Ok(whole.slice(start..start + len))
        });
        for start in (0..32_000).step_by(8) {
            let offset = u64::try_from(start).unwrap();
            assert_eq!(source.read(offset, 8).unwrap()[..], data[start..][..8]);
        }
        assert_eq!(fetches.get(), 1);
        assert_eq!(source.read(99_990, 50).unwrap()[..], data[99_990..]);
    }
}
