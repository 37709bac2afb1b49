//! Batches from the journal.

use index::Applied;

use super::*;

fn shown(outcomes: &[Applied]) -> String {
    let short = outcomes.iter().map(|o| match o {
        Applied::New => "new",
        Applied::Known => "known",
        Applied::Same(_) => "same",
        Applied::Different(_) => "different",
        Applied::Deleted => "deleted",
    });
    short.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_batch_is_found_and_replayed_without_effect() {
    let f = fixture().await;
    let batch = [arrival(1, 1, 1), arrival(1, 1, 2), arrival(1, 2, 1), arrival(2, 1, 1)];
    assert_eq!(f.index.applied(JOURNAL).await.unwrap(), None);
    let first = f.index.apply(JOURNAL, &batch, Lsn(500)).await.unwrap();
    assert_eq!(shown(&first), "new new new new");
    let before = everything(&f.index).await;
    let again = f.index.apply(JOURNAL, &batch, Lsn(400)).await.unwrap();
    assert_eq!(shown(&again), "known known known known");
    assert_eq!(f.index.applied(JOURNAL).await.unwrap(), Some(Lsn(500)), "a position never goes back");
    assert_eq!(everything(&f.index).await, before);
    assert_eq!(before.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 3, 4]);
}

#[tokio::test]
async fn duplicates_are_told_apart_and_not_counted() {
    // ST-040, ST-041, QR-062
    let f = fixture().await;
    let original = arrival(1, 1, 1);
    let mut same = original.clone();
    same.record.lsn = Lsn(9_000_000_000);
    let mut different = same.clone();
    different.record.crc32c ^= 1;
    let batch = [original, same.clone(), different.clone()];
    assert_eq!(shown(&f.index.apply(JOURNAL, &batch, Lsn(1)).await.unwrap()), "new same different");
    let later = f.index.apply(JOURNAL, &[different, same], Lsn(2)).await.unwrap();
    assert_eq!(shown(&later), "different same");
    let found = search(&f.index, &query(Level::Study, &[])).await;
    assert_eq!(texts(&found, Tag(0x0020, 0x1208)), ["1"]);
}

#[tokio::test]
async fn the_same_patient_and_study_from_eight_sides() {
    // ST-044
    let f = fixture().await;
    let tasks: Vec<_> = (0..8_u32)
        .map(|n| {
            let index = f.index.clone();
            tokio::spawn(async move {
                let mut new = 0;
                for round in 0..6 {
                    let batch: Vec<Arrival> = (0..10)
                        .map(|i| {
                            let mut a = arrival(1 + (n + i) % 3, 1 + i % 2, round * 10 + i);
                            a.record.lsn = Lsn(u64::from(n * 1_000 + round * 10 + i));
                            a
                        })
                        .collect();
                    let journal = Uuid::from_u128(u128::from(n));
                    let outcomes = index.apply(journal, &batch, Lsn(u64::from(round))).await.unwrap();
                    new += outcomes.iter().filter(|o| matches!(o, Applied::New)).count();
                }
                new
            })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        new += task.await.unwrap();
    }
    let counts = f.index.counts().await.unwrap();
    assert_eq!((counts.patients, counts.studies, counts.series), (3, 3, 6));
    assert_eq!(counts.instances, u64::try_from(new).unwrap());
    assert_eq!(counts.instances, counts.instances_unsealed);
}

#[tokio::test]
async fn a_study_belongs_to_its_first_patient() {
    // QR-066, ST-053
    let f = fixture().await;
    let mut other = arrival(1, 2, 1);
    other.patient.put_text(Tag(0x0010, 0x0020), VR::LO, "SOMEONE");
    let mut issuer = arrival(2, 1, 1);
    issuer.patient.put_text(Tag(0x0010, 0x0020), VR::LO, "P1");
    issuer.patient.put_text(Tag(0x0010, 0x0021), VR::LO, "HOSPITAL");
    let mut nobody = [arrival(3, 1, 1), arrival(4, 1, 1)];
    for a in &mut nobody {
        a.patient = Attributes::default();
    }
    let [a, b] = nobody;
    f.index.apply(JOURNAL, &[arrival(1, 1, 1), issuer, a, b], Lsn(1)).await.unwrap();
    f.index.apply(JOURNAL, &[other], Lsn(2)).await.unwrap();
    let patients = search(&f.index, &query(Level::Patient, &[])).await;
    assert_eq!(texts(&patients, Tag(0x0010, 0x0020)), ["-", "-", "P1", "P1"]);
    assert_eq!(texts(&patients, Tag(0x0020, 0x1202)), ["1", "1", "2", "1"]);
}

#[tokio::test]
async fn statistics_are_made_fresh_after_a_bulk_load() {
    let f = fixture().await;
    let batch: Vec<Arrival> = (0..1_200).map(|i| arrival(1, 1, i)).collect();
    f.index.apply(JOURNAL, &batch, Lsn(1)).await.unwrap();
    // Postgres tells its own counters with a delay of about a second.
    let grown = async {
        while !f.index.analyze_if_grown().await.unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), grown).await.unwrap();
    assert!(!f.index.analyze_if_grown().await.unwrap(), "nothing has grown since");
}

