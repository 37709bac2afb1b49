//! Where the follower begins to read the journal.

use journal::Lsn;

/// What the index and the journal say at a start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Position up to which the index has applied this journal; `None` if it does not know the journal.
    pub(crate) applied: Option<Lsn>,
    /// Start of the first segment that is still there.
    pub(crate) first: Lsn,
    /// End of the last durable record.
    pub(crate) durable_end: Lsn,
}

/// Returns where to begin: after the last record that the index has, within what the journal still holds.
pub(crate) fn begin(facts: &Facts) -> Lsn {
    facts.applied.unwrap_or(facts.first).clamp(facts.first, facts.durable_end.max(facts.first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(applied: Option<u64>, first: u64, durable_end: u64) -> u64 {
        begin(&Facts { applied: applied.map(Lsn), first: Lsn(first), durable_end: Lsn(durable_end) }).0
    }

    #[test]
    fn the_index_goes_on_where_it_stopped() {
        assert_eq!(at(Some(50), 10, 90), 50);
    }

    #[test]
    fn an_index_that_does_not_know_the_journal_reads_all_of_it() {
        assert_eq!(at(None, 10, 90), 10);
    }

    #[test]
    fn a_position_outside_the_journal_is_moved_to_its_nearer_end() {
        assert_eq!(at(Some(5), 10, 90), 10);
        assert_eq!(at(Some(95), 10, 90), 90);
        // An empty journal: its end may lie before its first segment.
        assert_eq!(at(Some(95), 100, 90), 100);
    }
}
