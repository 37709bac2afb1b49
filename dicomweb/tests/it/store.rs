//! STOW-RS.

use std::time::Duration;

use archive::double::{Fault, State};
use axum::body::Body;
use bytes::Bytes;
use dicom_data::write_file_meta;
use dicomweb::{Options, StowLimits};
use futures_util::stream;

use crate::server::{Answer, BASE, EXPLICIT, Server, request, uid};

pub(crate) const TYPE: &str = "multipart/related; type=\"application/dicom\"; boundary=x";
const CLASS: &str = "1.2.840.10008.5.1.4.1.1.2";

pub(crate) fn file_in(syntax: &str, n: usize, data_set: &str) -> Vec<u8> {
    let mut file = write_file_meta(&uid(CLASS), &uid(&format!("1.8.{n}")), &uid(syntax), None);
    // No data set is shorter than an element.
    file.extend_from_slice(format!("{data_set:16}").as_bytes());
    file
}

pub(crate) fn body(data_sets: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for (n, data_set) in data_sets.iter().enumerate() {
        body.extend_from_slice(b"--x\r\nContent-Type: application/dicom\r\n\r\n");
        body.extend(file_in(EXPLICIT, n, data_set));
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--x--\r\n");
    body
}

pub(crate) async fn post(server: &Server, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
    Answer::of(server.send(request("POST", path, &[("content-type", content_type)], body.into())).await).await
}

/// Returns the failure reasons of an answer, in order: of instances and of others.
pub(crate) fn reasons(json: &serde_json::Value) -> (Vec<u64>, Vec<u64>) {
    let of = |tag: &str| {
        let items = json[tag]["Value"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["00081197"]["Value"][0].as_u64().unwrap()).collect()
    };
    (of("00081198"), of("0008119A"))
}

#[tokio::test]
async fn everything_stored() {
    // WE-166, WE-168, WE-175
    let server = Server::default();
    let data = "1.2 \r\n\r\n and --x and \r\n--xy";
    let answer = post(&server, "/studies", TYPE, body(&[data, "1.2 b"])).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/dicom+json"));
    assert_eq!(answer.header("location"), format!("{BASE}/studies/1.2"));
    let json = answer.json();
    assert_eq!(json["00081190"]["Value"][0], format!("{BASE}/studies/1.2"));
    let item = &json["00081199"]["Value"][1];
    assert_eq!(item["00081150"]["Value"][0], CLASS);
    assert_eq!(item["00081155"]["Value"][0], "1.8.1");
    assert_eq!(item["00081190"]["Value"][0], format!("{BASE}/studies/1.2/series/1.9/instances/1.8.1"));
    assert!(json.get("00081198").is_none() && json.get("0008119A").is_none());
    let stored = server.0.state().stored.clone();
    let (origin, bytes) = stored.iter().find(|(o, _)| o.sop_instance_uid == Some(uid("1.8.0"))).unwrap();
    assert_eq!(bytes, data.as_bytes());
    assert_eq!(origin.transfer_syntax_uid, uid(EXPLICIT));
    assert_eq!(origin.sop_class_uid, Some(uid(CLASS)));
}

#[tokio::test]
async fn several_studies_and_duplicates() {
    // WE-168, WE-171, WE-175, WE-176
    let answer = post(&Server::default(), "/studies", TYPE, body(&["1.2", "1.3"])).await;
    assert_eq!(answer.json()["00081190"], serde_json::json!({"vr": "UR"}));
    let server = Server::default();
    assert_eq!(post(&server, "/studies", TYPE, body(&["1.2 sent twice"])).await.status, 200);
    let answer = post(&server, "/studies", TYPE, body(&["1.2 sent twice"])).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (200, ""));
}

#[tokio::test]
async fn some_or_all_failed() {
    // WE-166, WE-167, WE-169, WE-170, WE-171
    let server = Server::default();
    let answer = post(&server, "/studies/1.2", TYPE, body(&["1.2", "1.3", "1.2 conflict", "garbage", "", "1.2"])).await;
    assert_eq!(answer.status, 202);
    assert_eq!(reasons(&answer.json()), (vec![50185, 50192, 49152, 43264], vec![]));
    assert_eq!(answer.json()["00081198"]["Value"][0]["00081155"]["Value"][0], "1.8.1");
    assert_eq!(answer.json()["00081199"]["Value"].as_array().unwrap().len(), 2);
    let answer = post(&server, "/studies/1.2", TYPE, body(&["1.3"])).await;
    assert_eq!(answer.status, 409);
    assert!(answer.json().get("00081199").is_none());
    let answer = post(&server, "/studies", TYPE, body(&["1.2 panic", "1.2"])).await;
    assert_eq!((answer.status.as_u16(), reasons(&answer.json())), (202, (vec![], vec![272])));
}

#[tokio::test]
async fn classes_that_are_not_taken_and_what_was_deleted() {
    // WE-169, ST-046
    let answer = post(&Server::default(), "/studies", TYPE, body(&["1.2 class", "1.2 deleted"])).await;
    assert_eq!((answer.status.as_u16(), reasons(&answer.json()).0), (409, vec![290, 50193]));
}

