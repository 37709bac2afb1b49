//! QIDO-RS.

use archive::double::State;
use axum::body::Body;
use dicom_core::{Tag, VR};
use dicom_data::query::{Level, Matching};
use dicom_data::{Attribute, Attributes, Value};
use dicom_dictionary_std::tags;
use dicomweb::{EmptySearch, Options};

use crate::server::{Answer, BASE, Server, request};

/// A match with attributes of all levels, as the archive gives them.
fn found(n: usize) -> Attributes {
    let mut found = Attributes::default();
    for (tag, vr, value) in [
        (tags::STUDY_INSTANCE_UID, VR::UI, format!("1.{n}")),
        (tags::SERIES_INSTANCE_UID, VR::UI, format!("1.{n}.1")),
        (tags::SOP_INSTANCE_UID, VR::UI, format!("1.{n}.1.1")),
        (tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.2".to_owned()),
        (tags::STUDY_DESCRIPTION, VR::LO, "head".to_owned()),
        (tags::MODALITIES_IN_STUDY, VR::CS, "CT".to_owned()),
        (tags::MODALITY, VR::CS, "CT".to_owned()),
        (tags::SERIES_DESCRIPTION, VR::LO, "axial".to_owned()),
        (tags::INSTITUTION_NAME, VR::LO, "elsewhere".to_owned()),
    ] {
        found.put_text(tag, vr, value);
    }
    found.0.insert(tags::ROWS, Attribute { vr: VR::US, value: Value::Integers(vec![512]) });
    found
}

fn server(matches: Vec<Attributes>) -> Server {
    Server::of(State { matches: Some(matches), ..State::default() })
}

async fn search(path: &str) -> Answer {
    let answer = server(vec![found(1)]).get(path, &[]).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer
}

fn keys(object: &serde_json::Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn studies_have_what_viewers_need() {
    // WE-061, WE-068
    let answer = search("/studies").await;
    assert_eq!(answer.header("content-type"), "application/dicom+json");
    assert_eq!(answer.header("content-location"), "");
    let json = answer.json();
    let study = &json[0];
    assert_eq!(
        keys(study),
        [
            "00080020", "00080030", "00080050", "00080061", "00080090", "00081190", "00100010", "00100020", "00100030",
            "00100040", "0020000D", "00200010", "00201206", "00201208",
        ]
    );
    assert_eq!(study["00080020"], serde_json::json!({"vr": "DA"}));
    assert_eq!(study["00100010"], serde_json::json!({"vr": "PN"}));
    assert_eq!(study["00081190"]["Value"][0], format!("{BASE}/studies/1.1"));
}

#[tokio::test]
async fn modalities_are_never_without_value() {
    // OHIF 2.2.1
    let mut none = found(1);
    none.0.remove(&tags::MODALITIES_IN_STUDY);
    none.0.remove(&tags::MODALITY);
    let mut empty = found(2);
    for tag in [tags::MODALITIES_IN_STUDY, tags::MODALITY] {
        empty.0.insert(tag, Attribute { vr: VR::CS, value: Value::Empty });
    }
    let mut blank = found(3);
    blank.put_text(tags::MODALITIES_IN_STUDY, VR::CS, " ");
    blank.put_text(tags::MODALITY, VR::CS, "");
    let server = server(vec![none, empty, blank]);
    for path in ["/studies?includefield=00080061", "/series?includefield=all"] {
        let json = server.get(path, &[]).await.json();
        assert_eq!(json.as_array().unwrap().len(), 3);
        for object in json.as_array().unwrap() {
            assert!(object.get("00080061").is_none() && object.get("00080060").is_none(), "{object}");
        }
    }
}

#[tokio::test]
async fn levels_below_are_added_to_what_the_path_does_not_name() {
    // WE-062, WE-063, WE-064
    let has = async |path: &str, tag: &str| !search(path).await.json()[0][tag].is_null();
    for (path, shown, hidden) in [
        ("/studies", "0020000D", "0020000E"),
        ("/series", "00100010", "00080018"),
        ("/studies/1.1/series", "00080060", "00100010"),
        ("/instances", "00100010", "00081030"),
        ("/instances", "00080060", "00081030"),
        ("/studies/1.1/instances", "00080060", "00100010"),
        ("/studies/1.1/series/1.1.1/instances", "00280010", "00080060"),
    ] {
        assert!(has(path, shown).await, "{path} {shown}");
        assert!(!has(path, hidden).await, "{path} {hidden}");
    }
    let url = |json: serde_json::Value| json[0]["00081190"]["Value"][0].as_str().unwrap().to_owned();
    assert_eq!(url(search("/series").await.json()), format!("{BASE}/studies/1.1/series/1.1.1"));
    let below = "/studies/1.1/series/1.1.1/instances/1.1.1.1";
    assert_eq!(url(search("/instances").await.json()), format!("{BASE}{below}"));
}

#[tokio::test]
async fn fields_are_included() {
    // WE-056, OHIF 2.2.5
    let json = search("/studies?includefield=00081030%2C00080060&includefield=InstitutionName").await.json();
    assert_eq!(json[0]["00081030"]["Value"][0], "head");
    assert_eq!(json[0]["00080080"]["Value"][0], "elsewhere");
    assert!(json[0].get("00080060").is_none(), "of a lower level");
    let json = search("/studies?StudyDescription=head").await.json();
    assert_eq!(json[0]["00081030"]["Value"][0], "head", "a key comes back");
}

#[tokio::test]
async fn keys_and_paging_reach_the_archive() {
    // WE-050, WE-052, WE-054, WE-057
    let server = server(vec![]);
    let path = "/studies/1.2/series/1.3/instances?PatientName=TCG%2A&StudyDate=20040101-20041231&offset=5&limit=7";
    assert_eq!(server.get(path, &[]).await.status, 200);
    let queries = server.0.state().queries.clone();
    let query = &queries[0];
    assert_eq!((query.level, query.offset, query.limit), (Level::Instance, 5, Some(8)));
    assert!(query.combined_date_time);
    let keys: Vec<(Tag, Matching)> = query.keys.iter().map(|k| (k.path.0[0], k.matching.clone())).collect();
    let single = |text: &str| Matching::Single(text.into());
    assert_eq!(
        keys,
        [
            (tags::STUDY_INSTANCE_UID, single("1.2")),
            (tags::SERIES_INSTANCE_UID, single("1.3")),
            (tags::PATIENT_NAME, Matching::WildCard("TCG*".into())),
            (tags::STUDY_DATE, Matching::Range(Some("20040101".into()), Some("20041231".into()))),
        ]
    );
}

#[tokio::test]
async fn more_results_are_announced() {
    // WE-058, WE-059, WE-070
    let server = server((0..20).map(found).collect());
    let more = |n| format!("299 {BASE}: There are {n} additional results that can be requested");
    let check = async |path: &str, page_max: u64, matches: usize, warning: &str| {
        let options = Options { page_max, ..Options::default() };
        let answer = Answer::of(server.send_with(options, request("GET", path, &[], Body::empty())).await).await;
        assert_eq!(answer.json().as_array().unwrap().len(), matches, "{path}");
        assert_eq!(answer.header("warning"), warning, "{path}");
    };
    check("/studies?limit=5", 100, 5, &more(15)).await;
    check("/studies?limit=5&offset=14", 100, 5, &more(1)).await;
    check("/studies?limit=5&offset=15", 100, 5, "").await;
    check("/studies?limit=20", 100, 20, "").await;
    check("/studies", 10, 10, &more(10)).await;
    check("/studies?limit=50", 10, 10, &more(10)).await;
    check("/studies?limit=0", 100, 0, &more(20)).await;
    check("/studies?offset=20", 100, 0, "").await;
    let uncounted =
        Server::of(State { matches: Some((0..20).map(found).collect()), uncounted: true, ..State::default() });
    for (path, n) in [("/studies?limit=5", 1), ("/studies?limit=0", 20)] {
        assert_eq!(uncounted.get(path, &[]).await.header("warning"), more(n), "{path}");
    }
}

#[tokio::test]
async fn nothing_found() {
    // WE-060
    let answer = server(vec![]).get("/studies", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "[]"));
    let options = Options { empty_search: EmptySearch::NoContent, ..Options::default() };
    let answer = server(vec![]).send_with(options, request("GET", "/studies", &[], Body::empty())).await;
    assert_eq!(answer.status(), 204);
}

#[tokio::test]
async fn fuzzy_matching_is_literal_and_said_so() {
    // WE-065
    let answer = search("/studies?fuzzymatching=true&limit=101&offset=0&PatientName=*TCGA*").await;
    let text = "The fuzzymatching parameter is not supported. Only literal matching has been performed.";
    assert_eq!(answer.header("warning"), format!("299 {BASE}: {text}"));
    assert_eq!(search("/studies?fuzzymatching=false").await.header("warning"), "");
}

#[tokio::test]
async fn refusals_do_not_repeat_values() {
    // WE-020, WE-054
    let answer = server(vec![]).get("/studies?StudyDate=2024*&PatientName=SECRET", &[]).await;
    assert_eq!(answer.status, 400);
    assert!(!answer.text().contains("2024*") && !answer.text().contains("SECRET"), "{}", answer.text());
    assert!(answer.text().contains("00080020"), "{}", answer.text());
}
