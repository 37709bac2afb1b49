//! From unsealed rows to segments, and back from a container alone.

use std::ops::RangeInclusive;

use index::Location;
use index::Tombstone;

use super::*;

async fn filled(f: &Fixture) {
    let mut batch: Vec<Arrival> = Vec::new();
    for t in 1..=3 {
        for s in 1..=2 {
            batch.extend((1..=20).map(|i| arrival(t, s, i)));
        }
    }
    let mut report = arrival(1, 9, 1);
    report.head.sop_class_uid = uid(SR);
    report.series.put_text(Tag(0x0008, 0x0060), VR::CS, "SR");
    batch.push(report);
    f.index.apply(JOURNAL, &batch, Lsn(1)).await.unwrap();
}

#[tokio::test]
async fn sealed_instances_answer_as_unsealed_ones_did() {
    let f = fixture().await;
    filled(&f).await;
    let before = everything(&f.index).await;
    let studies = [uid("1.2.826.1"), uid("1.2.826.2")];
    let container = pack(&f.index, &studies, 1).await;
    f.index.seal(&container).await.unwrap();
    assert_eq!(everything(&f.index).await, before);
    let located = f.index.locate(&of_study("1.2.826.1")).await.unwrap();
    assert_eq!(located.len(), 41);
    assert!(located.iter().all(|l| matches!(l.instance.location, Location::Container { .. })));
    let counts = f.index.counts().await.unwrap();
    assert_eq!((counts.instances, counts.instances_unsealed, counts.containers), (121, 40, 1));
    f.index.seal(&container).await.unwrap();
    assert_eq!(everything(&f.index).await, before, "sealing twice changes nothing");
    assert_eq!(f.index.counts().await.unwrap(), counts);
}

#[tokio::test]
async fn many_small_studies_are_sealed_and_restored_together() {
    let f = fixture().await;
    let batch: Vec<Arrival> = (0..1_100).map(|t| arrival(t, 1, 1)).collect();
    f.index.apply(JOURNAL, &batch, Lsn(1)).await.unwrap();
    let studies: Vec<Uid> = batch.iter().map(|a| a.head.study_instance_uid.clone()).collect();
    let container = pack(&f.index, &studies, 1).await;
    let gone = &batch[5].head;
    let tombstone = Tombstone {
        study: gone.study_instance_uid.clone(),
        series: Some(gone.series_instance_uid.clone()),
        instance: Some(gone.sop_instance_uid.clone()),
        deleted_millis: 1,
    };
    assert!(f.index.add_tombstone(&tombstone).await.unwrap());
    let before = everything(&f.index).await;
    f.index.seal(&container).await.unwrap();
    assert!(everything(&f.index).await == before);
    let counts = f.index.counts().await.unwrap();
    assert_eq!((counts.studies, counts.instances, counts.instances_unsealed), (1_099, 1_099, 0));
    f.index.clear().await.unwrap();
    f.index.add_tombstone(&tombstone).await.unwrap();
    f.index.adopt(&container).await.unwrap();
    assert!(everything(&f.index).await == before);
    assert_eq!(f.index.counts().await.unwrap(), counts);
}

#[tokio::test]
async fn an_index_restored_from_containers_is_the_one_that_was_lost() {
    let f = fixture().await;
    filled(&f).await;
    let first = pack(&f.index, &[uid("1.2.826.1"), uid("1.2.826.2")], 1).await;
    f.index.seal(&first).await.unwrap();
    let late: Vec<Arrival> = (21..=25).map(|i| arrival(2, 1, i)).collect();
    f.index.apply(JOURNAL, &late, Lsn(2)).await.unwrap();
    let second = pack(&f.index, &[uid("1.2.826.2"), uid("1.2.826.3")], 2).await;
    f.index.seal(&second).await.unwrap();
    let before = everything(&f.index).await;
    let counts = f.index.counts().await.unwrap();
    let located = f.index.locate(&of_study("1.2.826.2")).await.unwrap();
    assert_eq!(located.len(), 45);

    f.index.clear().await.unwrap();
    assert_eq!(f.index.counts().await.unwrap().studies, 0);
    assert!(f.index.find_by_sop(&uid("1.2.826.1.1.1")).await.unwrap().is_empty());
    for container in [&first, &second, &first] {
        f.index.adopt(container).await.unwrap();
    }
    assert_eq!(everything(&f.index).await, before);
    assert_eq!(f.index.counts().await.unwrap(), counts);
    let places = |found: &[index::Located]| -> Vec<(Uid, u64)> {
        found.iter().map(|l| (l.instance.sop_instance_uid.clone(), l.instance.bytes)).collect()
    };
    assert_eq!(places(&f.index.locate(&of_study("1.2.826.2")).await.unwrap()), places(&located));
    let replayed = f.index.apply(JOURNAL, &late, Lsn(2)).await.unwrap();
    assert!(replayed.iter().all(|o| matches!(o, index::Applied::Same(_))));
    assert_eq!(everything(&f.index).await, before);
}

