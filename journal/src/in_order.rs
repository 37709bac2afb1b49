//! Reads payloads for the last time, in a known order. Records that lie side by side are read at
//! once, beside the page cache where the file system supports that: short records are many, and
//! otherwise each one would cost a read of the disk.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::error::Error;
use crate::format::{self, crc32c};
use crate::read::Reader;
use crate::record::{Lsn, RecordRef};

/// Most bytes of several records that are read at once; a longer record is read by itself. `disk`
/// keeps buffers of this length.
const WINDOW_BYTES_MAX: u64 = 512 << 10;
/// Most bytes between two records that are read with them: reading them costs less than asking the
/// disk again.
const GAP_BYTES_MAX: u64 = 32 << 10;
/// A read beside the page cache begins and ends at multiples of this.
const PAGE_BYTES: u64 = 4096;

/// Reads the payloads of records, each once and in this order.
#[derive(Debug)]
pub struct InOrder<'a> {
    reader: &'a Reader,
    /// What was not read yet; no large ones.
    to_come: VecDeque<RecordRef>,
    window: Option<Window>,
}

/// Part of a segment that was read at once.
#[derive(Debug)]
struct Window {
    segment: u64,
    epoch: u64,
    start: u64,
    bytes: Bytes,
}

impl<'a> InOrder<'a> {
    pub(crate) fn new(reader: &'a Reader, records: impl Iterator<Item = RecordRef>) -> Self {
        Self { reader, to_come: records.filter(|record| !record.large).collect(), window: None }
    }

    /// Reads a payload, checked like `Journal::read_payload`. Blocks.
    pub fn read(&mut self, at: &RecordRef) -> Result<Bytes, Error> {
        while self.to_come.pop_front().is_some_and(|passed| passed != *at) {}
        if self.in_window(at).is_none() {
            self.window =
                if at.large { None } else { self.read_window(&span(at, &self.to_come, self.reader.segment_bytes())) };
        }
        match self.in_window(at) {
            Some(payload) => Ok(payload),
            None => self.reader.read_payload(at, 0..at.payload_bytes),
        }
    }

    /// Reads part of a segment from the first copy that is there; nothing if anything is odd.
    fn read_window(&self, span: &Range<u64>) -> Option<Window> {
        let sources = self.reader.sources_of(Lsn(span.start))?;
        let (_, file) = sources.files.first()?;
        let offset = span.start - sources.start;
        let pages_at = offset - offset % PAGE_BYTES;
        let end = (span.end - sources.start).checked_next_multiple_of(PAGE_BYTES)?;
        let bytes = usize::try_from(end.min(self.reader.segment_bytes()).checked_sub(pages_at)?).ok()?;
        let mut pages = self.reader.buffers().take(bytes);
        file.read_pages(pages_at, pages.space()).ok()?;
        let start = sources.start + pages_at;
        Some(Window { segment: sources.number, epoch: sources.epoch, start, bytes: pages.into_bytes() })
    }

    /// Returns the payload if the window has it whole and its segment was not released meanwhile.
    fn in_window(&self, at: &RecordRef) -> Option<Bytes> {
        let window = self.window.as_ref()?;
        let offset = usize::try_from(at.lsn.0.checked_sub(window.start)?).ok()?;
        let record = window.bytes.get(offset..)?;
        let header = format::decode(record, window.epoch, at.lsn)?;
        let (head, payload) = (usize::try_from(at.head_bytes).ok()?, usize::try_from(at.payload_bytes).ok()?);
        let range = head..head.checked_add(payload)?;
        if header.placed.record_ref() != *at || crc32c(record.get(range.clone())?) != at.crc32c {
            return None;
        }
        let payload = window.bytes.slice(offset + range.start..offset + range.end);
        self.reader.is_present(window.segment).then_some(payload)
    }
}

/// Returns what to read at once: a record and those to come that lie beside it, until one lies
/// elsewhere.
fn span(first: &RecordRef, to_come: &VecDeque<RecordRef>, segment_bytes: u64) -> Range<u64> {
    let segment = first.lsn.0 / segment_bytes;
    let mut span = extent(first);
    for next in to_come.iter().take_while(|next| next.lsn.0 / segment_bytes == segment) {
        let next = extent(next);
        let gap = next.start.saturating_sub(span.end).max(span.start.saturating_sub(next.end));
        let joined = span.start.min(next.start)..span.end.max(next.end);
        if gap > GAP_BYTES_MAX || joined.end - joined.start > WINDOW_BYTES_MAX {
            break;
        }
        span = joined;
    }
    span
}

/// Returns where a record lies, which is not large.
fn extent(at: &RecordRef) -> Range<u64> {
    let bytes = u64::from(at.head_bytes).saturating_add(at.payload_bytes);
    at.lsn.0..at.lsn.0.saturating_add(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1 << 20;

    fn at(lsn: u64, bytes: u64) -> RecordRef {
        RecordRef { lsn: Lsn(lsn), head_bytes: 500, payload_bytes: bytes - 500, crc32c: 0, large: false }
    }

    fn read_at_once(records: &[RecordRef]) -> Range<u64> {
        let (first, to_come) = records.split_first().unwrap();
        span(first, &to_come.iter().cloned().collect(), SEGMENT)
    }

    #[test]
    fn records_side_by_side_are_read_at_once_in_any_order() {
        let side_by_side = [at(1_000, 2_000), at(3_000, 2_000), at(5_000, 2_000)];
        assert_eq!(read_at_once(&side_by_side), 1_000..7_000);
        let [a, b, c] = side_by_side;
        assert_eq!(read_at_once(&[c.clone(), b, a.clone()]), 1_000..7_000);
        assert_eq!(read_at_once(&[a, c]), 1_000..7_000, "the gap is short");
    }

    #[test]
    fn what_lies_elsewhere_or_makes_it_long_is_not_read_with_it() {
        let far = 3_000 + GAP_BYTES_MAX + 1;
        assert_eq!(read_at_once(&[at(1_000, 2_000), at(far, 2_000), at(3_000, 2_000)]), 1_000..3_000);
        assert_eq!(read_at_once(&[at(far, 2_000), at(1_000, 2_000)]), far..far + 2_000);
        let long = WINDOW_BYTES_MAX - 2_000;
        assert_eq!(read_at_once(&[at(0, 2_000), at(2_000, long), at(2_000 + long, 501)]), 0..WINDOW_BYTES_MAX);
        assert_eq!(read_at_once(&[at(SEGMENT - 2_000, 2_000), at(SEGMENT, 2_000)]), SEGMENT - 2_000..SEGMENT);
        let longest = 3 * WINDOW_BYTES_MAX / 2;
        assert_eq!(read_at_once(&[at(0, longest), at(longest, 600)]), 0..longest, "a long one by itself");
    }
}
