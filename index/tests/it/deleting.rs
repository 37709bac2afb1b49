//! Deletions: gone from every answer, remembered, and not undone by anything that is replayed or restored.

use index::{Applied, Tombstone};

use super::*;

fn tombstone(study: &str, series: Option<&str>, instance: Option<&str>) -> Tombstone {
    Tombstone {
        study: uid(study),
        series: series.map(uid),
        instance: instance.map(uid),
        deleted_millis: 1_700_000_200_000,
    }
}

async fn filled(f: &Fixture) -> Vec<Arrival> {
    let mut batch: Vec<Arrival> = Vec::new();
    for t in 1..=2 {
        batch.extend((1..=3).map(|i| arrival(t, 1, i)));
        let mut report = arrival(t, 2, 1);
        report.head.sop_class_uid = uid(SR);
        report.series.put_text(Tag(0x0008, 0x0060), VR::CS, "SR");
        batch.push(report);
    }
    f.index.apply(JOURNAL, &batch, Lsn(1)).await.unwrap();
    batch
}

/// Number of patients, studies, series and instances that searches find.
async fn seen(f: &Fixture) -> [usize; 4] {
    let all = everything(&f.index).await;
    [all[0].len(), all[1].len(), all[2].len(), all[3].len()]
}

/// Deletes an instance, a series and a study one after the other and tries to get them back each way.
async fn delete_all(f: &Fixture, batch: &[Arrival], container: &NewContainer) {
    let (study, series, sop) = ("1.2.826.1", "1.2.826.1.1", "1.2.826.1.1.2");
    let steps = [
        (tombstone(study, Some(series), Some(sop)), [2, 2, 4, 7], 3),
        (tombstone(study, Some("1.2.826.1.2"), None), [2, 2, 3, 6], 2),
        (tombstone(study, None, None), [1, 1, 2, 4], 0),
    ];
    for (tombstone, left, in_study) in steps {
        assert!(f.index.add_tombstone(&tombstone).await.unwrap());
        assert_eq!(seen(f).await, left);
        assert_eq!(f.index.locate(&of_study(study)).await.unwrap().len(), in_study);
        let counts = f.index.counts().await.unwrap();
        assert_eq!(
            (counts.patients, counts.instances),
            (u64::try_from(left[0]).unwrap(), u64::try_from(left[3]).unwrap())
        );
        assert!(!f.index.add_tombstone(&tombstone).await.unwrap(), "it is gone already");
        let outcomes = f.index.apply(JOURNAL, batch, Lsn(2)).await.unwrap();
        let deleted = outcomes.iter().filter(|o| matches!(o, Applied::Deleted)).count();
        assert_eq!(deleted, batch.len() - left[3]);
        f.index.adopt(container).await.unwrap();
        let again = NewContainer { id: ContainerId(Uuid::new_v4()), ..container.clone() };
        f.index.adopt(&again).await.unwrap();
        assert_eq!(seen(f).await, left, "replayed and restored");
        assert!(f.index.find_by_sop(&uid(sop)).await.unwrap().is_empty());
    }
    assert_eq!(f.index.tombstones().await.unwrap().len(), 3);
}

#[tokio::test]
async fn unsealed_instances_series_and_studies_stay_deleted() {
    // QR-062, ST-086
    let f = fixture().await;
    let batch = filled(&f).await;
    let container = pack(&f.index, &[uid("1.2.826.1")], 1).await;
    delete_all(&f, &batch, &container).await;
}

#[tokio::test]
async fn sealed_instances_series_and_studies_stay_deleted() {
    let f = fixture().await;
    let batch = filled(&f).await;
    let container = pack(&f.index, &[uid("1.2.826.1")], 1).await;
    f.index.seal(&container).await.unwrap();
    let segment = f.index.series_segments(&uid("1.2.826.1.1")).await.unwrap().remove(0);
    assert_eq!(segment.manifest.instances.len(), 3);
    delete_all(&f, &batch, &container).await;
    assert!(f.index.segment(segment.id).await.is_err());
}

