//! WADO-RS: bulk data.

use std::collections::BTreeMap;

use archive::double::Instance;
use bytes::Bytes;

use crate::server::{BASE, EXPLICIT, JPEG, Server, instance};

const PATH: &str = "/studies/1.2/series/1.2.1/instances/1.2.1.1/bulkdata";

fn values() -> BTreeMap<String, Bytes> {
    BTreeMap::from([
        ("54000100/0/54001010".to_owned(), "waveform".into()),
        ("00420011".to_owned(), "%PDF-1.7".into()),
        ("7FE00010".to_owned(), "native pixels".into()),
    ])
}

fn server(syntax: &str) -> Server {
    Server::with(vec![Instance { bulk: values(), ..instance(1, 1, syntax) }])
}

#[tokio::test]
async fn values_alone_and_in_a_part() {
    // WE-103, WE-130, OHIF 2.1 row 9
    let path = format!("{PATH}/54000100/0/54001010");
    let alone = server(EXPLICIT).get(&path, &[("accept", "application/octet-stream")]).await;
    assert_eq!((alone.text(), alone.header("content-length")), ("waveform", "8"));
    assert_eq!(alone.header("content-type"), "application/octet-stream");
    assert_eq!(alone.header("content-location"), format!("{BASE}{path}"));
    for accept in ["*/*", "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*"] {
        let parts = server(EXPLICIT).get(&path, &[("accept", accept)]).await.parts();
        assert_eq!(&parts[0].1[..], b"waveform", "{accept}");
        assert_eq!(parts[0].0["content-location"], format!("{BASE}{path}"));
    }
    let status = async |path: &str, accept| server(EXPLICIT).get(path, &[("accept", accept)]).await.status.as_u16();
    assert_eq!(status(&path, "image/png").await, 406);
    assert_eq!(status(&format!("{PATH}/00091001"), "*/*").await, 404);
    assert_eq!(status(&format!("{PATH}/x"), "*/*").await, 400);
}

#[tokio::test]
async fn documents_are_pdf_if_they_are() {
    // OHIF 2.1 row 8
    let accept = "multipart/related; type=\"application/pdf\", multipart/related; type=\"application/octet-stream\"";
    let parts = server(EXPLICIT).get(&format!("{PATH}/00420011"), &[("accept", accept)]).await.parts();
    assert_eq!((parts[0].0["content-type"].as_str(), &parts[0].1[..]), ("application/pdf", &b"%PDF-1.7"[..]));
}

#[tokio::test]
async fn pixel_data_is_one_value_or_its_frames() {
    // WE-102, WE-122
    let path = format!("{PATH}/7FE00010");
    let native = server(EXPLICIT).get(&path, &[]).await.parts();
    assert_eq!(&native[0].1[..], b"native pixels");
    let coded = server(JPEG).get(&path, &[]).await.parts();
    assert_eq!(coded.len(), 3);
    assert_eq!(coded[2].0["content-type"], format!("image/jpeg; transfer-syntax={JPEG}"));
    assert_eq!(&coded[2].1[..], b"frame 3 of 1");
}

#[tokio::test]
async fn ranges_of_a_single_body() {
    // WE-036
    let path = format!("{PATH}/54000100/0/54001010");
    let get =
        async |range| server(EXPLICIT).get(&path, &[("accept", "application/octet-stream"), ("range", range)]).await;
    let part = get("bytes=1-3").await;
    assert_eq!((part.status.as_u16(), part.text(), part.header("content-range")), (206, "ave", "bytes 1-3/8"));
    assert_eq!(part.header("content-length"), "3");
    let none = get("bytes=8-").await;
    assert_eq!((none.status.as_u16(), none.header("content-range")), (416, "bytes */8"));
}

#[tokio::test]
async fn all_values_of_a_study_series_or_instance() {
    // WE-080, WE-129
    let octets = "multipart/related; type=\"application/octet-stream\"";
    let stored = format!("{octets}; transfer-syntax=*");
    let mut instances = vec![instance(1, 1, EXPLICIT), instance(1, 2, JPEG), instance(2, 1, EXPLICIT)];
    for instance in &mut instances {
        instance.bulk = values();
        let uri = |path| {
            format!("{{\"vr\":\"OB\",\"BulkDataURI\":\"\u{1}/studies/1/series/2/instances/3/bulkdata/{path}\"}}")
        };
        instance.metadata = format!("{{\"00420011\":{},\"7FE00010\":{}}}", uri("00420011"), uri("7FE00010")).into();
    }
    let empty = instance(3, 1, EXPLICIT);
    instances.push(archive_metadata_without_bulk(empty));
    let server = Server::with(instances);
    let all = server.get("/studies/1.2", &[("accept", &stored)]).await;
    assert_eq!(all.status, 200);
    assert!(all.header("content-type").starts_with("multipart/related; type=\"application/octet-stream\"; boundary="));
    let parts = all.parts();
    let bytes: Vec<&[u8]> = parts.iter().map(|(_, bytes)| &bytes[..]).collect();
    let (pdf, pixels): (&[u8], &[u8]) = (b"%PDF-1.7", b"native pixels");
    let frames: [&[u8]; 3] = [b"frame 1 of 2", b"frame 2 of 2", b"frame 3 of 2"];
    assert_eq!(bytes, [pdf, pixels, pdf, frames[0], frames[1], frames[2], pdf, pixels]);
    assert_eq!(parts[1].0["content-location"], format!("{BASE}{PATH}/7FE00010"));
    assert_eq!(parts[3].0["content-type"], format!("image/jpeg; transfer-syntax={JPEG}"));
    assert!(parts[3].0["content-location"].ends_with("/instances/1.2.1.2/frames/1"));
    // Without a transfer syntax, pixels are uncompressed ones: those that are not are left out.
    let native = server.get("/studies/1.2/series/1.2.1", &[("accept", octets)]).await;
    assert_eq!((native.status.as_u16(), native.parts().len()), (206, 2));
    let status = async |path: &str| server.get(path, &[("accept", octets)]).await.status.as_u16();
    assert_eq!(status("/studies/1.2/series/1.2.1/instances/1.2.1.2").await, 406);
    assert_eq!(status("/studies/1.2/series/1.2.3").await, 404);
    // Files where both would do.
    for accept in ["*/*", &format!("{stored}, multipart/related; type=\"application/dicom\"; transfer-syntax=*")] {
        let files = server.get("/studies/1.2", &[("accept", accept)]).await;
        assert!(files.header("content-type").contains("application/dicom"), "{accept}");
    }
}

fn archive_metadata_without_bulk(mut instance: Instance) -> Instance {
    instance.metadata = "{}".into();
    instance
}

#[tokio::test]
async fn a_video_is_one_value() {
    // WE-124
    let syntax = "1.2.840.10008.1.2.4.102";
    let path = format!("{PATH}/7FE00010");
    let parts = server(syntax).get(&path, &[]).await.parts();
    assert_eq!(parts[0].0["content-type"], format!("video/mp4; transfer-syntax={syntax}"));
    assert_eq!(&parts[0].1[..], b"native pixels");
    let alone = server(syntax).get(&path, &[("accept", "video/mp4"), ("range", "bytes=0-5")]).await;
    assert_eq!((alone.status.as_u16(), alone.text()), (206, "native"));
}
