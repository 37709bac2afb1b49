//! Reading one's writes, and sending again.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_found_at_once_by_every_sender() {
    // Promise 4
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let senders = (0..6).map(|seed| {
        let archive = archive.clone();
        tokio::spawn(async move {
            for (sent, instance) in (1..).zip(slices(100 + seed, 1, 12)) {
                assert_eq!(store(&archive, &instance).await.unwrap().outcome, Outcome::New);
                assert_eq!(archive.locate(&of_study(&instance)).await.unwrap().len(), sent);
                assert_eq!(locate(&archive, &instance).await.sop_instance_uid.as_str(), instance.sop_instance_uid);
                let sop = &[dicom_core::Tag(0x0008, 0x0018)];
                let matching = dicom_data::query::Matching::Single(instance.sop_instance_uid.clone());
                let found = archive.search(query(Level::Instance, &[(sop, matching)])).await.unwrap();
                assert_eq!(found.count().await, 1);
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    assert_eq!(search(&archive, Level::Study).await.len(), 6);
    assert_eq!(search(&archive, Level::Instance).await.len(), 72);
    stop(archive).await;
}

/// The same UIDs and length, another pixel.
fn altered(instance: &Instance) -> Instance {
    let mut other = instance.clone();
    *other.data_set.last_mut().unwrap() ^= 1;
    other
}

async fn assert_first_kept(archive: &Archive, instances: &[Instance]) {
    for instance in instances {
        assert_eq!(store(archive, instance).await.unwrap().outcome, Outcome::Duplicate);
        assert!(matches!(store(archive, &altered(instance)).await, Err(Error::Conflict)));
        let mut longer = instance.clone();
        longer.data_set.extend_from_slice(&[0xFC, 0xFF, 0xFC, 0xFF, 0x4F, 0x42, 0, 0, 2, 0, 0, 0, 0, 0]);
        assert!(matches!(store(archive, &longer).await, Err(Error::Conflict)));
    }
    assert_served(archive, instances).await;
    assert_eq!(search(archive, Level::Instance).await.len(), instances.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_are_a_duplicate_and_others_a_conflict_before_and_after_packing_and_restarts() {
    // ST-040, ST-041
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let mut instances = slices(1, 2, 3);
    let large = StudySpec { seed: 9, rows: 900, columns: 900, instances_per_series: 1, ..StudySpec::default() };
    instances.extend(testdata::study(large));
    store_all(&archive, &instances).await;
    assert_first_kept(&archive, &instances).await;
    stop(archive).await;
    let archive = rig.start().await;
    assert_first_kept(&archive, &instances).await;
    assert_eq!(pack(&archive).await, 7);
    assert_first_kept(&archive, &instances).await;
    stop(archive).await;
    let archive = rig.start().await;
    assert_first_kept(&archive, &instances).await;
    assert_eq!(archive.status().await.unsealed_instances, 0);
    assert_eq!(rig.count("instance_unsealed").await, 0);
    assert!(archive.verify(Progress::silent()).await.unwrap().is_clean());
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_at_once_one_wins() {
    // ST-044
    let rig = Rig::new().await;
    let archive = rig.start().await;
    for (seed, same) in [(1, true), (2, false), (3, false), (4, true)] {
        let first = slices(seed, 1, 1).remove(0);
        let second = if same { first.clone() } else { altered(&first) };
        let (one, two) = tokio::join!(store(&archive, &first), store(&archive, &second));
        let kept = bytes(&archive, &first).await.unwrap();
        match (one.map(|s| s.outcome), two.map(|s| s.outcome)) {
            (Ok(Outcome::New), Ok(Outcome::Duplicate)) | (Ok(Outcome::Duplicate), Ok(Outcome::New)) if same => {}
            (Ok(Outcome::New), Err(Error::Conflict)) if !same => assert!(kept == first.data_set),
            (Err(Error::Conflict), Ok(Outcome::New)) if !same => assert!(kept == second.data_set),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(search(&archive, Level::Instance).await.len(), 4);
    stop(archive).await;
}
