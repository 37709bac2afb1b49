//! Readers that race the packer, and places that are out of date.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

async fn answers_of(archive: &Archive, located: &[InstanceRef]) -> Vec<Answer> {
    let metadata: Vec<Bytes> = archive.metadata(located.to_vec()).try_collect().await.unwrap();
    let mut answers = Vec::new();
    for (instance, metadata) in located.iter().zip(metadata) {
        answers.push(answer(archive, instance.clone(), metadata).await);
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn places_from_before_a_pack_still_lead_to_the_bytes() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let instances = mixture();
    store_all(&archive, &instances).await;
    let mut located = Vec::new();
    for instance in &instances {
        located.push(locate(&archive, instance).await);
    }
    let before = answers_of(&archive, &located).await;
    pack(&archive).await;
    // Everything of before is recycled: the segments of these are new.
    let spec = StudySpec { seed: 50, rows: 400, columns: 400, instances_per_series: 20, ..StudySpec::default() };
    store_all(&archive, &testdata::study(spec).collect::<Vec<_>>()).await;
    pack(&archive).await;
    assert!(answers_of(&archive, &located).await == before);
    stop(archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_race_the_packer_always_get_the_right_bytes() {
    let rig = Rig::new().await;
    let archive = rig.start().await;
    let mut known = Vec::new();
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for (seed, encoding) in [(1, Encoding::ExplicitLittleEndian), (2, Encoding::RleLossless)] {
        let base = StudySpec { seed, encoding, frames: 3, modality: Modality::Ot, ..StudySpec::default() };
        let small = StudySpec { rows: 64, columns: 64, instances_per_series: 6, ..base.clone() };
        let large = StudySpec { seed: seed + 10, rows: 512, columns: 512, instances_per_series: 2, ..base };
        let instances: Vec<Instance> = testdata::study(small).chain(testdata::study(large)).collect();
        store_all(&archive, &instances).await;
        known.push(instances);
    }
    for instances in known.clone() {
        let mut located = Vec::new();
        for instance in &instances {
            located.push(locate(&archive, instance).await);
        }
        let want = answers_of(&archive, &located).await;
        let (archive, done) = (archive.clone(), Arc::clone(&done));
        readers.push(tokio::spawn(async move {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) || rounds < 2 {
                assert!(answers_of(&archive, &located).await == want);
                let mut now = Vec::new();
                for instance in &instances {
                    now.push(locate(&archive, instance).await);
                }
                assert!(answers_of(&archive, &now).await == want);
                rounds += 1;
            }
        }));
    }
    for seed in 20..26 {
        store_all(&archive, &slices(seed, 1, 10)).await;
        pack(&archive).await;
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    stop(archive).await;
}
