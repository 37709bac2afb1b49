//! Which journal records and segments may be recycled.

use std::collections::{BTreeSet, HashSet};

use journal::Lsn;

/// What the index says of a journal.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Position up to which the index has applied the journal; `None` until it also has every container.
    pub(crate) applied: Option<Lsn>,
    /// Segments with an instance that the index serves from them.
    pub(crate) segments_in_use: BTreeSet<u64>,
}

/// Segments to recycle: those that end before `before` and are not kept.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) before: Lsn,
    keep: BTreeSet<u64>,
}

impl Step {
    /// Tells whether a segment stays.
    pub(crate) fn keeps(&self, segment: u64) -> bool {
        self.keep.contains(&segment)
    }
}

/// Decides which segments to recycle; none before the index has every container, because what looks sealed nowhere may be
/// needed then.
pub(crate) fn segments(facts: Facts) -> Option<Step> {
    Some(Step { before: facts.applied?, keep: facts.segments_in_use })
}

/// Decides whether a record stays: the index serves it, or has not decided about it yet.
pub(crate) fn keeps_record(record: Lsn, applied: Lsn, served: &HashSet<u64>) -> bool {
    record >= applied || served.contains(&record.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_recycled_before_the_index_has_every_container() {
        assert!(segments(Facts { applied: None, segments_in_use: BTreeSet::new() }).is_none());
    }

    #[test]
    fn segments_that_serve_an_instance_stay() {
        let step = segments(Facts { applied: Some(Lsn(70)), segments_in_use: BTreeSet::from([2]) }).unwrap();
        assert_eq!(step.before, Lsn(70));
        assert!(step.keeps(2) && !step.keeps(1));
    }

    #[test]
    fn records_ahead_of_the_index_and_served_ones_stay() {
        let served = HashSet::from([20]);
        assert!(keeps_record(Lsn(20), Lsn(50), &served));
        assert!(keeps_record(Lsn(50), Lsn(50), &served));
        assert!(!keeps_record(Lsn(30), Lsn(50), &served));
    }
}
