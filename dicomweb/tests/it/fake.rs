//! A stand-in for the archive that keeps everything in memory and does what its fields say.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use archive::{Error, Frame, Frames, InstanceBody, InstanceRef, Location, Metrics, Origin, Outcome, Selector, Stored};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use dicom_data::Uid;
use dicom_data::query::Query;
use dicom_data::{Attributes, BulkPath};
use dicomweb::{Backend, Opened, Options, Receive, Results, router};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use journal::{Lsn, RecordRef};
use tokio::sync::Notify;
use tower::ServiceExt as _;

pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(crate) const JPEG: &str = "1.2.840.10008.1.2.4.50";
pub(crate) const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
pub(crate) const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
/// What the fake's requests are sent to.
pub(crate) const BASE: &str = "http://pacs:8080/dicomweb";

#[derive(Clone, Default)]
pub(crate) struct Fake(pub(crate) Arc<State>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) instances: Vec<Kept>,
    pub(crate) deleted: bool,
    pub(crate) matches: Vec<Attributes>,
    /// Only the search can tell how many matches there are.
    pub(crate) uncounted: bool,
    pub(crate) queries: Mutex<Vec<Query>>,
    pub(crate) bulk: HashMap<String, Bytes>,
    pub(crate) stored: Mutex<Vec<(Origin, Vec<u8>)>>,
    pub(crate) full: bool,
    /// Frames asked for in each call.
    pub(crate) frame_calls: Mutex<Vec<usize>>,
    pub(crate) filing: AtomicUsize,
    pub(crate) filing_most: AtomicUsize,
    pub(crate) metrics: Metrics,
}

pub(crate) struct Kept {
    pub(crate) instance: InstanceRef,
    pub(crate) data_set: Bytes,
    pub(crate) frames: Vec<Bytes>,
    pub(crate) metadata: Bytes,
    /// Opening it fails, or reading it after so many bytes.
    pub(crate) fails_at: Option<usize>,
    /// Length that it is opened with, if not the indexed one.
    pub(crate) opened_bytes: Option<u64>,
    /// Gives bytes as long as they are taken.
    pub(crate) endless: Option<Arc<Endless>>,
}

/// Counts the bytes of an endless instance and tells when its reader is gone.
#[derive(Default)]
pub(crate) struct Endless {
    pub(crate) given_bytes: AtomicU64,
    pub(crate) dropped: Notify,
}

/// What an endless instance is made of.
static ZEROES: [u8; 65_536] = [0; 65_536];

struct Reading(Arc<Endless>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

impl Reading {
    fn next(&self) -> Bytes {
        self.0.given_bytes.fetch_add(65_536, Ordering::SeqCst);
        Bytes::from_static(&ZEROES)
    }
}

pub(crate) fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

/// Makes an instance `1.2.<series>.<n>` of study 1.2 and series `1.2.<series>`.
pub(crate) fn kept(series: u32, n: u32, syntax: &str) -> Kept {
    let data_set = Bytes::from(format!("\r\n\r\ndata set {n} of series {series}").repeat(usize::try_from(n).unwrap()));
    let instance = InstanceRef {
        study_instance_uid: uid("1.2"),
        series_instance_uid: uid(&format!("1.2.{series}")),
        sop_instance_uid: uid(&format!("1.2.{series}.{n}")),
        sop_class_uid: uid("1.2.840.10008.5.1.4.1.1.2"),
        transfer_syntax_uid: uid(syntax),
        bytes: length(&data_set),
        location: Location::Journal(RecordRef {
            lsn: Lsn(0),
            head_bytes: 0,
            payload_bytes: length(&data_set),
            crc32c: n,
            large: false,
        }),
    };
    let metadata = format!("{{\"7FE00010\":{{\"vr\":\"OW\",\"BulkDataURI\":\"\u{1}/studies/{n}\"}}}}").into();
    let frames = (1..=3).map(|frame| Bytes::from(format!("frame {frame} of {n}"))).collect();
    Kept { instance, data_set, frames, metadata, fails_at: None, opened_bytes: None, endless: None }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap()
}

fn length_of<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).unwrap()
}

