//! Matching, through Postgres: the same rules for C-FIND and QIDO-RS.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use dicom_core::{Tag, VR};
use dicom_data::query::{Key, Level, Matching, Query, known_key};
use dicom_data::{Attribute, Attributes, TagPath, Value};
use index::Arrival;
use journal::Lsn;

use crate::{Fixture, JOURNAL, arrival, fixture, name, pack, search, texts, uid};

const PATIENT_NAME: &[Tag] = &[Tag(0x0010, 0x0010)];
const PATIENT_ID: &[Tag] = &[Tag(0x0010, 0x0020)];
const STUDY_UID: &[Tag] = &[Tag(0x0020, 0x000D)];
const STUDY_DATE: &[Tag] = &[Tag(0x0008, 0x0020)];
const STUDY_TIME: &[Tag] = &[Tag(0x0008, 0x0030)];
const ACCESSION_NUMBER: &[Tag] = &[Tag(0x0008, 0x0050)];
const MODALITIES: &[Tag] = &[Tag(0x0008, 0x0061)];
const SOP_CLASSES: &[Tag] = &[Tag(0x0008, 0x0062)];
const STEP_ID: &[Tag] = &[Tag(0x0040, 0x0275), Tag(0x0040, 0x0009)];
const PROCEDURE_ID: &[Tag] = &[Tag(0x0040, 0x0275), Tag(0x0040, 0x1001)];

fn series(t: u32, s: u32, modality: &str) -> Arrival {
    let mut a = arrival(t, s, 1);
    a.series.put_text(Tag(0x0008, 0x0060), VR::CS, modality);
    if modality == "SR" {
        a.head.sop_class_uid = uid(crate::SR);
    }
    a
}

fn study(t: u32, names: [&str; 3], id: &str, date: &str, time: &str) -> Arrival {
    let mut a = series(t, 1, "CT");
    a.patient = Attributes::default();
    a.patient.0.insert(Tag(0x0010, 0x0010), name(names[0], names[1], names[2]));
    a.patient.put_text(Tag(0x0010, 0x0020), VR::LO, id);
    a.patient.put_text(Tag(0x0010, 0x0030), VR::DA, format!("19{t}00101"));
    for (tag, vr, text) in [(STUDY_DATE[0], VR::DA, date), (STUDY_TIME[0], VR::TM, time)] {
        a.study.0.remove(&tag);
        if !text.is_empty() {
            a.study.put_text(tag, vr, text);
        }
    }
    a
}

/// Answers come as 3, 2, 1, 5, 4: by date descending, the undated one last.
async fn five() -> Fixture {
    let f = fixture().await;
    let mut first = study(1, ["Müller^Jörg", "", ""], "A-1", "20240110", "080000");
    first.study.put_text(Tag(0x0008, 0x1030), VR::LO, "CT Head 50%_x");
    first.study.0.insert(Tag(0x0008, 0x0090), name("House^Gregory", "", ""));
    first.study.put_text(Tag(0x0020, 0x0010), VR::SH, "ID1");
    first.study.put_text(Tag(0x0008, 0x1080), VR::LO, "Fracture");
    first.series.0.insert(STEP_ID[0], requests());
    first.series.put_text(Tag(0x0040, 0x0244), VR::DA, "20240111");
    first.series.put_text(Tag(0x0040, 0x0245), VR::TM, "09");
    let mut second = study(2, ["Wang^XiaoDong", "王^小東", ""], "A_2", "20240115", "235959.5");
    second.series.put_text(Tag(0x0008, 0x0060), VR::CS, "MR");
    let third = study(3, ["Yamada^Tarou", "山田^太郎", "やまだ^たろう"], "a-1", "20240120", "");
    let fourth = study(4, ["O'Hara^Scarlett", "", ""], "100%", "", "103000");
    let fifth = study(5, ["MULLER^JOERG^M", "", ""], "P5", "20240110", "120000");
    let batch = [first, second, series(2, 7, "SR"), third, fourth, fifth];
    f.index.apply(JOURNAL, &batch, Lsn(1)).await.unwrap();
    f
}

