//! The records that were appended last, in memory: the head of each and the beginning of its
//! payload, which is all that the index needs. So the follower does not read back from a disk what
//! was written a moment ago.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use crate::format::{HEAD_BYTES_MAX, Header};
use crate::record::{Lsn, RecordRef};

/// Most bytes kept of a payload: they hold the attributes of most instances.
const BEGINNING_BYTES_MAX: usize = 8 * 1024;
/// Most bytes kept in all; the oldest records give way and are read from the disk.
const BYTES_MAX: usize = 64 << 20;

/// A record's head and the beginning of its payload.
#[derive(Debug)]
pub(crate) struct RecentRecord {
    header: Header,
    payload: Bytes,
}

impl RecentRecord {
    /// Keeps the beginning of a record; `pieces` are its payload, none if that has a file of its
    /// own.
    pub(crate) fn new(header: Header, pieces: &[Bytes]) -> Self {
        let bytes = pieces.iter().map(Bytes::len).sum::<usize>().min(BEGINNING_BYTES_MAX);
        let mut beginning = BytesMut::with_capacity(bytes);
        for piece in pieces {
            let left = bytes - beginning.len();
            beginning.extend_from_slice(piece.get(..left).unwrap_or(piece));
        }
        Self { header, payload: beginning.freeze() }
    }

    fn bytes(&self) -> usize {
        HEAD_BYTES_MAX + self.payload.len()
    }
}

/// The last records, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    records: VecDeque<RecentRecord>,
    bytes: usize,
}

impl Recent {
    /// Adds records in order; drops the oldest ones beyond the limit.
    pub(crate) fn add(&self, records: impl IntoIterator<Item = RecentRecord>) {
        let mut recent = self.lock();
        for record in records {
            recent.bytes += record.bytes();
            recent.records.push_back(record);
        }
        while recent.bytes > BYTES_MAX {
            recent.drop_oldest();
        }
    }

    /// Drops the records that begin before a position.
    pub(crate) fn forget(&self, before: Lsn) {
        let mut recent = self.lock();
        while recent.records.front().is_some_and(|record| record.header.placed.lsn < before) {
            recent.drop_oldest();
        }
        if recent.records.is_empty() {
            recent.records.shrink_to(0);
        }
    }

    /// Returns the head of the record at `lsn`.
    pub(crate) fn header(&self, lsn: Lsn) -> Option<Header> {
        Some(self.lock().find(lsn)?.header.clone())
    }

    /// Returns a range of a record's payload.
    pub(crate) fn payload(&self, at: &RecordRef, range: &Range<u64>) -> Option<Bytes> {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        let recent = self.lock();
        let record = recent.find(at.lsn).filter(|record| record.header.placed.record_ref() == *at)?;
        (range.end <= record.payload.len()).then(|| record.payload.slice(range))
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn find(&self, lsn: Lsn) -> Option<&RecentRecord> {
        let found = self.records.binary_search_by_key(&lsn, |record| record.header.placed.lsn).ok()?;
        self.records.get(found)
    }

    fn drop_oldest(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.bytes -= record.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Placed, len64};
    use crate::record::RecordHead;

    fn recent_record(lsn: u64, payload: &[Bytes], payload_bytes: usize) -> RecentRecord {
        let uid = || "1.2".parse().unwrap();
        let head = RecordHead {
            study_instance_uid: uid(),
            series_instance_uid: uid(),
            sop_instance_uid: uid(),
            sop_class_uid: uid(),
            transfer_syntax_uid: uid(),
            calling_ae: String::new(),
            called_ae: String::new(),
            received_millis: 0,
        };
        let placed = Placed {
            lsn: Lsn(lsn),
            durable: Lsn(0),
            payload_bytes: len64(payload_bytes),
            crc32c: 1,
            large: None,
            head_bytes: 100,
        };
        RecentRecord::new(Header { placed, head }, payload)
    }

    fn record(lsn: u64, payload_bytes: usize) -> RecordRef {
        RecordRef { lsn: Lsn(lsn), head_bytes: 100, payload_bytes: len64(payload_bytes), crc32c: 1, large: false }
    }

    #[test]
    fn the_beginning_of_a_payload_is_there_and_no_more() {
        let recent = Recent::default();
        let pieces = vec![Bytes::from(vec![1; 5000]), Bytes::from(vec![2; 5000])];
        recent.add([recent_record(8, &pieces, 10_000)]);
        let at = record(8, 10_000);
        let read = recent.payload(&at, &(4999..8192)).unwrap();
        assert_eq!((read.len(), &read[..2]), (3193, &[1, 2][..]));
        assert!(recent.payload(&at, &(0..8193)).is_none());
        assert!(recent.payload(&record(8, 10_001), &(0..1)).is_none(), "another record");
        assert!(recent.header(Lsn(8)).is_some() && recent.header(Lsn(16)).is_none());
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let recent = Recent::default();
        let payload = vec![Bytes::from(vec![1; BEGINNING_BYTES_MAX])];
        let count = len64(BYTES_MAX / BEGINNING_BYTES_MAX) + 1;
        recent.add((0..count).map(|lsn| recent_record(lsn, &payload, BEGINNING_BYTES_MAX)));
        assert!(recent.header(Lsn(0)).is_none() && recent.header(Lsn(count - 1)).is_some());
        assert!(recent.lock().bytes <= BYTES_MAX);
        recent.forget(Lsn(count - 1));
        assert!(recent.header(Lsn(count - 1)).is_some() && recent.lock().records.len() == 1);
        recent.forget(Lsn(count));
        let left = recent.lock();
        assert_eq!((left.bytes, left.records.capacity()), (0, 0));
    }
}
