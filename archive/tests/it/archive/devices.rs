//! Devices that are away, lost, or not mounted; two archives in one place; instances larger than memory should be.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_archive_is_refused() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    assert!(matches!(Archive::start(rig.options.clone()).await, Err(Error::Locked)));
    stop(archive).await;
    stop(rig.start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_archive_makes_room_for_the_next_while_somebody_still_reads() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let reader = archive.open_all(Vec::new());
    stop(archive).await;
    stop(rig.start().await).await;
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn packing_is_put_off_while_devices_are_away() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let instances = slices(1, 1, 30);
    store_all(&archive, &instances[..10]).await;
    pack(&archive).await;
    store_all(&archive, &instances[10..20]).await;
    (0..3).for_each(|device| rig.hide(device));
    let error = archive.pack_now(Progress::silent()).await.unwrap_err();
    assert!(matches!(&error, Error::Tiering(tiering::Error::TooFewDevices { online: 3, needed: 6, .. })), "{error:?}");
    store_all(&archive, &instances[20..]).await;
    assert_served(&archive, &instances[10..]).await;
    assert!((0..3).all(|device| !rig.device(device).exists()));
    (0..3).for_each(|device| rig.show(device));
    assert_eq!(pack(&archive).await, 20);
    assert_served(&archive, &instances).await;
    assert!(archive.verify(Progress::silent()).await.unwrap().is_clean());
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_devices_may_be_away_and_answers_stay() {
    // Promise 5
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let instances = mixture();
    store_all(&archive, &instances).await;
    pack(&archive).await;
    let before = answers(&archive, &instances).await;
    stop(archive).await;
    for (one, two) in [(0, 3), (4, 5)] {
        rig.hide(one);
        rig.hide(two);
        let archive = rig.start().await;
        assert_same(&before, &answers(&archive, &instances).await);
        stop(archive).await;
        rig.show(one);
        rig.show(two);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_lost_too_much_is_named_and_the_others_are_served() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let lost: Vec<Instance> =
        testdata::study(StudySpec { seed: 1, instances_per_series: 15, ..StudySpec::default() }).collect();
    store_all(&archive, &lost).await;
    pack(&archive).await;
    let mut shards = rig.shards();
    shards.sort_by_key(|path| path.file_name().unwrap().to_owned());
    let others = slices(2, 1, 5);
    store_all(&archive, &others).await;
    pack(&archive).await;
    stop(archive).await;
    assert_eq!(shards.len(), 6);
    for shard in [0, 1, 5] {
        fs::remove_file(&shards[shard]).unwrap();
    }
    let archive = rig.start().await;
    assert_served(&archive, &others).await;
    let mut errors = 0;
    for instance in &lost {
        match bytes(&archive, instance).await {
            Ok(bytes) => assert!(bytes == instance.data_set),
            Err(Error::Tiering(error @ tiering::Error::Lost { .. })) => {
                let name = shards[2].file_name().unwrap().to_str().unwrap();
                let container = error.to_string().split([' ', ':']).nth(2).unwrap().to_owned();
                assert!(name.contains(&container), "{error} {name}");
                errors += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(errors > 0);
    let report = archive.verify(Progress::silent()).await.unwrap();
    assert!(report.faults.len() == 1 && !report.faults[0].recoverable);
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_pool_that_is_not_mounted_is_not_made_anew() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let instances = slices(1, 1, 20);
    store_all(&archive, &instances[..10]).await;
    pack(&archive).await;
    stop(archive).await;
    (0..6).for_each(|device| rig.hide(device));
    (0..6).for_each(|device| fs::create_dir(rig.device(device)).unwrap());
    let archive = rig.start().await;
    store_all(&archive, &instances[10..]).await;
    assert!(matches!(bytes(&archive, &instances[0]).await, Err(Error::Tiering(tiering::Error::Missing { .. }))));
    assert!(archive.pack_now(Progress::silent()).await.is_err());
    assert!((0..6).all(|device| fs::read_dir(rig.device(device)).unwrap().next().is_none()));
    (0..6).for_each(|device| fs::remove_dir(rig.device(device)).unwrap());
    (0..6).for_each(|device| rig.show(device));
    assert_eq!(pack(&archive).await, 10);
    assert_served(&archive, &instances).await;
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_devices_that_come_back_join_a_rebuilt_index() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let instances = slices(1, 1, 10);
    store_all(&archive, &instances).await;
    pack(&archive).await;
    stop(archive).await;
    forget_the_journal(&rig).await;
    (0..6).for_each(|device| rig.hide(device));
    Archive::rebuild_index(rig.options.clone(), Progress::silent()).await.unwrap();
    let archive = rig.start().await;
    assert_eq!(search(&archive, Level::Instance).await.len(), 1);
    (0..6).for_each(|device| rig.show(device));
    pack(&archive).await;
    assert_served(&archive, &instances).await;
    stop(archive).await;
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_very_long_instance_passes_in_pieces() {
    // Promise 10
    const PIXELS: u32 = 300 << 20;
    let mut rig = Rig::new().await;
    rig.options.journal.bytes_max = 1 << 30;
    let archive = rig.start().await;
    let spec = StudySpec { rows: 2, columns: 2, instances_per_series: 1, ..StudySpec::default() };
    let mut instance = testdata::study(spec).next().unwrap();
    let header = instance.data_set.len() - 8;
    instance.data_set.truncate(header - 4);
    instance.data_set.extend_from_slice(&PIXELS.to_le_bytes());
    let before = resident();
    let peak = std::sync::atomic::AtomicU64::new(0);
    let watch = || peak.fetch_max(resident(), std::sync::atomic::Ordering::Relaxed);
    let mut receiver = archive.receive(origin(&instance)).unwrap();
    receiver.write(Bytes::from(instance.data_set.clone())).await.unwrap();
    let piece = |number: u32| Bytes::from(vec![number.to_le_bytes()[0]; 1 << 20]);
    for number in 0..PIXELS >> 20 {
        receiver.write(piece(number)).await.unwrap();
        watch();
    }
    receiver.finish().await.unwrap();
    for sealed in [false, true] {
        let found = locate(&archive, &instance).await;
        assert_eq!(is_sealed(&found), sealed);
        let path: BulkPath = "7FE00010".parse().unwrap();
        let mut body = archive.bulk_data(&found, &path).await.unwrap().chunks;
        let mut at = 0_usize;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.unwrap();
            assert!(chunk.len() <= 4 << 20);
            let first = u32::try_from(at >> 20).unwrap().to_le_bytes()[0];
            assert_eq!(chunk[0], first);
            at += chunk.len();
            watch();
        }
        assert_eq!(at, 300 << 20);
        if !sealed {
            let packing = pack(&archive);
            let mut packing = std::pin::pin!(packing);
            while tokio::time::timeout(Duration::from_millis(20), &mut packing).await.is_err() {
                watch();
            }
        }
    }
    let grown = peak.into_inner().saturating_sub(before);
    // Other tests run in this process, each with some megabytes.
    assert!(grown < 200 << 20, "{grown}");
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_hangs_holds_up_neither_start_nor_reads_nor_packing() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let instances = slices(1, 1, 20);
    store_all(&archive, &instances[..10]).await;
    pack(&archive).await;
    stop(archive).await;
    // Whoever opens a pipe to read it waits in the kernel for its other end.
    let identity = rig.device(0).join("device.json");
    let json = fs::read(&identity).unwrap();
    fs::remove_file(&identity).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&identity).status().unwrap().success());
    let archive = rig.start().await;
    store_all(&archive, &instances[10..]).await;
    assert_served(&archive, &instances).await;
    let online =
        |status: archive::Status| status.pools[0].devices.iter().map(|device| device.online).collect::<Vec<_>>();
    assert_eq!(online(archive.status().await), [false, true, true, true, true, true]);
    let error = archive.pack_now(Progress::silent()).await.unwrap_err();
    assert!(matches!(&error, Error::Tiering(tiering::Error::TooFewDevices { online: 5, needed: 6, .. })), "{error:?}");
    assert!(archive.metrics().encode().contains("filmroom_device{device=\""));
    let mut other_end = fs::OpenOptions::new();
    let other_end = other_end.read(true).write(true).open(&identity).unwrap();
    fs::remove_file(&identity).unwrap();
    fs::write(&identity, json).unwrap();
    drop(other_end);
    while archive.status().await.pools[0].devices.iter().any(|device| !device.online) {
        archive.pack_now(Progress::silent()).await.ok();
    }
    pack(&archive).await;
    assert_eq!(archive.status().await.unsealed_instances, 0);
    assert_served(&archive, &instances).await;
    stop(archive).await;
}
