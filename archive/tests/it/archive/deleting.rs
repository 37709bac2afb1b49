//! Deletions: at once, for good, and with their space in the journal given back.

use archive::Tombstone;

use super::*;

pub(super) fn tombstone(instance: &Instance, levels: usize) -> Tombstone {
    Tombstone {
        study: uid(&instance.study_instance_uid),
        series: (levels > 1).then(|| uid(&instance.series_instance_uid)),
        instance: (levels > 2).then(|| uid(&instance.sop_instance_uid)),
        deleted_millis: 0,
    }
}

/// What is deleted of `delete_some`'s instances.
pub(super) fn is_deleted(number: usize) -> bool {
    matches!(number, 0 | 3..=5 | 7 | 12..=17)
}

/// Deletes an instance and a series of the first study, an instance of the second, and the third study.
pub(super) async fn delete_some(archive: &Archive, instances: &[Instance]) {
    for (number, levels) in [(0, 3), (3, 2), (7, 3), (12, 1)] {
        archive.delete(tombstone(&instances[number], levels)).await.unwrap();
    }
}

/// Three studies of two series of three instances.
pub(super) fn three_studies() -> Vec<Instance> {
    (1..4).flat_map(|seed| slices(seed, 2, 3)).collect()
}

pub(super) async fn assert_deleted(archive: &Archive, instances: &[Instance]) {
    for (number, instance) in instances.iter().enumerate() {
        let found = archive.locate(&selector(instance)).await.unwrap();
        assert_eq!(found.is_empty(), is_deleted(number), "{number}");
        let again = store(archive, instance).await;
        if is_deleted(number) {
            assert!(matches!(again, Err(Error::Deleted)), "{number}");
            assert!(archive.was_deleted(&selector(instance)));
        } else {
            assert_eq!(again.unwrap().outcome, Outcome::Duplicate);
            assert!(bytes(archive, instance).await.unwrap() == instance.data_set);
        }
    }
    assert_eq!(search(archive, Level::Study).await.len(), 2);
    assert_eq!(search(archive, Level::Series).await.len(), 3);
    assert_eq!(search(archive, Level::Instance).await.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_gone_unsealed_or_sealed_and_after_a_restart() {
    for sealed in [false, true] {
        let rig = Rig::new().await;
        let archive = rig.start().await;
        let instances = three_studies();
        store_all(&archive, &instances).await;
        if sealed {
            pack(&archive).await;
        }
        delete_some(&archive, &instances).await;
        assert_deleted(&archive, &instances).await;
        assert_eq!(archive.status().await.unsealed_instances, if sealed { 0 } else { 7 });
        pack(&archive).await;
        assert_deleted(&archive, &instances).await;
        stop(archive).await;
        let archive = rig.start().await;
        assert_deleted(&archive, &instances).await;
        assert!(archive.verify(Progress::silent()).await.unwrap().is_clean());
        stop(archive).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_large_instance_gives_the_journal_its_space_back() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let spec = StudySpec { rows: 900, columns: 900, instances_per_series: 2, ..StudySpec::default() };
    let instances: Vec<Instance> = testdata::study(spec).collect();
    store_all(&archive, &instances).await;
    let used = archive.status().await.journal_used_bytes;
    archive.delete(tombstone(&instances[0], 3)).await.unwrap();
    assert!(archive.status().await.journal_used_bytes < used - 1_500_000);
    assert_served(&archive, &instances[1..]).await;
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_uid_in_another_series_is_not_deleted() {
    // ST-043
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let first = slices(1, 1, 1).remove(0);
    let mut other = first.clone();
    let last = first.series_instance_uid.pop_and("9");
    let at = memchr::memmem::find(&other.data_set, first.series_instance_uid.as_bytes()).unwrap();
    other.data_set[at..at + last.len()].copy_from_slice(last.as_bytes());
    store_all(&archive, std::slice::from_ref(&first)).await;
    archive.delete(tombstone(&first, 3)).await.unwrap();
    assert_eq!(store(&archive, &other).await.unwrap().outcome, Outcome::New);
    assert_eq!(search(&archive, Level::Instance).await.len(), 1);
    stop(archive).await;
}

trait PopAnd {
    fn pop_and(&self, digit: &str) -> String;
}

impl PopAnd for String {
    /// Returns the text with another last digit.
    fn pop_and(&self, digit: &str) -> String {
        let mut text = self.clone();
        text.pop();
        text + digit
    }
}