fn requests() -> Attribute {
    let item = |step: &str, procedure: &str| {
        let mut item = Attributes::default();
        item.put_text(STEP_ID[1], VR::SH, step);
        item.put_text(PROCEDURE_ID[1], VR::SH, procedure);
        item
    };
    Attribute { vr: VR::SQ, value: Value::Sequence(vec![item("S1", "R1"), item("S2", "R2")]) }
}

fn query(level: Level, keys: &[(&[Tag], &str)], combined_date_time: bool) -> Query {
    let keys = keys.iter().filter_map(|(path, raw)| {
        let path = TagPath(path.to_vec());
        let vr = known_key(&path).unwrap().vr;
        let matching = Matching::parse(&path, vr, raw).unwrap()?;
        Some(Key { path, matching })
    });
    Query { level, keys: keys.collect(), limit: None, offset: 0, combined_date_time }
}

/// The numbers of the studies that match.
async fn found(f: &Fixture, query: &Query) -> String {
    let found = search(&f.index, query).await;
    let numbers = texts(&found, STUDY_UID[0]);
    numbers.iter().map(|uid| uid.trim_start_matches("1.2.826.")).collect::<Vec<_>>().join(" ")
}

async fn check(f: &Fixture, vectors: &[(&[Tag], &str, &str)]) {
    for (path, raw, expected) in vectors {
        let answer = found(f, &query(Level::Study, &[(path, raw)], false)).await;
        assert_eq!(&answer, expected, "{path:?} {raw}");
    }
}

#[tokio::test]
async fn names() {
    // QR-022, QR-050, QR-021
    let f = five().await;
    check(
        &f,
        &[
            (PATIENT_NAME, "Müller^Jörg", "1"),
            (PATIENT_NAME, "MULLER^jorg^^^", "1"),
            (PATIENT_NAME, "muller*", "1 5"),
            (PATIENT_NAME, "muller^*", "1 5"),
            (PATIENT_NAME, "muller^jorg^*", "1"),
            (PATIENT_NAME, "m?ller^j*", "1 5"),
            (PATIENT_NAME, "muller", ""),
            (PATIENT_NAME, "*王*", "2"),
            (PATIENT_NAME, "*ULL?r*", "1 5"),
            (PATIENT_NAME, "*ller^*", "1 5"),
            (PATIENT_NAME, "*ller^jörg^*", "1"),
            (PATIENT_NAME, "?uller^j*", "1 5"),
            (PATIENT_NAME, "*el*ul*", ""),
            (PATIENT_NAME, "*a*=*田*", "3"),
            (PATIENT_NAME, "*r*", "3 1 5 4"),
            (PATIENT_NAME, "王^小東", "2"),
            (PATIENT_NAME, "王^?東", "2"),
            (PATIENT_NAME, "*たろう", "3"),
            (PATIENT_NAME, "=山田*", "3"),
            (PATIENT_NAME, "Yamada*=山田*=やまだ*", "3"),
            (PATIENT_NAME, "Yamada*=王*", ""),
            (PATIENT_NAME, "=やまだ*", ""),
            (PATIENT_NAME, "o'hara^scarlett", "4"),
            (PATIENT_NAME, "%", ""),
            (&[Tag(0x0008, 0x0090)], "house*", "1"),
        ],
    )
    .await;
}

#[tokio::test]
async fn text_and_uids() {
    // QR-021, QR-024, QR-025, QR-031, QR-035, QR-038
    let f = five().await;
    check(
        &f,
        &[
            (PATIENT_ID, "A-1", "1"),
            (PATIENT_ID, "a-1 ", "3"),
            (PATIENT_ID, "A?*", "2 1"),
            (PATIENT_ID, "A_*", "2"),
            (PATIENT_ID, "100%", "4"),
            (PATIENT_ID, "1%", ""),
            (ACCESSION_NUMBER, "A3", "3"),
            (ACCESSION_NUMBER, "A[1-3]", ""),
            (&[Tag(0x0008, 0x1030)], "*50%_x", "1"),
            (&[Tag(0x0008, 0x1030)], "*50%?x*", "1"),
            (&[Tag(0x0008, 0x1080)], "Frac*", "1"),
            (&[Tag(0x0020, 0x0010)], "ID1", "1"),
            (&[Tag(0x0020, 0x0010)], "?*", "1"),
            (&[Tag(0x0010, 0x0030)], "19200101-19300101", "3 2"),
            (STUDY_UID, r"1.2.826.4\1.2.826.5\9.9", "5 4"),
            (STUDY_UID, "1.2.826.1,1.2.826.2", "2 1"),
        ],
    )
    .await;
}