#[tokio::test]
async fn restoring_after_the_journal_counts_nothing_twice() {
    let f = fixture().await;
    filled(&f).await;
    let container = pack(&f.index, &[uid("1.2.826.1")], 1).await;
    let before = everything(&f.index).await;
    f.index.clear().await.unwrap();
    filled(&f).await; // the journal first, the container later
    f.index.adopt(&container).await.unwrap();
    assert_eq!(everything(&f.index).await, before);
    // The same instances in another container, as after an unfinished rewrite.
    let again = NewContainer { id: ContainerId(Uuid::from_u128(99)), ..container };
    f.index.adopt(&again).await.unwrap();
    assert_eq!(everything(&f.index).await, before);
}

#[tokio::test]
async fn instances_are_found_by_sop_instance_uid_alone() {
    let f = fixture().await;
    filled(&f).await;
    let (unsealed, sealed) = (uid("1.2.826.3.1.5"), uid("1.2.826.1.2.7"));
    f.index.seal(&pack(&f.index, &[uid("1.2.826.1")], 1).await).await.unwrap();
    let elsewhere = Index::connect(f.options.clone(), 2).await.unwrap();
    f.index.seal(&pack(&f.index, &[uid("1.2.826.2")], 2).await).await.unwrap();
    for index in [&f.index, &elsewhere] {
        for (sop, study) in [(&unsealed, "1.2.826.3"), (&sealed, "1.2.826.1"), (&uid("1.2.826.2.1.1"), "1.2.826.2")] {
            let found = index.find_by_sop(sop).await.unwrap();
            assert_eq!(found.len(), 1, "{sop}");
            assert_eq!(found[0].instance.study_instance_uid, uid(study));
        }
        assert!(index.find_by_sop(&uid("9.9")).await.unwrap().is_empty());
    }
    let found = f.index.find_instance(&uid("1.2.826.1.2"), &sealed).await.unwrap().unwrap();
    let Location::Container(place) = found.instance.location else {
        panic!("it is sealed");
    };
    let segment = f.index.segment(place.segment).await.unwrap();
    assert_eq!(segment.container, place.container);
    assert_eq!(segment.find(&sealed).unwrap().offset, place.offset);
    assert!(!segment.is_partial());
}

#[tokio::test]
async fn instances_are_located_in_reading_order() {
    // WE-087
    let f = fixture().await;
    let mut unnumbered = arrival(1, 2, 3);
    unnumbered.instance_number = None;
    let batch = [arrival(1, 10, 1), unnumbered, arrival(1, 2, 11), arrival(1, 2, 2)];
    f.index.apply(JOURNAL, &batch, Lsn(1)).await.unwrap();
    let order = async || {
        let found = f.index.locate(&of_study("1.2.826.1")).await.unwrap();
        found.iter().map(|l| l.instance.sop_instance_uid.to_string()).collect::<Vec<_>>()
    };
    let expected = ["1.2.826.1.2.2", "1.2.826.1.2.11", "1.2.826.1.2.3", "1.2.826.1.10.1"];
    assert_eq!(order().await, expected);
    let unsealed = f.index.unsealed_instances(&[uid("1.2.826.1")], &[], usize::MAX).await.unwrap();
    assert_eq!(unsealed.iter().map(|h| h.sop_instance_uid.to_string()).collect::<Vec<_>>(), expected);
    f.index.seal(&pack(&f.index, &[uid("1.2.826.1")], 1).await).await.unwrap();
    assert_eq!(order().await, expected);
}