fn lost() -> Error {
    Error::Io { doing: "read", source: std::io::Error::other("a disk is lost") }
}

impl Fake {
    pub(crate) fn with(instances: Vec<Kept>) -> Self {
        Self(Arc::new(State { instances, ..State::default() }))
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        self.send_with(Options::default(), request).await
    }

    pub(crate) async fn send_with(&self, options: Options, request: Request<Body>) -> Response {
        router(self.clone(), options).oneshot(request).await.unwrap()
    }

    /// Sends a GET with these headers; the answer's body in full.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        Answer::of(self.send(request("GET", path, headers, Body::empty())).await).await
    }

    fn find(&self, instance: &InstanceRef) -> Result<&Kept, Error> {
        let found = self.0.instances.iter().find(|k| k.instance.sop_instance_uid == instance.sop_instance_uid);
        found.ok_or(Error::NotFound { what: "instance" })
    }

    fn body(kept: &Kept) -> Result<InstanceBody, Error> {
        if let Some(endless) = &kept.endless {
            let reading = Reading(Arc::clone(endless));
            let chunks = stream::repeat_with(move || Ok(reading.next()));
            return Ok(InstanceBody { bytes: kept.instance.bytes, chunks: Box::pin(chunks) });
        }
        let mut chunks: Vec<Result<Bytes, Error>> = kept
            .data_set
            .chunks(7.max(kept.data_set.len() / 100))
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        match kept.fails_at {
            Some(0) => return Err(lost()),
            Some(at) => {
                chunks.truncate(at / 7);
                chunks.push(Err(lost()));
            }
            None => {}
        }
        Ok(InstanceBody {
            bytes: kept.opened_bytes.unwrap_or(kept.instance.bytes),
            chunks: Box::pin(stream::iter(chunks)),
        })
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

impl Backend for Fake {
    type Receiver = FakeReceiver;

    fn receive(&self, origin: Origin) -> Result<FakeReceiver, Error> {
        if self.0.full {
            return Err(Error::OutOfResources { reason: "the journal is full".into() });
        }
        Ok(FakeReceiver { fake: self.clone(), origin, bytes: Vec::new() })
    }

    async fn search(&self, query: Query) -> Result<Results<Attributes>, Error> {
        let skip = usize::try_from(query.offset).unwrap();
        let take = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
        self.0.queries.lock().unwrap().push(query);
        let found: Vec<_> = self.0.matches.iter().skip(skip).take(take).cloned().map(Ok).collect();
        Ok(Box::pin(stream::iter(found)))
    }

    async fn count(&self, query: &Query, at_most: u64) -> Result<Option<u64>, Error> {
        let after = length_of(&self.0.matches).saturating_sub(query.offset);
        Ok((!self.0.uncounted).then(|| after.min(at_most)))
    }

    async fn locate(&self, selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        let fits = |list: &[Uid], uid: &Uid| list.is_empty() || list.contains(uid);
        let instances = self.0.instances.iter().map(|kept| kept.instance.clone());
        Ok(instances
            .filter(|i| fits(&selector.studies, &i.study_instance_uid))
            .filter(|i| fits(&selector.series, &i.series_instance_uid))
            .filter(|i| fits(&selector.instances, &i.sop_instance_uid))
            .collect())
    }

    async fn was_deleted(&self, _selector: &Selector) -> Result<bool, Error> {
        Ok(self.0.deleted)
    }

    async fn open(&self, instance: &InstanceRef) -> Result<InstanceBody, Error> {
        Self::body(self.find(instance)?)
    }

    fn open_all(&self, instances: Vec<InstanceRef>) -> Opened {
        let fake = self.clone();
        Box::pin(stream::iter(instances).map(move |instance| {
            let opened = fake.find(&instance).and_then(Self::body);
            (instance, opened)
        }))
    }

    async fn metadata(&self, instances: Vec<InstanceRef>) -> Result<Results<Bytes>, Error> {
        let objects: Vec<_> = instances
            .iter()
            .map(|instance| {
                let kept = self.find(instance)?;
                if kept.fails_at.is_some() { Err(lost()) } else { Ok(kept.metadata.clone()) }
            })
            .collect();
        Ok(Box::pin(stream::iter(objects)))
    }

    async fn frames(&self, instance: &InstanceRef, numbers: &[u32]) -> Result<Frames, Error> {
        self.0.frame_calls.lock().unwrap().push(numbers.len());
        let kept = self.find(instance)?;
        let frame = |number: &u32| {
            let bytes = kept.frames.get(usize::try_from(*number).unwrap() - 1).cloned();
            let body = |bytes: Bytes| InstanceBody {
                bytes: length_of(&bytes),
                chunks: Box::pin(stream::once(std::future::ready(Ok(bytes)))),
            };
            bytes.map(|bytes| Frame { number: *number, body: body(bytes) }).ok_or(Error::NotFound { what: "frame" })
        };
        let frames = numbers.iter().map(frame).collect::<Result<_, _>>()?;
        Ok(Frames { transfer_syntax_uid: instance.transfer_syntax_uid.clone(), frames })
    }

    async fn frame_count(&self, instance: &InstanceRef) -> Result<u32, Error> {
        Ok(u32::try_from(self.find(instance)?.frames.len()).unwrap())
    }

    async fn bulk_data(&self, _instance: &InstanceRef, path: &BulkPath) -> Result<InstanceBody, Error> {
        let name = path.to_string();
        let bytes = self.0.bulk.get(&name).cloned().ok_or(Error::NotFound { what: "bulk data" })?;
        let chunks: Vec<_> = bytes.chunks(5).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        Ok(InstanceBody { bytes: length(&bytes), chunks: Box::pin(stream::iter(chunks)) })
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}

/// Takes data sets of the form `study`, `study conflict`, ...: the study's UID and what filing comes to.
pub(crate) struct FakeReceiver {
    fake: Fake,
    origin: Origin,
    bytes: Vec<u8>,
}

impl Receive for FakeReceiver {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.bytes.extend_from_slice(&chunk);
        if self.bytes.starts_with(b"garbage") {
            return Err(Error::Malformed { offset: 0, reason: "no tag" });
        }
        Ok(())
    }

    async fn finish(self) -> Result<Stored, Error> {
        let state = &self.fake.0;
        let filing = state.filing.fetch_add(1, Ordering::SeqCst) + 1;
        state.filing_most.fetch_max(filing, Ordering::SeqCst);
        tokio::task::yield_now().await;
        state.filing.fetch_sub(1, Ordering::SeqCst);
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        let mut words = text.split_whitespace();
        let study = uid(words.next().ok_or(Error::MissingIdentifier { keyword: "StudyInstanceUID" })?);
        let mut outcome = Outcome::New;
        match words.next() {
            Some("conflict") => return Err(Error::Conflict),
            Some("class") => return Err(Error::SopClassNotSupported),
            Some("deleted") => return Err(Error::Deleted),
            Some("full") => {
                return Err(Error::OutOfResources { reason: "the journal is full".into() });
            }
            Some("duplicate") => outcome = Outcome::Duplicate,
            Some("panic") => panic!("filing panics as it was told to"),
            _ => {}
        }
        if self.origin.study_instance_uid.as_ref().is_some_and(|named| *named != study) {
            return Err(Error::Contradiction { keyword: "StudyInstanceUID" });
        }
        let stored = Stored {
            sop_class_uid: self.origin.sop_class_uid.clone().unwrap(),
            sop_instance_uid: self.origin.sop_instance_uid.clone().unwrap(),
            series_instance_uid: uid("1.9"),
            study_instance_uid: study,
            outcome,
        };
        state.stored.lock().unwrap().push((self.origin, self.bytes));
        Ok(stored)
    }
}