#[tokio::test]
async fn dates_and_times() {
    // QR-026, QR-027, QR-028, WE-054
    let f = five().await;
    check(
        &f,
        &[
            (STUDY_DATE, "20240110", "1 5"),
            (STUDY_DATE, "2024.01.10", "1 5"),
            (STUDY_DATE, "20240110-20240115", "2 1 5"),
            (STUDY_DATE, "20240115-", "3 2"),
            (STUDY_DATE, "20231201-20240231", "3 2 1 5"),
            (STUDY_DATE, "20231131-20240110", "1 5"),
            (STUDY_DATE, "-20240114", "1 5"),
            (STUDY_TIME, "08", "1"),
            (STUDY_TIME, "0800", "1"),
            (STUDY_TIME, "080001", ""),
            (STUDY_TIME, "235959", "2"),
            (STUDY_TIME, "08-10", "1 4"),
            (STUDY_TIME, "12:00:00-", "2 5"),
        ],
    )
    .await;
    let both: &[(&[Tag], &str)] = &[(STUDY_DATE, "20240110-20240115"), (STUDY_TIME, "1100-1200")];
    assert_eq!(found(&f, &query(Level::Study, both, false)).await, "5");
    assert_eq!(found(&f, &query(Level::Study, both, true)).await, "5");
    let over_days: &[(&[Tag], &str)] = &[(STUDY_DATE, "20240110-20240120"), (STUDY_TIME, "1100-")];
    assert_eq!(found(&f, &query(Level::Study, over_days, false)).await, "2 5");
    assert_eq!(found(&f, &query(Level::Study, over_days, true)).await, "3 2 5");
    let start: &[(&[Tag], &str)] = &[(&[Tag(0x0040, 0x0244)], "20240110-20240112"), (&[Tag(0x0040, 0x0245)], "23-")];
    assert_eq!(found(&f, &query(Level::Series, start, false)).await, "");
    assert_eq!(found(&f, &query(Level::Series, start, true)).await, "1");
}

#[tokio::test]
async fn modalities_classes_and_requests() {
    // QR-037, QR-063, QR-031, WE-051
    let f = five().await;
    check(
        &f,
        &[
            (MODALITIES, "SR", "2"),
            (MODALITIES, r"MR\US", "2"),
            (MODALITIES, "CT,SR", "3 2 1 5 4"),
            (MODALITIES, "S*", "2"),
            (MODALITIES, "OT", ""),
            (MODALITIES, "CT", "3 1 5 4"),
            (MODALITIES, r"OT\XX", ""),
            (SOP_CLASSES, crate::SR, "2"),
        ],
    )
    .await;
    let both = search(&f.index, &query(Level::Study, &[(STUDY_UID, "1.2.826.2")], false)).await;
    let expected = Value::Text(vec!["MR".into(), "SR".into()]);
    assert_eq!(both[0].get(MODALITIES[0]).unwrap().value, expected);
    for (step, procedure, expected) in
        [("S1", "R1", "1"), ("S2", "R2", "1"), ("S1", "R2", ""), ("S*", "", "1"), ("", "R1", "1")]
    {
        let keys: &[(&[Tag], &str)] = &[(STEP_ID, step), (PROCEDURE_ID, procedure)];
        assert_eq!(found(&f, &query(Level::Series, keys, false)).await, expected, "{step} {procedure}");
    }
}

