//! Returns the space of what the index has sealed elsewhere: whole segments, and single large
//! files.

use std::sync::Arc;

use uuid::Uuid;

use crate::copies::Copies;
use crate::error::Error;
use crate::record::Lsn;
use crate::segments::Segments;
use crate::space::Space;

/// Returns the segments that may go: those that end at or below `before`, are not the newest one,
/// which is being written, and are not kept. `segments` are number and end of each, in order.
fn releasable(segments: &[(u64, u64)], segment_bytes: u64, keep: &dyn Fn(u64) -> bool, before: Lsn) -> Vec<u64> {
    let past = segments.split_last().map_or(segments, |(_, past)| past);
    let is_free = |&&(number, end): &&(u64, u64)| number * segment_bytes + end <= before.0 && !keep(number);
    past.iter().filter(is_free).map(|&(number, _)| number).collect()
}

/// Releases segments and large files.
#[derive(Debug)]
pub(crate) struct Release {
    copies: Arc<Copies>,
    segments: Arc<Segments>,
    space: Arc<Space>,
}

impl Release {
    pub(crate) fn new(copies: Arc<Copies>, segments: Arc<Segments>, space: Arc<Space>) -> Self {
        Self { copies, segments, space }
    }

    /// Releases the segments that `releasable` names; returns the bytes freed on each copy.
    pub(crate) fn segments(&self, keep: &dyn Fn(u64) -> bool, before: Lsn) -> Result<u64, Error> {
        let mut freed = 0;
        for number in releasable(&self.segments.ends(), self.segments.segment_bytes(), keep, before) {
            // Out of the table first: a reader of a file that is written anew meanwhile finds out
            // by the table.
            let Some(segment) = self.segments.remove(number) else {
                continue;
            };
            freed += segment.file_bytes;
            self.recycle(number)?;
            for (large, bytes) in segment.large {
                self.remove_large(large, bytes)?;
                freed += bytes;
            }
        }
        Ok(freed)
    }

    /// Removes the large file of a record of segment `number`; one that was released before is not
    /// an error.
    pub(crate) fn large(&self, number: u64, id: Uuid) -> Result<(), Error> {
        match self.segments.remove_large(number, id) {
            Some(bytes) => self.remove_large(id, bytes),
            None => Ok(()),
        }
    }

    fn recycle(&self, number: u64) -> Result<(), Error> {
        let keep = self.space.has_room_for_segment(0);
        for copy in self.copies.healthy() {
            copy.recycle(number, self.segments.segment_bytes(), keep)
                .map_err(Error::io("release segment of journal copy", copy.path()))?;
        }
        Ok(())
    }

    fn remove_large(&self, id: Uuid, bytes: u64) -> Result<(), Error> {
        for copy in self.copies.healthy() {
            copy.remove_large(id).map_err(Error::io("release large file of journal copy", copy.path()))?;
        }
        self.space.free_large(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_segments_before_the_position_and_never_the_newest_are_released() {
        let segments = [(0, 100), (1, 100), (3, 40), (4, 10)];
        let none = |_| false;
        assert_eq!(releasable(&segments, 100, &none, Lsn(u64::MAX)), [0, 1, 3]);
        assert_eq!(releasable(&segments, 100, &none, Lsn(340)), [0, 1, 3]);
        assert_eq!(releasable(&segments, 100, &none, Lsn(339)), [0, 1]);
        assert_eq!(releasable(&segments, 100, &|number| number == 0, Lsn(200)), [1]);
        assert!(releasable(&segments[..1], 100, &none, Lsn(u64::MAX)).is_empty());
        assert!(releasable(&[], 100, &none, Lsn(0)).is_empty());
    }
}