#[tokio::test]
async fn parts_that_are_no_files() {
    // WE-167, WE-168, WE-169
    let mut mixed = b"--x\r\n\r\nno file\r\n--x\r\nContent-Type: image/jpeg\r\n\r\nx\r\n--x\r\n\r\n".to_vec();
    mixed.extend(file_in("1.2.3.4", 7, "1.2"));
    mixed.extend_from_slice(b"\r\n--x\r\n\r\n");
    mixed.extend(vec![0; 200_000]);
    mixed.extend_from_slice(b"\r\n--x\r\n\r\n");
    mixed.extend(file_in(EXPLICIT, 8, "1.2"));
    mixed.extend_from_slice(b"\r\n--x--");
    let answer = post(&Server::default(), "/studies", TYPE, mixed).await;
    assert_eq!(answer.status, 202);
    assert_eq!(reasons(&answer.json()), (vec![49442], vec![49152, 49152, 49152]));
}

#[tokio::test]
async fn bad_bodies_are_never_200() {
    // WE-164
    let status = async |body: &[u8]| post(&Server::default(), "/studies", TYPE, body.to_vec()).await.status.as_u16();
    assert_eq!(status(b"").await, 400);
    assert_eq!(status(b"--x--").await, 400);
    assert_eq!(status(b"--y\r\n\r\n").await, 400);
    let whole = body(&["1.2"]);
    assert_eq!(status(&whole[..whole.len() - 6]).await, 400);
    let cut_late = [&body(&["1.2", "1.2"])[..], b"x"].concat();
    let at = cut_late.len() - 8;
    let answer = post(&Server::default(), "/studies", TYPE, cut_late[..at].to_vec()).await;
    assert!(answer.text().contains("1 instances that came before are stored"), "{}", answer.text());
    let cut = stream::iter([Ok(Bytes::from(whole)), Err(std::io::Error::other("cut off"))]);
    assert_eq!(post(&Server::default(), "/studies", TYPE, Body::from_stream(cut)).await.status, 400);
    for content_type in ["application/json", "multipart/related; type=\"application/dicom+json\"; boundary=x"] {
        assert_eq!(post(&Server::default(), "/studies", content_type, Body::empty()).await.status, 415);
    }
    let no_boundary = "multipart/related; type=\"application/dicom\"";
    assert_eq!(post(&Server::default(), "/studies", no_boundary, Body::empty()).await.status, 400);
}

#[tokio::test]
async fn one_file_as_the_body() {
    // WE-160
    let server = Server::default();
    let chunks: Vec<_> = file_in(EXPLICIT, 1, "1.2").chunks(3).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect();
    let answer = post(&server, "/studies", "application/dicom", Body::from_stream(stream::iter(chunks))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(server.0.state().stored[0].1[..], *b"1.2             ");
    assert_eq!(post(&server, "/studies", "application/dicom", Body::empty()).await.status, 400);
}

#[tokio::test]
async fn nothing_can_be_stored() {
    // WE-039, WE-166
    let full = Server::of(State { fault: Fault::Full, ..State::default() });
    let answer = post(&full, "/studies", TYPE, body(&["1.2", "1.2"])).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "10"));
    let answer = post(&Server::default(), "/studies", TYPE, body(&["1.2", "1.2 full"])).await;
    assert_eq!((answer.status.as_u16(), reasons(&answer.json()).0), (202, vec![42752]));
}

#[tokio::test]
async fn bounds_of_a_request() {
    // WE-165
    let send = async |stow: StowLimits, body: Body| {
        let options = Options { stow, ..Options::default() };
        let request = request("POST", "/studies", &[("content-type", TYPE)], body);
        Answer::of(Server::default().send_with(options, request).await).await
    };
    let stow = StowLimits::default();
    let two = || Body::from(body(&["1.2", "1.2 a longer data set"]));
    assert_eq!(send(StowLimits { parts_max: 1, ..stow.clone() }, two()).await.status, 413);
    assert_eq!(send(StowLimits { request_bytes_max: 99, ..stow.clone() }, two()).await.status, 413);
    assert_eq!(send(StowLimits { part_bytes_max: 99, ..stow.clone() }, two()).await.status, 413);
    let short = u64::try_from(file_in(EXPLICIT, 0, "1.2").len()).unwrap();
    let answer = send(StowLimits { part_bytes_max: short, ..stow.clone() }, two()).await;
    assert_eq!((answer.status.as_u16(), reasons(&answer.json()).0), (202, vec![42752]));
    let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(send(StowLimits { idle_max: Duration::from_millis(20), ..stow }, silent).await.status, 408);
}

#[tokio::test]
async fn instances_are_filed_together_up_to_a_bound() {
    // WE-165, WE-174
    let server = Server::default();
    let answer = post(&server, "/studies", TYPE, body(&["1.2"; 100])).await;
    assert_eq!(answer.json()["00081199"]["Value"].as_array().unwrap().len(), 100);
    let items = answer.json()["00081199"]["Value"].clone();
    let order: Vec<String> = (0..100).map(|n| format!("1.8.{n}")).collect();
    let got: Vec<&str> = (0..100).map(|n| items[n]["00081155"]["Value"][0].as_str().unwrap()).collect();
    assert_eq!(got, order);
    let most = server.0.state().filing_max;
    assert!((2..=8).contains(&most), "{most}");
}
