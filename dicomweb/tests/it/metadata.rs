//! WADO-RS: metadata.

use archive::double::{Instance, Reading};
use axum::body::Body;
use dicomweb::{Forwarded, Options};

use crate::server::{Answer, BASE, EXPLICIT, Server, instance, request};

#[tokio::test]
async fn one_array_with_one_object_an_instance() {
    // WE-100, WE-103, WE-037
    let server = Server::with((1..=3000).map(|n| instance(1, n, EXPLICIT)).collect());
    for accept in ["application/dicom+json", "*/*", "multipart/related; type=\"application/dicom+json\""] {
        let answer = server.get("/studies/1.2/series/1.2.1/metadata", &[("accept", accept)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/dicom+json"));
        let json = answer.json();
        assert_eq!(json.as_array().unwrap().len(), 3000);
        assert_eq!(json[2999]["7FE00010"]["BulkDataURI"], format!("{BASE}/studies/3000"));
    }
    assert_eq!(server.get("/studies/1.2/metadata", &[("accept", "application/dicom+xml")]).await.status, 406);
}

#[tokio::test]
async fn urls_are_those_of_the_proxy() {
    // WE-037
    let server = Server::with(vec![instance(1, 1, EXPLICIT)]);
    let headers = [("x-forwarded-host", "pacs.example"), ("x-forwarded-proto", "https")];
    let options = Options { forwarded: Forwarded::Trusted, ..Options::default() };
    let request = request("GET", "/studies/1.2/metadata", &headers, Body::empty());
    let answer = Answer::of(server.send_with(options, request).await).await;
    assert_eq!(answer.json()[0]["7FE00010"]["BulkDataURI"], "https://pacs.example/dicomweb/studies/1");
    let answer = server.get("/studies/1.2/metadata", &headers).await;
    assert_eq!(answer.json()[0]["7FE00010"]["BulkDataURI"], format!("{BASE}/studies/1"));
}

#[tokio::test]
async fn unchanged_metadata_is_not_sent_again() {
    // WE-035
    let server = Server::with(vec![instance(1, 1, EXPLICIT)]);
    let first = server.get("/studies/1.2/metadata", &[]).await;
    let etag = first.header("etag");
    let again = server.get("/studies/1.2/metadata", &[("if-none-match", etag)]).await;
    assert_eq!((again.status.as_u16(), again.bytes().len(), again.header("etag")), (304, 0, etag));
    for other in [vec![instance(1, 2, EXPLICIT)], vec![instance(1, 1, EXPLICIT), instance(1, 2, EXPLICIT)]] {
        let changed = Server::with(other).get("/studies/1.2/metadata", &[("if-none-match", etag)]).await;
        assert_eq!(changed.status, 200);
    }
}

#[tokio::test]
async fn lost_metadata_is_an_error_before_the_first_byte_and_aborts_after_it() {
    // WE-082
    let lost = |n| Instance { reading: Reading::Fails, ..instance(1, n, EXPLICIT) };
    assert_eq!(Server::with(vec![lost(1)]).get("/studies/1.2/metadata", &[]).await.status, 500);
    let answer = Server::with(vec![instance(1, 1, EXPLICIT), lost(2)]).get("/studies/1.2/metadata", &[]).await;
    assert!(answer.body.is_err());
}