#[tokio::test]
async fn levels_above_restrict_and_levels_below_do_not() {
    // QR-013, WE-052, WE-064, QR-023
    let f = five().await;
    let number: &[Tag] = &[Tag(0x0020, 0x0011)];
    for (level, keys, expected) in [
        (Level::Study, [(number, "7")].as_slice(), "3 2 1 5 4"),
        (Level::Series, &[(number, "+007")], "2"),
        (Level::Series, &[(PATIENT_NAME, "wang*")], "2 2"),
        (Level::Series, &[(STUDY_DATE, "20240110"), (&[Tag(0x0008, 0x0060)], "C?")], "1 5"),
        (Level::Instance, &[(PATIENT_ID, "A_2"), (&[Tag(0x0008, 0x0016)], crate::SR)], "2"),
        (Level::Instance, &[(&[Tag(0x0008, 0x0018)], "1.2.826.3.1.1")], "3"),
        (Level::Instance, &[(&[Tag(0x0008, 0x0018)], "9.9")], ""),
        (Level::Instance, &[(&[Tag(0x0020, 0x0013)], "01"), (ACCESSION_NUMBER, "A5")], "5"),
        (Level::Instance, &[(&[Tag(0x0028, 0x0010)], "512"), (&[Tag(0x0020, 0x000E)], "1.2.826.4.1")], "4"),
        (Level::Instance, &[(&[Tag(0x0028, 0x0010)], "513")], ""),
    ] {
        let query = query(level, keys, false);
        assert_eq!(found(&f, &query).await, expected, "{level:?} {keys:?}");
    }
    let below = query(Level::Study, &[(number, "7"), (STUDY_DATE, "20240110")], false);
    assert_eq!(below.unsupported().map(|key| key.path.0.as_slice()).collect::<Vec<_>>(), [number]);
}

#[tokio::test]
async fn answers_are_complete_at_every_level() {
    // WE-061, WE-062, WE-063, WE-064, QR-060 to QR-063
    let f = five().await;
    let of = |level| query(level, &[(STUDY_UID, "1.2.826.2")], false);
    let instance = search(&f.index, &of(Level::Instance)).await;
    assert_eq!(instance.len(), 2);
    for (tag, expected) in [
        (Tag(0x0008, 0x0016), crate::CT),
        (Tag(0x0008, 0x0018), "1.2.826.2.1.1"),
        (Tag(0x0020, 0x000E), "1.2.826.2.1"),
        (Tag(0x0020, 0x000D), "1.2.826.2"),
        (Tag(0x0008, 0x0056), "ONLINE"),
        (Tag(0x0020, 0x0013), "1"),
        (Tag(0x0020, 0x1206), "2"),
        (Tag(0x0020, 0x1208), "2"),
        (Tag(0x0020, 0x1209), "1"),
        (Tag(0x0010, 0x0020), "A_2"),
        (Tag(0x0008, 0x0060), "MR"),
        (Tag(0x0008, 0x3002), "1.2.840.10008.1.2.1"),
    ] {
        assert_eq!(instance[0].text(tag), Some(expected), "{tag}");
    }
    assert_eq!(instance[0].integer(Tag(0x0028, 0x0010)), Some(512));
    let patients = search(&f.index, &query(Level::Patient, &[(PATIENT_ID, "A_2")], false)).await;
    for (tag, expected) in [(Tag(0x0020, 0x1200), "1"), (Tag(0x0020, 0x1202), "2"), (Tag(0x0020, 0x1204), "2")] {
        assert_eq!(patients[0].text(tag), Some(expected), "{tag}");
    }
    assert_eq!(patients[0].get(STUDY_UID[0]), None);
}