#[tokio::test]
async fn the_packer_sees_quiet_studies_and_the_journal_what_is_unsealed() {
    let f = fixture().await;
    f.index.apply(JOURNAL, &[arrival(1, 1, 1), arrival(1, 1, 2), arrival(2, 1, 9)], Lsn(1)).await.unwrap();
    let quiet = f.index.quiet_studies(1_700_000_000_009..=i64::MAX).await.unwrap();
    assert_eq!(quiet.len(), 1);
    assert_eq!((quiet[0].instances, quiet[0].bytes, quiet[0].month), (2, 120_003, Some((2024, 1))));
    assert_eq!((quiet[0].oldest_received, quiet[0].newest_received), (1_700_000_000_001, 1_700_000_000_002));
    let future = f.index.quiet_studies(1_600_000_000_000..=1_700_000_000_002).await.unwrap();
    assert_eq!((future.len(), future[0].newest_received), (1, 1_700_000_000_009));
    let all = f.index.quiet_studies(RangeInclusive::new(i64::MAX, i64::MIN)).await.unwrap();
    assert_eq!(all.len(), 2);
    let segments = f.index.journal_segments_in_use(JOURNAL, 100_000_000).await.unwrap();
    assert_eq!(segments, BTreeSet::from([1, 2]));
    f.index.seal(&pack(&f.index, &[uid("1.2.826.1")], 1).await).await.unwrap();
    assert_eq!(f.index.journal_segments_in_use(JOURNAL, 100_000_000).await.unwrap(), BTreeSet::from([2]));
    assert!(f.index.journal_segments_in_use(Uuid::from_u128(8), 100_000_000).await.unwrap().is_empty());
    let container = &f.index.containers().await.unwrap()[0];
    assert_eq!((container.month, container.instances), (Some((2024, 1)), 2));
    let mut moved = container.clone();
    moved.pool = "cold".into();
    moved.generation = 2;
    let shard = NewShard { number: 0, device: DeviceId(Uuid::from_u128(77)) };
    f.index.relocate(&moved, &[shard]).await.unwrap();
    f.index.relocate(container, &[]).await.unwrap();
    assert_eq!(f.index.containers().await.unwrap(), [moved.clone()]);
    let shards = f.index.shards(Some(moved.id)).await.unwrap();
    assert_eq!(shards.iter().map(|s| s.shard).collect::<Vec<_>>(), [shard]);
    assert!(!f.index.forget_container(moved.id).await.unwrap(), "it still serves instances");
}

#[tokio::test]
async fn the_state_of_a_job_is_remembered() {
    let f = fixture().await;
    assert_eq!(f.index.job("scrub").await.unwrap(), None);
    f.index.put_job("scrub", "1", 1).await.unwrap();
    f.index.put_job("scrub", "2", 2).await.unwrap();
    assert_eq!(f.index.job("scrub").await.unwrap(), Some(("2".into(), 2)));
}

#[tokio::test]
async fn a_sealed_instance_costs_the_index_less_than_40_bytes() {
    // Promise 8: 50 series of 360 slices, as scanners number them.
    let f = fixture().await;
    let root = "1.3.12.2.1107.5.1.4.73104.30000024011506120";
    for t in 0..5 {
        let mut batch: Vec<Arrival> = Vec::new();
        for s in 0..10_u32 {
            batch.extend((0..360_u32).map(|i| {
                let mut a = arrival(t, s, i);
                a.head.sop_instance_uid = uid(&format!("{root}{t}{s:04}{:05}", i * 3 + t));
                a.record.crc32c = i.wrapping_mul(2_654_435_761) ^ s;
                a
            }));
        }
        f.index.apply(JOURNAL, &batch, Lsn(1)).await.unwrap();
    }
    let studies: Vec<Uid> = (0..5).map(|t| uid(&format!("1.2.826.{t}"))).collect();
    f.index.seal(&pack(&f.index, &studies, 1).await).await.unwrap();
    let pool = sqlx::PgPool::connect_with(f.options.clone()).await.unwrap();
    sqlx::query("vacuum full").execute(&pool).await.unwrap();
    let (bytes, whole): (i64, i64) = sqlx::query_as(
        "select (pg_total_relation_size('series_segment') + pg_total_relation_size('container') \
             + pg_total_relation_size('shard'))::bigint,
         (select sum(pg_total_relation_size(relid)) from pg_stat_user_tables)::bigint",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    let (each, all) = (bytes / 18_000, whole / 18_000);
    println!("{each} bytes for each sealed instance, {all} with all levels above");
    assert!(each < 40, "{each}");
}
