//! The table of segments: which ones there are, how far each is durable, its files on the copies
//! and its large files.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use uuid::Uuid;

use crate::format;
use crate::medium::SegmentFile;
use crate::record::Lsn;

/// The file of a segment on each copy that has it.
pub(crate) type SegmentFiles = Vec<Option<Arc<SegmentFile>>>;

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Offset behind its last durable record.
    pub(crate) end: u64,
    /// Bytes of its file.
    pub(crate) file_bytes: u64,
    /// Its file on each copy that has it.
    pub(crate) files: SegmentFiles,
    /// Large files of its records, with their bytes.
    pub(crate) large: BTreeMap<Uuid, u64>,
}

/// The segments of a journal.
#[derive(Debug)]
pub(crate) struct Segments {
    table: RwLock<BTreeMap<u64, Segment>>,
    segment_bytes: u64,
    journal: Uuid,
}

/// Where a segment can be read.
pub(crate) struct SegmentPlace {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    /// LSN of its first byte.
    pub(crate) start: u64,
    /// Offset behind its last durable record.
    pub(crate) end: u64,
    /// Its files, each with its copy's number.
    pub(crate) files: Vec<(usize, Arc<SegmentFile>)>,
}

impl Segments {
    pub(crate) fn new(journal: Uuid, segment_bytes: u64, table: BTreeMap<u64, Segment>) -> Self {
        Self { table: RwLock::new(table), segment_bytes, journal }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Segment>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Segment>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the bytes of a segment.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Returns the number of the segment that a position lies in.
    pub(crate) fn segment_of(&self, at: Lsn) -> u64 {
        at.0 / self.segment_bytes
    }

    /// Returns the position of the first byte of a segment.
    pub(crate) fn start_of(&self, number: u64) -> u64 {
        number * self.segment_bytes
    }

    /// Returns the epoch of a segment.
    pub(crate) fn epoch_of(&self, number: u64) -> u64 {
        format::epoch(self.journal, number)
    }

    /// Returns the start of the first segment that is there.
    pub(crate) fn first(&self) -> Lsn {
        let first = self.read().keys().next().copied().unwrap_or_default();
        Lsn(self.start_of(first))
    }

    /// Tells whether a segment is there, that is, was not released.
    pub(crate) fn is_present(&self, number: u64) -> bool {
        self.read().contains_key(&number)
    }

    /// Returns number and end of each segment.
    pub(crate) fn ends(&self) -> Vec<(u64, u64)> {
        self.read().iter().map(|(&number, segment)| (number, segment.end)).collect()
    }

    /// Returns the bytes of all segment files on a copy.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.read().values().map(|segment| segment.file_bytes).sum()
    }

    /// Returns how many segments and how many large files there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let table = self.read();
        (table.len(), table.values().map(|segment| segment.large.len()).sum())
    }

    /// Returns end and files of a segment.
    pub(crate) fn files_of(&self, number: u64) -> Option<(u64, SegmentFiles)> {
        self.read().get(&number).map(|found| (found.end, found.files.clone()))
    }

    /// Returns the first segment at or behind `number`.
    pub(crate) fn place_from(&self, number: u64) -> Option<SegmentPlace> {
        let table = self.read();
        let (&number, segment) = table.range(number..).next()?;
        let present = segment.files.iter().enumerate();
        let files = present.filter_map(|(copy, file)| Some((copy, Arc::clone(file.as_ref()?)))).collect();
        Some(SegmentPlace {
            number,
            epoch: self.epoch_of(number),
            start: self.start_of(number),
            end: segment.end,
            files,
        })
    }

    /// Enters a segment.
    pub(crate) fn insert(&self, number: u64, segment: Segment) {
        self.write().insert(number, segment);
    }

    /// Takes a segment out.
    pub(crate) fn remove(&self, number: u64) -> Option<Segment> {
        self.write().remove(&number)
    }

    /// Notes how far a segment is durable.
    pub(crate) fn set_end(&self, number: u64, end: u64) {
        if let Some(segment) = self.write().get_mut(&number) {
            segment.end = end;
        }
    }

    /// Notes that the file of a segment was cut.
    pub(crate) fn set_file_bytes(&self, number: u64, bytes: u64) {
        if let Some(segment) = self.write().get_mut(&number) {
            segment.file_bytes = bytes;
        }
    }

    /// Enters large files of a segment's records, with their bytes.
    pub(crate) fn insert_large(&self, number: u64, files: impl Iterator<Item = (Uuid, u64)>) {
        if let Some(segment) = self.write().get_mut(&number) {
            segment.large.extend(files);
        }
    }

    /// Takes a large file out; returns its bytes.
    pub(crate) fn remove_large(&self, number: u64, id: Uuid) -> Option<u64> {
        self.write().get_mut(&number)?.large.remove(&id)
    }
}