#[tokio::test]
async fn hostile_values_are_indexed_and_come_back() {
    // QR-039
    let f = fixture().await;
    let mut a = arrival(1, 1, 1);
    let long = "x".repeat(20_000);
    a.patient.put_text(Tag(0x0010, 0x0020), VR::LO, long.clone());
    a.patient.put_text(Tag(0x0010, 0x0021), VR::LO, "\u{1F600}".repeat(9_000));
    a.patient.0.insert(Tag(0x0010, 0x0010), name(&"Ж".repeat(9_000), "a\0b", "c"));
    a.study.put_text(Tag(0x0008, 0x0050), VR::SH, "nul\0inside");
    a.study.put_text(Tag(0x0008, 0x0020), VR::DA, "20249999");
    a.series.put_text(Tag(0x0020, 0x0011), VR::IS, "99999999999");
    f.index.apply(JOURNAL, &[a], Lsn(1)).await.unwrap();
    let found = search(&f.index, &query(Level::Series, &[])).await;
    assert_eq!(texts(&found, Tag(0x0010, 0x0020)), [long.as_str()]);
    assert_eq!(texts(&found, Tag(0x0008, 0x0050)), ["nul\0inside"]);
    assert_eq!(texts(&found, Tag(0x0008, 0x0020)), ["20249999"]);
}

#[tokio::test]
async fn matches_are_counted_as_they_are_found() {
    // WE-058, WE-070
    let fixture = fixture().await;
    let index = &fixture.index;
    let places = (0..3).flat_map(|t: u32| (0..2).flat_map(move |s| (0..4).map(move |i| (t, s, i))));
    let arrivals: Vec<Arrival> = places.map(|(t, s, i)| arrival(t, s, i)).collect();
    index.apply(JOURNAL, &arrivals, Lsn(500)).await.unwrap();
    let one: &[(&[Tag], Matching)] = &[(&[Tag(0x0010, 0x0020)], Matching::Single("P1".into()))];
    for keys in [&[], one] {
        for level in [Level::Patient, Level::Study, Level::Series, Level::Instance] {
            for offset in [0, 1, 2, 100] {
                let asked = Query { offset, ..query(level, keys) };
                let found = u64::try_from(search(index, &asked).await.len()).unwrap();
                assert_eq!(index.count(&asked, 50).await.unwrap(), Some(found), "{asked:?}");
                assert_eq!(index.count(&asked, u64::MAX).await.unwrap(), Some(found), "{asked:?}");
                assert_eq!(index.count(&asked, 2).await.unwrap(), Some(found.min(2)), "{asked:?}");
            }
        }
    }
    let in_memory = query(Level::Instance, &[(&[Tag(0x0020, 0x0013)], Matching::Single("1".into()))]);
    assert_eq!(index.count(&in_memory, 50).await.unwrap(), None);
}
