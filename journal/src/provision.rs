//! Creates segments on every copy, has them ready before they are needed, and cuts those that are
//! full.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::copies::Copies;
use crate::error::Error;
use crate::journal_copy::{JournalCopy, is_full};
use crate::segments::{Segment, SegmentFiles, Segments};
use crate::space::Space;

/// Provides the committer with segments.
#[derive(Debug)]
pub(crate) struct Provision {
    copies: Arc<Copies>,
    segments: Arc<Segments>,
    space: Arc<Space>,
}

impl Provision {
    pub(crate) fn new(copies: Arc<Copies>, segments: Arc<Segments>, space: Arc<Space>) -> Self {
        Self { copies, segments, space }
    }

    /// Returns the bytes of a segment.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segments.segment_bytes()
    }

    /// Creates segment `number` on every healthy copy and tells whether all were made ready before;
    /// nothing is left of it if one finds no space. `freed_bytes` will come back before it is
    /// filled.
    pub(crate) fn create(&self, number: u64, freed_bytes: u64) -> Result<(SegmentFiles, bool), Error> {
        let bytes = self.segments.segment_bytes();
        if !self.space.has_room_for_segment(freed_bytes) {
            return Err(self.space.full());
        }
        let mut files = Vec::new();
        let mut ready = true;
        for copy in self.copies.all() {
            let created = if copy.is_healthy() { copy.create_segment(number, bytes).map(Some) } else { Ok(None) };
            match created {
                Ok(Some((file, its_ready))) => {
                    files.push(Some(Arc::new(file)));
                    ready &= its_ready;
                }
                Ok(None) => files.push(None),
                // Nothing was written, so nothing is in doubt: the same can succeed later.
                Err(error) if is_full(&error) => {
                    self.undo_create(number, files.len());
                    return Err(self.space.full());
                }
                Err(error) => {
                    copy.poison("create journal segment", &error);
                    files.push(None);
                }
            }
        }
        self.copies.require()?;
        let segment = Segment { end: 0, file_bytes: bytes, files: files.clone(), large: BTreeMap::new() };
        self.segments.insert(number, segment);
        Ok((files, ready))
    }

    fn undo_create(&self, number: u64, copies: usize) {
        for copy in self.copies.all().iter().take(copies) {
            copy.attempt("remove journal segment", || copy.recycle(number, self.segments.segment_bytes(), true));
        }
    }

    /// Makes segments ready, one on each healthy copy that has none, within the limit and at the
    /// pace of `wait`.
    pub(crate) fn prepare(&self, wait: &dyn Fn(u64) -> bool) {
        if !self.space.has_room_for_segment(0) {
            return;
        }
        for copy in self.copies.healthy() {
            // Nothing of the journal's is in doubt: the segment is created without, when it is
            // needed.
            if let Err(error) = copy.prepare(self.segments.segment_bytes(), wait) {
                tracing::debug!(path = %copy.path().display(), %error, "no journal segment was made ready");
            }
        }
    }

    /// Tells whether every healthy copy has a segment that waits for use.
    pub(crate) fn have_free(&self) -> bool {
        self.copies.healthy().all(JournalCopy::has_free)
    }

    /// Cuts a segment that will not be written any more to its used bytes.
    pub(crate) fn cut(&self, number: u64) {
        let Some((end, files)) = self.segments.files_of(number) else {
            return;
        };
        for (copy, file) in self.copies.all().iter().zip(&files) {
            if let Some(file) = file {
                copy.attempt("truncate journal segment", || copy.cut(file, end));
            }
        }
        self.segments.set_file_bytes(number, end);
    }
}
