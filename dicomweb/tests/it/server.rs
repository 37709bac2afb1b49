//! The service in front of the archive's double, requests to it and its answers.

use std::collections::HashMap;

use archive::double::{Double, Identify, Instance, State};
use archive::{Error, Origin};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use dicom_data::{Identifiers, Uid};
use dicomweb::{Options, router};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(crate) const JPEG: &str = "1.2.840.10008.1.2.4.50";
pub(crate) const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
pub(crate) const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
/// What requests are sent to.
pub(crate) const BASE: &str = "http://pacs:8080/dicomweb";

/// The service in front of an archive in memory. Data sets are words: see [`by_words`].
#[derive(Clone)]
pub(crate) struct Server(pub(crate) Double);

pub(crate) fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

/// Makes an instance `1.2.<series>.<n>` of study 1.2 and series `1.2.<series>`.
pub(crate) fn instance(series: u32, n: u32, syntax: &str) -> Instance {
    let data_set = Bytes::from(format!("\r\n\r\ndata set {n} of series {series}").repeat(usize::try_from(n).unwrap()));
    let uids = Identifiers {
        study_instance_uid: uid("1.2"),
        series_instance_uid: uid(&format!("1.2.{series}")),
        sop_instance_uid: uid(&format!("1.2.{series}.{n}")),
        sop_class_uid: uid("1.2.840.10008.5.1.4.1.1.2"),
    };
    let metadata = format!("{{\"7FE00010\":{{\"vr\":\"OW\",\"BulkDataURI\":\"\u{1}/studies/{n}\"}}}}").into();
    let frames = (1..=3).map(|frame| Bytes::from(format!("frame {frame} of {n}"))).collect();
    Instance { frames, metadata, ..Instance::new(uids, uid(syntax), data_set) }
}

/// Reads data sets of the form `study`, `study conflict`, ...: the study's UID and what filing comes to.
fn by_words(origin: &Origin, data_set: &[u8]) -> Result<Identifiers, Error> {
    let text = String::from_utf8_lossy(data_set).into_owned();
    let mut words = text.split_whitespace();
    let study = uid(words.next().ok_or(Error::MissingIdentifier { keyword: "StudyInstanceUID" })?);
    match words.next() {
        Some("conflict") => return Err(Error::Conflict),
        Some("class") => return Err(Error::SopClassNotSupported),
        Some("deleted") => return Err(Error::Deleted),
        Some("full") => return Err(Error::OutOfResources { reason: "the journal is full".into() }),
        Some("panic") => panic!("filing panics as it was told to"),
        _ => {}
    }
    Ok(Identifiers {
        sop_class_uid: origin.sop_class_uid.clone().unwrap(),
        sop_instance_uid: origin.sop_instance_uid.clone().unwrap(),
        series_instance_uid: uid("1.9"),
        study_instance_uid: study,
    })
}

fn refuse_garbage(begin: &[u8]) -> Result<(), Error> {
    if begin.starts_with(b"garbage") { Err(Error::Malformed { offset: 0, reason: "no tag" }) } else { Ok(()) }
}

impl Default for Server {
    fn default() -> Self {
        Self::of(State::default())
    }
}

impl Server {
    pub(crate) fn with(instances: Vec<Instance>) -> Self {
        Self::of(State { instances, ..State::default() })
    }

    pub(crate) fn of(state: State) -> Self {
        let identify = Identify { begin: refuse_garbage, finish: by_words };
        Self(Double::new(State { identify, ..state }))
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        self.send_with(Options::default(), request).await
    }

    pub(crate) async fn send_with(&self, options: Options, request: Request<Body>) -> Response {
        router(self.0.clone(), options).oneshot(request).await.unwrap()
    }

    /// Sends a GET with these headers; the answer's body in full.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        Answer::of(self.send(request("GET", path, headers, Body::empty())).await).await
    }
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(format!("/dicomweb{path}")).header("host", "pacs:8080");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

/// An answer with its whole body; `body` is an error when the connection was aborted.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Result<Bytes, axum::Error>,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        Self { status: head.status, headers: head.headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        self.body.as_ref().unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(self.bytes()).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.bytes()).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    /// Takes a multipart body apart, strictly: headers and bytes of each part.
    pub(crate) fn parts(&self) -> Vec<(HashMap<String, String>, Bytes)> {
        let boundary = self.header("content-type").split("boundary=").nth(1).unwrap().to_owned();
        if !self.header("content-length").is_empty() {
            assert_eq!(self.header("content-length"), self.bytes().len().to_string());
        }
        let mut rest = self.bytes().clone();
        let mut parts = Vec::new();
        let mut delimiter = format!("--{boundary}");
        loop {
            assert!(rest.starts_with(delimiter.as_bytes()), "{rest:?}");
            rest = rest.split_off(delimiter.len());
            if &rest[..] == b"--\r\n" {
                return parts;
            }
            let end = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
            let head = rest.split_to(end + 4);
            let head: HashMap<String, String> = str::from_utf8(&head)
                .unwrap()
                .lines()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let bytes = head["content-length"].parse().unwrap();
            parts.push((head, rest.split_to(bytes)));
            delimiter = format!("\r\n--{boundary}");
        }
    }
}