#[tokio::test]
async fn deletions_that_come_before_a_rebuild_hold_in_it() {
    // Promise 6
    let f = fixture().await;
    filled(&f).await;
    let container = pack(&f.index, &[uid("1.2.826.1"), uid("1.2.826.2")], 1).await;
    f.index.clear().await.unwrap();
    for deleted in [
        tombstone("1.2.826.1", Some("1.2.826.1.2"), Some("1.2.826.1.2.1")),
        tombstone("1.2.826.1", Some("1.2.826.1.1"), Some("1.2.826.1.1.1")),
        tombstone("1.2.826.2", None, None),
    ] {
        assert!(!f.index.add_tombstone(&deleted).await.unwrap());
    }
    f.index.adopt(&container).await.unwrap();
    assert_eq!(seen(&f).await, [1, 1, 1, 2]);
    assert!(f.index.find_by_sop(&uid("1.2.826.1.1.1")).await.unwrap().is_empty());
    assert_eq!(f.index.find_by_sop(&uid("1.2.826.1.1.2")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_partial_segment_knows_its_positions() {
    let f = fixture().await;
    filled(&f).await;
    f.index.seal(&pack(&f.index, &[uid("1.2.826.1")], 1).await).await.unwrap();
    let series = uid("1.2.826.1.1");
    f.index.series_segments(&series).await.unwrap();
    let gone = tombstone("1.2.826.1", Some(series.as_str()), Some("1.2.826.1.1.1"));
    f.index.add_tombstone(&gone).await.unwrap();
    let segment = f.index.series_segments(&series).await.unwrap().remove(0);
    assert!(segment.is_partial());
    let positions: Vec<usize> = (0..segment.manifest.instances.len()).map(|n| segment.position(n)).collect();
    assert_eq!(positions, [1, 2]);
    assert!(segment.find(&uid("1.2.826.1.1.1")).is_none());
    assert_eq!(segment.position_of(&uid("1.2.826.1.1.3")), Some(2));
}

#[tokio::test]
async fn a_study_whose_last_instance_is_deleted_goes_and_does_not_come_back_empty() {
    let f = fixture().await;
    let only = [arrival(3, 1, 1)];
    f.index.apply(JOURNAL, &only, Lsn(1)).await.unwrap();
    f.index.add_tombstone(&tombstone("1.2.826.3", Some("1.2.826.3.1"), Some("1.2.826.3.1.1"))).await.unwrap();
    assert_eq!(seen(&f).await, [0, 0, 0, 0]);
    f.index.apply(JOURNAL, &only, Lsn(2)).await.unwrap();
    assert_eq!(seen(&f).await, [0, 0, 0, 0]);
    assert_eq!(f.index.counts().await.unwrap().patients, 0);
}

#[tokio::test]
async fn sets_follow_what_is_left() {
    // QR-037, QR-063
    let f = fixture().await;
    filled(&f).await;
    let of_study = query(Level::Study, &[(&[Tag(0x0020, 0x000D)], Matching::Single("1.2.826.1".into()))]);
    f.index.add_tombstone(&tombstone("1.2.826.1", Some("1.2.826.1.2"), Some("1.2.826.1.2.1"))).await.unwrap();
    let left = search(&f.index, &of_study).await.remove(0);
    assert_eq!(left.get(Tag(0x0008, 0x0061)).unwrap().value, Value::Text(vec!["CT".into()]));
    assert_eq!(left.get(Tag(0x0008, 0x0062)).unwrap().value, Value::Text(vec![CT.into()]));
    assert_eq!(left.text(Tag(0x0020, 0x1206)), Some("1"));
}

#[tokio::test]
async fn what_was_deleted_is_known_as_such() {
    // WE-083
    let f = fixture().await;
    filled(&f).await;
    f.index.add_tombstone(&tombstone("1.2.826.1", None, None)).await.unwrap();
    f.index.add_tombstone(&tombstone("1.2.826.2", Some("1.2.826.2.2"), None)).await.unwrap();
    f.index.add_tombstone(&tombstone("1.2.826.2", Some("1.2.826.2.1"), Some("1.2.826.2.1.1"))).await.unwrap();
    for (study, series, sop, expected) in [
        ("1.2.826.1", "", "", true),
        ("1.2.826.1", "1.2.826.1.1", "", true),
        ("1.2.826.1", "1.2.826.1.1", "1.2.826.1.1.1", true),
        ("1.2.826.2", "1.2.826.2.2", "1.2.826.2.2.1", true),
        ("1.2.826.2", "1.2.826.2.1", "1.2.826.2.1.1", true),
        ("1.2.826.2", "1.2.826.2.1", "1.2.826.2.1.2", false),
        ("1.2.826.2", "1.2.826.2.1", "", true),
        ("1.2.826.2", "1.2.826.2.9", "", false),
        ("", "1.2.826.2.2", "", true),
        ("", "", "1.2.826.2.1.1", true),
        ("9.9", "", "", false),
    ] {
        let list = |text: &str| {
            if text.is_empty() { vec![] } else { vec![uid(text)] }
        };
        let selector = Selector { patient_id: None, studies: list(study), series: list(series), instances: list(sop) };
        assert_eq!(f.index.was_deleted(&selector).await.unwrap(), expected, "{study} {series} {sop}");
    }
}
