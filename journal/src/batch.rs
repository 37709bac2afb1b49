//! What one flush writes: records side by side, in whole pages. Pure: no I/O.

use bytes::Bytes;

use crate::format::{self, ALIGN_BYTES, Header, len64};
use crate::queue::QueuedRecord;
use crate::recent::RecentRecord;
use crate::record::RecordRef;

/// Zeros that fill a payload up to the next record.
static PADDING: [u8; 7] = [0; 7];
/// Zeros behind the last record of a write: pages are written whole, so that the disk need not read
/// them first.
static PAGE: [u8; 4096] = [0; 4096];

/// The records of one flush.
#[derive(Default)]
pub(crate) struct Batch {
    /// The bytes to write, one buffer after the other.
    pub(crate) buffers: Vec<Bytes>,
    /// Bytes of the records.
    pub(crate) bytes: u64,
    /// The records, with the callers to answer.
    pub(crate) records: Vec<(RecordRef, Box<QueuedRecord>)>,
    /// The beginnings that stay in memory.
    pub(crate) recent: Vec<RecentRecord>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, header: Header, epoch: u64, record: Box<QueuedRecord>) {
        self.buffers.push(format::encode(&header, epoch));
        if record.payload.large_id().is_none() {
            self.buffers.extend(record.payload.pieces().iter().cloned());
            let padding = usize::try_from(record.payload_bytes.wrapping_neg() % ALIGN_BYTES).unwrap_or_default();
            self.buffers.push(Bytes::from_static(PADDING.get(..padding).unwrap_or_default()));
        }
        self.bytes += header.placed.record_bytes();
        let at = header.placed.record_ref();
        self.recent.push(RecentRecord::new(header, record.payload.pieces()));
        self.records.push((at, record));
    }

    /// Makes the buffers whole pages: puts the used part of the first page, `page`, before the
    /// records, and zeros behind them. `offset` is where the records begin in the segment. Returns
    /// the used part of the last page.
    pub(crate) fn complete_pages(&mut self, page: &Bytes, offset: u64) -> Bytes {
        self.buffers.insert(0, page.clone());
        let used = usize::try_from((offset + self.bytes) % len64(PAGE.len())).unwrap_or_default();
        let last_page = last_bytes(&self.buffers, used);
        let rest = if used == 0 { 0 } else { PAGE.len() - used };
        self.buffers.push(Bytes::from_static(PAGE.get(..rest).unwrap_or_default()));
        last_page
    }
}

/// Returns the last `count` bytes of buffers that have as many.
fn last_bytes(buffers: &[Bytes], count: usize) -> Bytes {
    let mut parts = Vec::new();
    let mut left = count;
    for buffer in buffers.iter().rev() {
        let taken = buffer.len().min(left);
        parts.push(buffer.slice(buffer.len() - taken..));
        left -= taken;
        if left == 0 {
            break;
        }
    }
    parts.iter().rev().flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_begin_with_what_is_there_and_end_with_zeros() {
        let mut batch = Batch { buffers: vec![Bytes::from(vec![2; 5000])], bytes: 5000, ..Batch::default() };
        let last = batch.complete_pages(&Bytes::from_static(&[1; 16]), 4096 + 16);
        let written = batch.buffers.concat();
        assert_eq!((written.len(), last.len()), (8192, 5016 - 4096));
        assert!(written[..16] == [1; 16] && written[16..5016] == [2; 5000] && written[5016..] == [0; 3176]);
        assert_eq!(written[4096..5016], last);
    }

    #[test]
    fn a_batch_that_ends_with_its_page_needs_no_zeros() {
        let mut batch = Batch { buffers: vec![Bytes::from(vec![2; 4096])], bytes: 4096, ..Batch::default() };
        assert_eq!(batch.complete_pages(&Bytes::new(), 0), Bytes::new());
        assert_eq!(batch.buffers.concat(), [2; 4096]);
    }
}
