//! WADO-RS: bulk data.

use std::collections::HashMap;
use std::sync::Arc;

use crate::fake::{BASE, EXPLICIT, Fake, JPEG, State, kept};

const PATH: &str = "/studies/1.2/series/1.2.1/instances/1.2.1.1/bulkdata";

fn fake(syntax: &str) -> Fake {
    let bulk = HashMap::from([
        ("54000100/0/54001010".to_owned(), "waveform".into()),
        ("00420011".to_owned(), "%PDF-1.7".into()),
        ("7FE00010".to_owned(), "native pixels".into()),
    ]);
    Fake(Arc::new(State { instances: vec![kept(1, 1, syntax)], bulk, ..State::default() }))
}

#[tokio::test]
async fn values_alone_and_in_a_part() {
    // WE-103, WE-130, OHIF 2.1 row 9
    let path = format!("{PATH}/54000100/0/54001010");
    let alone = fake(EXPLICIT).get(&path, &[("accept", "application/octet-stream")]).await;
    assert_eq!((alone.text(), alone.header("content-length")), ("waveform", "8"));
    assert_eq!(alone.header("content-type"), "application/octet-stream");
    assert_eq!(alone.header("content-location"), format!("{BASE}{path}"));
    for accept in ["*/*", "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*"] {
        let parts = fake(EXPLICIT).get(&path, &[("accept", accept)]).await.parts();
        assert_eq!(&parts[0].1[..], b"waveform", "{accept}");
        assert_eq!(parts[0].0["content-location"], format!("{BASE}{path}"));
    }
    let status = async |path: &str, accept| fake(EXPLICIT).get(path, &[("accept", accept)]).await.status.as_u16();
    assert_eq!(status(&path, "image/png").await, 406);
    assert_eq!(status(&format!("{PATH}/00091001"), "*/*").await, 404);
    assert_eq!(status(&format!("{PATH}/x"), "*/*").await, 400);
}

#[tokio::test]
async fn documents_are_pdf_if_they_are() {
    // OHIF 2.1 row 8
    let accept = "multipart/related; type=\"application/pdf\", multipart/related; type=\"application/octet-stream\"";
    let parts = fake(EXPLICIT).get(&format!("{PATH}/00420011"), &[("accept", accept)]).await.parts();
    assert_eq!((parts[0].0["content-type"].as_str(), &parts[0].1[..]), ("application/pdf", &b"%PDF-1.7"[..]));
}

#[tokio::test]
async fn pixel_data_is_one_value_or_its_frames() {
    // WE-102, WE-122
    let path = format!("{PATH}/7FE00010");
    let native = fake(EXPLICIT).get(&path, &[]).await.parts();
    assert_eq!(&native[0].1[..], b"native pixels");
    let coded = fake(JPEG).get(&path, &[]).await.parts();
    assert_eq!(coded.len(), 3);
    assert_eq!(coded[2].0["content-type"], format!("image/jpeg; transfer-syntax={JPEG}"));
    assert_eq!(&coded[2].1[..], b"frame 3 of 1");
}

#[tokio::test]
async fn ranges_of_a_single_body() {
    // WE-036
    let path = format!("{PATH}/54000100/0/54001010");
    let get =
        async |range| fake(EXPLICIT).get(&path, &[("accept", "application/octet-stream"), ("range", range)]).await;
    let part = get("bytes=1-3").await;
    assert_eq!((part.status.as_u16(), part.text(), part.header("content-range")), (206, "ave", "bytes 1-3/8"));
    assert_eq!(part.header("content-length"), "3");
    let none = get("bytes=8-").await;
    assert_eq!((none.status.as_u16(), none.header("content-range")), (416, "bytes */8"));
}
