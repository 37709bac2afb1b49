//! Which studies are sealed now and which instances go into one container: those of one month of study date, so that age moves
//! whole containers.

use std::collections::BTreeMap;
use std::time::Duration;

use index::{PackStudy, UnsealedRow};

/// Year and month of study date; `None` for studies without a date.
pub(crate) type Month = Option<(i16, u8)>;

/// Studies that fill one container, or more when a study is longer than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) month: Month,
    pub(crate) studies: Vec<String>,
    bytes: u64,
    pub(crate) instances: u64,
}

/// When a container is full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Full {
    pub(crate) bytes: u64,
    pub(crate) instances: u32,
}

impl Batch {
    fn new(month: Month) -> Self {
        Self { month, studies: Vec::new(), bytes: 0, instances: 0 }
    }
}

/// When a container that is not full is sealed all the same.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// At once: asked for by hand, or the journal fills up.
    None,
    /// When its oldest instance has waited so long, or seems to come from further in the future: then the clock was set back.
    Until(Duration),
}

/// Sorts studies into containers. Studies are taken oldest first.
pub(crate) fn batches(mut studies: Vec<PackStudy>, full_at: Full, patience: Patience, now_millis: i64) -> Vec<Batch> {
    studies.sort_by_key(|study| study.oldest_received);
    let mut open: BTreeMap<Month, (Batch, i64)> = BTreeMap::new();
    let mut full = Vec::new();
    for study in studies {
        let (batch, _) = open.entry(study.month).or_insert_with(|| (Batch::new(study.month), study.oldest_received));
        batch.studies.push(study.study_instance_uid.to_string());
        batch.bytes = batch.bytes.saturating_add(study.bytes);
        batch.instances = batch.instances.saturating_add(study.instances);
        if (batch.bytes >= full_at.bytes || batch.instances >= u64::from(full_at.instances))
            && let Some((batch, _)) = open.remove(&study.month)
        {
            full.push(batch);
        }
    }
    let due = open.into_values().filter(|(_, oldest)| match patience {
        Patience::None => true,
        Patience::Until(wait) => (i128::from(now_millis) - i128::from(*oldest)).abs() >= millis(wait),
    });
    full.extend(due.map(|(batch, _)| batch));
    full
}

/// Returns how many of the instances, at least one, fill one container.
pub(crate) fn full_container(instances: &[UnsealedRow], container_bytes: u64) -> usize {
    let mut bytes = 0_u64;
    for (count, row) in instances.iter().enumerate() {
        bytes = bytes.saturating_add(row.record.payload_bytes);
        if bytes > container_bytes {
            return count.max(1);
        }
    }
    instances.len()
}

/// How full the journal is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JournalFill {
    pub(crate) used_bytes: u64,
    pub(crate) bytes_max: u64,
    pub(crate) segment_bytes: u64,
}

/// Tells whether the journal is so full that studies are packed without waiting. The segment that is being written does not
/// count: packing cannot release it.
pub(crate) fn is_under_pressure(journal: JournalFill, pressure_percent: u8) -> bool {
    let used = journal.used_bytes.saturating_sub(journal.segment_bytes);
    u128::from(used) * 100 >= u128::from(journal.bytes_max) * u128::from(pressure_percent)
}

fn millis(duration: Duration) -> i128 {
    i128::try_from(duration.as_millis()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study(uid: &str, month: Month, bytes: u64, oldest_received: i64) -> PackStudy {
        PackStudy {
            study_instance_uid: uid.parse().unwrap(),
            month,
            instances: 1,
            bytes,
            oldest_received,
            newest_received: oldest_received,
        }
    }

    const FULL: Full = Full { bytes: 100, instances: 3 };

    fn names(batches: &[Batch]) -> Vec<String> {
        batches.iter().map(|b| b.studies.join("+")).collect()
    }

    #[test]
    fn months_are_kept_apart_and_full_containers_do_not_wait() {
        let may = Some((2024, 5));
        let june = Some((2024, 6));
        let studies =
            vec![study("1", may, 60, 10), study("2", june, 10, 20), study("3", may, 60, 30), study("4", may, 1, 40)];
        let patient = batches(studies.clone(), FULL, Patience::Until(Duration::from_secs(1)), 500);
        assert_eq!(names(&patient), ["1+3"]);
        assert_eq!(names(&batches(studies, FULL, Patience::None, 500)), ["1+3", "4", "2"]);
    }

    #[test]
    fn many_short_instances_fill_a_container() {
        let studies = ["1", "2", "3", "4", "5"].map(|uid| study(uid, None, 1, 1)).to_vec();
        assert_eq!(names(&batches(studies.clone(), FULL, Patience::None, 500)), ["1+2+3", "4+5"]);
        let patient = batches(studies, FULL, Patience::Until(Duration::from_secs(9)), 500);
        assert_eq!(names(&patient), ["1+2+3"]);
    }

    #[test]
    fn a_part_filled_container_is_sealed_when_its_oldest_has_waited_long_enough() {
        let studies = vec![study("1", None, 1, 1_000), study("2", None, 1, 9_000)];
        let wait = Patience::Until(Duration::from_secs(5));
        assert!(batches(studies.clone(), FULL, wait, 5_999).is_empty());
        assert_eq!(names(&batches(studies.clone(), FULL, wait, 6_000)), ["1+2"]);
        assert_eq!(names(&batches(studies, FULL, wait, -4_000)), ["1+2"], "the clock was set back");
    }

    #[test]
    fn the_segment_being_written_is_no_pressure() {
        let journal = JournalFill { used_bytes: 60, bytes_max: 100, segment_bytes: 10 };
        assert!(is_under_pressure(journal, 50));
        assert!(!is_under_pressure(JournalFill { used_bytes: 59, ..journal }, 50));
    }
}