#[tokio::test]
async fn pages_are_stable_and_complete() {
    // WE-057, WE-070
    let f = fixture().await;
    let batch: Vec<Arrival> = (0..1_300).map(|t| arrival(t, 1, 1)).collect();
    f.index.apply(JOURNAL, &batch, Lsn(1)).await.unwrap();
    for (level, tag) in [
        (Level::Patient, PATIENT_ID[0]),
        (Level::Study, STUDY_UID[0]),
        (Level::Series, Tag(0x0020, 0x000E)),
        (Level::Instance, Tag(0x0008, 0x0018)),
    ] {
        let whole = texts(&search(&f.index, &query(level, &[], false)).await, tag);
        let distinct: std::collections::BTreeSet<&String> = whole.iter().collect();
        assert_eq!((whole.len(), distinct.len()), (1_300, 1_300), "{level:?}");
        let mut paged = Vec::new();
        for offset in (0..1_300).step_by(520) {
            let page = Query { limit: Some(520), offset, ..query(level, &[], false) };
            paged.extend(texts(&search(&f.index, &page).await, tag));
        }
        assert!(paged == whole, "{level:?}: pages differ from the whole");
        let beyond = Query { offset: 1_300, ..query(level, &[], false) };
        assert!(search(&f.index, &beyond).await.is_empty(), "{level:?}");
        let none = Query { limit: Some(0), ..query(level, &[], false) };
        assert!(search(&f.index, &none).await.is_empty(), "{level:?}");
    }
    // A key that is matched in memory pages alike.
    let in_memory = query(Level::Study, &[(&[Tag(0x0010, 0x0032)], "-235959")], false);
    assert!(search(&f.index, &in_memory).await.is_empty());
}

#[tokio::test]
async fn what_many_have_is_found_as_what_few_have() {
    // QR-037, QR-050, WE-058
    let f = fixture().await;
    let mut batch: Vec<Arrival> = (0..1_300).map(|t| arrival(t, 1, 1)).collect();
    batch.extend([series(7, 2, "MR"), series(1_200, 2, "SR"), series(1_200, 3, "MR")]);
    f.index.apply(JOURNAL, &batch, Lsn(1)).await.unwrap();
    let whole = found(&f, &query(Level::Study, &[], false)).await;
    for (path, many) in [(MODALITIES, r"CT\MR"), (MODALITIES, r"XX\CT"), (PATIENT_NAME, "*oh*")] {
        let query = query(Level::Study, &[(path, many)], false);
        assert!(found(&f, &query).await == whole, "{many}");
        assert_eq!(f.index.count(&query, 10_000).await.unwrap(), Some(1_300), "{many}");
        assert_eq!(f.index.count(&Query { offset: 1_250, ..query }, 100).await.unwrap(), Some(50), "{many}");
    }
    for (keys, few) in [
        (&[(MODALITIES, r"MR\SR")][..], "1200 7"),
        (&[(MODALITIES, r"MR\SR"), (STUDY_DATE, "20240108")][..], "7"),
        (&[(MODALITIES, r"MR\CT"), (PATIENT_NAME, "*oe1200^*")][..], "1200"),
    ] {
        let query = query(Level::Study, keys, false);
        assert_eq!(found(&f, &query).await, few, "{keys:?}");
        assert_eq!(f.index.count(&query, 100).await.unwrap(), u64::try_from(few.split(' ').count()).ok(), "{keys:?}");
    }
}

#[tokio::test]
async fn a_name_of_few_goes_with_other_keys_of_the_patient() {
    let f = five().await;
    let birth_date: &[Tag] = &[Tag(0x0010, 0x0030)];
    for (key, value, expected) in [
        (birth_date, "19100101", "1"),
        (birth_date, "19200101", ""),
        (PATIENT_ID, "P5", "5"),
        (STUDY_TIME, "08-09", "1"),
    ] {
        for keys in [[(PATIENT_NAME, "*ull*"), (key, value)], [(key, value), (PATIENT_NAME, "*ull*")]] {
            let query = query(Level::Study, &keys, false);
            assert_eq!(found(&f, &query).await, expected, "{keys:?}");
            let count = u64::try_from(expected.len()).unwrap();
            assert_eq!(f.index.count(&query, 10).await.unwrap(), Some(count), "{keys:?}");
        }
    }
    let series = query(Level::Series, &[(PATIENT_NAME, "*王*")], false);
    assert_eq!(found(&f, &series).await, "2 2");
    let instances = query(Level::Instance, &[(PATIENT_NAME, "*王*"), (PATIENT_ID, "A_2")], false);
    assert_eq!(found(&f, &instances).await, "2 2");
}

