//! Packing: sealed and unsealed instances answer alike, and the journal's space comes back.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn sealed_and_unsealed_instances_answer_alike() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let instances = mixture();
    store_all(&archive, &instances).await;
    let before = answers(&archive, &instances).await;
    for (sent, answer) in instances.iter().map(|sent| {
        let its = before.instances.iter().find(|a| a.uids[2] == sent.sop_instance_uid);
        (sent, its.unwrap())
    }) {
        assert!(sent.data_set == answer.data_set);
    }
    let used = archive.status().await.journal_used_bytes;
    assert_eq!(pack(&archive).await, u64::try_from(instances.len()).unwrap());
    for instance in &instances {
        assert!(is_sealed(&locate(&archive, instance).await));
    }
    assert_same(&before, &answers(&archive, &instances).await);
    let status = archive.status().await;
    assert!(status.containers > 3 && status.unsealed_instances == 0, "{status:?}");
    // The segment being written stays.
    assert!(status.journal_used_bytes <= 2 << 20 && used > 8 << 20, "{used} {status:?}");
    let mut left = Vec::new();
    files_below(&rig.home.path().join("journal"), &mut left);
    assert!(!left.iter().any(|path| path.to_str().unwrap().contains("large")), "{left:?}");
    assert!(archive.verify(Progress::silent()).await.unwrap().is_clean());
    stop(archive).await;
    let archive = rig.start().await;
    assert_same(&before, &answers(&archive, &instances).await);
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_instances_join_their_sealed_series() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let instances = slices(1, 2, 9);
    let (early, late): (Vec<_>, Vec<_>) = instances.iter().cloned().partition(|i| i.instance_number % 3 != 0);
    store_all(&archive, &early).await;
    pack(&archive).await;
    store_all(&archive, &late).await;
    let half = answers(&archive, &instances).await;
    assert_eq!(half.instances.len(), 18);
    let order: Vec<&str> = half.instances.iter().map(|a| a.uids[2].as_str()).collect();
    assert_eq!(order, instances.iter().map(|i| i.sop_instance_uid.as_str()).collect::<Vec<_>>());
    assert_eq!(pack(&archive).await, 6);
    assert_same(&half, &answers(&archive, &instances).await);
    assert_eq!(pack(&archive).await, 0);
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_refuses_and_takes_again_after_packing() {
    // Promise 7
    let mut rig = Rig::new().await;
    rig.options.journal.bytes_max = 6 << 20;
    rig.options.pack.pressure_percent = 200;
    let archive = rig.start().await;
    let spec = StudySpec { rows: 400, columns: 400, instances_per_series: 40, ..StudySpec::default() };
    let instances: Vec<Instance> = testdata::study(spec).collect();
    let mut taken = 0;
    for instance in &instances {
        match store(&archive, instance).await {
            Ok(stored) => assert_eq!(stored.outcome, Outcome::New),
            Err(Error::OutOfResources { .. }) => break,
            Err(other) => panic!("{other}"),
        }
        taken += 1;
    }
    assert!((10..40).contains(&taken), "{taken}");
    assert_eq!(pack(&archive).await, taken);
    let taken = usize::try_from(taken).unwrap();
    store_all(&archive, &instances[taken..taken + 5]).await;
    assert_served(&archive, &instances[..taken + 5]).await;
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pressure_packs_without_being_asked() {
    let mut rig = Rig::new().await;
    rig.options.journal.bytes_max = 12 << 20;
    let archive = rig.start().await;
    let spec = StudySpec { rows: 400, columns: 400, instances_per_series: 100, ..StudySpec::default() };
    let instances: Vec<Instance> = testdata::study(spec).collect();
    for instance in &instances {
        until("the journal takes it", async || {
            !matches!(store(&archive, instance).await, Err(Error::OutOfResources { .. }))
        })
        .await;
    }
    assert_eq!(search(&archive, Level::Instance).await.len(), 100);
    assert_served(&archive, &instances).await;
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_journal_lost_is_left_out_and_the_rest_is_packed() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let mut instances = slices(1, 2, 4);
    let large = StudySpec { seed: 9, rows: 900, columns: 900, instances_per_series: 2, ..StudySpec::default() };
    instances.extend(testdata::study(large));
    store_all(&archive, &instances).await;
    drop(locate(&archive, &instances[0]).await);
    let mut files = Vec::new();
    files_below(&rig.home.path().join("journal"), &mut files);
    for lost in [2, 8] {
        flip(&files, &instances[lost].data_set);
    }
    assert_eq!(pack(&archive).await, 8);
    assert_eq!(pack(&archive).await, 0);
    for (number, instance) in instances.iter().enumerate() {
        assert_eq!(is_sealed(&locate(&archive, instance).await), number != 2 && number != 8, "{number}");
    }
    assert!(matches!(bytes(&archive, &instances[2]).await, Err(Error::Journal(_))));
    let (lost, whole): (Vec<_>, Vec<_>) = (0..10).partition(|n| *n == 2 || *n == 8);
    for number in whole {
        assert_served(&archive, &instances[number..=number]).await;
    }
    let report = archive.verify(Progress::silent()).await.unwrap();
    assert_eq!(report.journal_faults.len(), lost.len());
    // Mended: packed with the next.
    for lost in lost {
        flip(&files, &instances[lost].data_set);
    }
    assert_eq!(pack(&archive).await, 2);
    assert_served(&archive, &instances).await;
    stop(archive).await;
}

/// Turns a byte in the last third of a data set, wherever it lies below.
fn flip(files: &[PathBuf], data_set: &[u8]) {
    let needle = &data_set[..1_000];
    for path in files {
        // A large payload that is sealed by now is gone.
        let Ok(mut content) = fs::read(path) else { continue };
        if let Some(at) = memchr::memmem::find(&content, needle) {
            content[at + data_set.len() - data_set.len() / 4] ^= 0xFF;
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &content, 0).unwrap();
            return;
        }
    }
    panic!("the data set lies nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_has_only_so_many_instances_however_small() {
    // Promise 10
    let mut rig = Rig::new().await;
    rig.options.pack.container_instances_max = 10;
    let archive = rig.start().await;
    // A study longer than two containers, and three of one month of which two fill one.
    let mut instances = slices(1, 3, 9);
    let spec = StudySpec { instances_per_series: 5, rows: 24, columns: 24, ..StudySpec::default() };
    let of_may = |seed| testdata::study(StudySpec { seed, study_date: Some("20240505".into()), ..spec.clone() });
    instances.extend((2..5).flat_map(of_may));
    store_all(&archive, &instances).await;
    drop(locate(&archive, &instances[0]).await);
    let mut files = Vec::new();
    files_below(&rig.home.path().join("journal"), &mut files);
    flip(&files, &instances[12].data_set);
    assert_eq!(pack(&archive).await, 41);
    // One of the second ten is lost.
    assert_eq!(rig.container_lengths().await, [10, 9, 7, 10, 5]);
    let lost = instances.remove(12);
    assert_served(&archive, &instances).await;
    let report = archive.verify(Progress::silent()).await.unwrap();
    assert_eq!((report.journal_instances, report.journal_faults), (1, vec![lost.sop_instance_uid]));
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_one_listing_goes_with_the_next() {
    let mut rig = Rig::new().await;
    let instances = slices(1, 1, 11);
    let longest = instances.iter().map(|instance| instance.data_set.len()).max().unwrap();
    rig.options.pack.container_bytes = u64::try_from(4 * longest + longest / 2).unwrap();
    rig.options.pack.container_instances_max = 6;
    let archive = rig.start().await;
    store_all(&archive, &instances).await;
    assert_eq!(pack(&archive).await, 11);
    assert_eq!(rig.container_lengths().await, [4, 4, 3]);
    assert_served(&archive, &instances).await;
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_nothing_else_to_pack_leaves_no_container() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let instances = slices(1, 1, 1);
    store_all(&archive, &instances).await;
    let mut files = Vec::new();
    files_below(&rig.home.path().join("journal"), &mut files);
    flip(&files, &instances[0].data_set);
    assert_eq!(pack(&archive).await, 0);
    assert!(rig.shards().is_empty());
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_wrong_and_is_set_back_keeps_nothing_in_the_journal() {
    let mut rig = Rig::new().await;
    rig.options.pack.quiet = Duration::from_secs(1);
    rig.options.pack.wait_max = Duration::from_secs(1);
    let start = "2031-05-01T00:00:00Z".parse().unwrap();
    rig.options.clock = Clock::manual(start);
    let archive = rig.start().await;
    let instances = slices(1, 2, 10);
    store_all(&archive, &instances).await;
    // Five years back: what was just received is of the future now, and would be quiet in five years only.
    rig.options.clock.advance_millis(-5 * 365 * 86_400_000);
    until("the study is packed", async || archive.status().await.unsealed_instances == 0).await;
    assert_served(&archive, &instances).await;
    // And forward again: what came before the jump is old at once, which only packs it earlier.
    let more = slices(2, 1, 10);
    store_all(&archive, &more).await;
    rig.options.clock.advance_millis(5 * 365 * 86_400_000);
    until("the other study is packed", async || archive.status().await.unsealed_instances == 0).await;
    assert_served(&archive, &more).await;
    stop(archive).await;
}
