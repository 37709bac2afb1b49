//! What to do with a container that the devices have and the index does not know.

/// What is known of the container.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Facts {
    /// Shards that are on the devices.
    pub(crate) shards: usize,
    /// Shards that a whole container has.
    pub(crate) shards_wanted: usize,
    /// Whether the journal has any of its instances: then a crash may have come before it was read back.
    pub(crate) is_beside_journal: bool,
    /// Whether it was read back and every shard is healthy; `None` until that was done.
    pub(crate) is_healthy: Option<bool>,
    /// Whether each of its instances can be read elsewhere, from the journal or another container; `None` until that was
    /// looked for.
    pub(crate) is_all_elsewhere: Option<bool>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read every shard and compare it with its checksums.
    ReadBack,
    /// Look for each of its instances elsewhere.
    LookElsewhere,
    /// File it in the index.
    Restore,
    /// Remove it: it was not finished, and nothing is lost with it.
    Remove,
}

/// Decides. A container that may have been interrupted never displaces records, unless it proves to be whole; it is removed
/// only when every instance of it can be read elsewhere.
pub(crate) fn decide(facts: &Facts) -> Step {
    let is_sound = if facts.shards < facts.shards_wanted {
        Some(false)
    } else if facts.is_beside_journal {
        facts.is_healthy
    } else {
        // It was sealed long ago.
        Some(true)
    };
    match (is_sound, facts.is_all_elsewhere) {
        (None, _) => Step::ReadBack,
        (Some(true), _) | (Some(false), Some(false)) => Step::Restore,
        (Some(false), None) => Step::LookElsewhere,
        (Some(false), Some(true)) => Step::Remove,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Facts =
        Facts { shards: 6, shards_wanted: 6, is_beside_journal: false, is_healthy: None, is_all_elsewhere: None };

    #[test]
    fn a_whole_container_that_the_journal_knows_nothing_of_is_restored_without_reading_it() {
        assert_eq!(decide(&WHOLE), Step::Restore);
    }

    #[test]
    fn beside_the_journal_it_is_read_back_first() {
        let beside = Facts { is_beside_journal: true, ..WHOLE };
        assert_eq!(decide(&beside), Step::ReadBack);
        assert_eq!(decide(&Facts { is_healthy: Some(true), ..beside }), Step::Restore);
        assert_eq!(decide(&Facts { is_healthy: Some(false), ..beside }), Step::LookElsewhere);
    }

    #[test]
    fn a_part_of_a_container_is_removed_only_when_every_instance_is_elsewhere() {
        let part = Facts { shards: 5, ..WHOLE };
        assert_eq!(decide(&part), Step::LookElsewhere);
        assert_eq!(decide(&Facts { is_all_elsewhere: Some(true), ..part }), Step::Remove);
        assert_eq!(decide(&Facts { is_all_elsewhere: Some(false), ..part }), Step::Restore);
    }
}