#[tokio::test]
async fn a_name_of_many_is_the_one_that_the_patient_has() {
    // QR-050, QR-066
    let f = fixture().await;
    let named = |t: u32, ideographic: &str, patient: u32| {
        let mut a = arrival(t, 1, 1);
        a.patient.put_text(PATIENT_ID[0], VR::LO, format!("P{patient}"));
        a.patient.0.insert(PATIENT_NAME[0], name(&format!("Doe{patient}"), ideographic, ""));
        a
    };
    // More than are looked up, and some whose bits are among those of the key.
    let mut batch: Vec<Arrival> = (0..1_100).map(|t| named(t, "王^小東", t)).collect();
    batch.extend((1_100..1_160).map(|t| named(t, "李^小王八", t)));
    let others = ["", "王", "東^小", "王^東小"].into_iter().cycle();
    batch.extend((1_160..1_300).zip(others).map(|(t, other)| named(t, other, t)));
    f.index.apply(JOURNAL, &batch, Lsn(1)).await.unwrap();
    // A patient keeps the name that came first: 1400 is found by it, 1401 is not by its own.
    f.index.apply(JOURNAL, &[named(1_400, "李", 7), named(1_401, "王^小東", 1_101)], Lsn(2)).await.unwrap();
    let whole = found(&f, &query(Level::Study, &[], false)).await;
    let has = |uid: &&str| uid.parse::<u32>().is_ok_and(|t| t < 1_100 || t == 1_400);
    let expected: Vec<&str> = whole.split(' ').filter(has).collect();
    assert_eq!(expected.len(), 1_101);
    let database = sqlx::PgPool::connect_with(f.options.clone()).await.unwrap();
    // As they are made; some of an older schema; all of it.
    for forget in ["where false", "where id % 3 = 0", ""] {
        let forget = sqlx::AssertSqlSafe(format!("update study set name_bits = null {forget}"));
        sqlx::raw_sql(forget).execute(&database).await.unwrap();
        for key in ["*王^小東*", "*小東", "?^小東"] {
            let query = query(Level::Study, &[(PATIENT_NAME, key)], false);
            assert!(found(&f, &query).await == expected.join(" "), "{key}");
            let page = Query { limit: Some(5), offset: 1_000, ..query };
            assert_eq!(found(&f, &page).await, expected[1_000..1_005].join(" "), "{key}");
            let dated = [(PATIENT_NAME, key), (STUDY_DATE, "20240108"), (MODALITIES, "CT")];
            let dated = found(&f, &self::query(Level::Study, &dated, false)).await;
            let of_day = |uid: &&&str| uid.parse::<u32>().is_ok_and(|t| t % 28 == 7);
            assert_eq!(dated, expected.iter().filter(of_day).copied().collect::<Vec<_>>().join(" "), "{key}");
        }
        let series = query(Level::Series, &[(PATIENT_NAME, "*小東*")], false);
        assert_eq!(search(&f.index, &series).await.len(), expected.len());
    }
    database.close().await;
}

#[tokio::test]
async fn sealed_studies_match_as_unsealed_ones() {
    let f = five().await;
    let keys: &[&[(&[Tag], &str)]] = &[
        &[(PATIENT_NAME, "*王*")],
        &[(&[Tag(0x0028, 0x0010)], "512")],
        &[(&[Tag(0x0008, 0x0018)], r"1.2.826.2.7.1\1.2.826.3.1.1")],
        &[(&[Tag(0x0008, 0x0016)], crate::SR)],
    ];
    let mut before = Vec::new();
    for keys in keys {
        before.push(search(&f.index, &query(Level::Instance, keys, false)).await);
    }
    let container = pack(&f.index, &[uid("1.2.826.2"), uid("1.2.826.3")], 1).await;
    f.index.seal(&container).await.unwrap();
    for (keys, before) in keys.iter().zip(before) {
        assert!(!before.is_empty());
        assert_eq!(search(&f.index, &query(Level::Instance, keys, false)).await, before, "{keys:?}");
    }
}
