//! Whole instances as Part 10 files, streamed from the archive without being parsed (WE-080 to WE-087).

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use archive::{Error, InstanceBody, InstanceRef};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dicom_data::write_file_meta;
use futures_core::Stream;
use futures_util::StreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::syntax::{HINT, allows_file};
use super::{Chunks, all_bulk, body, find, instance_url};
use crate::accept::{Accept, Offer};
use crate::app::App;
use crate::call::Call;
use crate::multipart::{PartHead, Writer};
use crate::problem::{Chain, Problem};
use archive::{Opened, Services};

/// The media type of a Part 10 file.
const DICOM: &str = "application/dicom";
/// The line break before a delimiter, which the first has not.
const LINE_BREAK_BYTES: u64 = 2;
/// Media types of DICOM resources and of rendered ones, which one request must not mix (WE-026).
const DICOM_TYPES: &[&str] = &[DICOM, "application/dicom+json", "application/dicom+xml"];
const RENDERED_TYPES: &[&str] = &["image/*", "video/*", "text/html", "text/plain", "text/xml", "application/pdf"];

/// `GET` on a study, series or instance.
pub(crate) async fn retrieve_instances<A: Services>(
    State(app): State<App<A>>,
    call: Call,
) -> Result<Response, Problem> {
    if call.accept.mixes(DICOM_TYPES, RENDERED_TYPES) {
        return Err(Problem::bad_request("ask for DICOM or for rendered media types, not for both"));
    }
    let found = find(&app, &call).await?;
    let asked = found.len();
    if let Some(instances) = bulk_only(&call.accept, &found, call.target.instance.is_some()) {
        return Box::pin(all_bulk::respond(&app.archive, &call, instances, asked)).await;
    }
    let (multipart, mut instances) = choose(&call.accept, found, call.target.instance.is_some())?;
    if !multipart {
        return Box::pin(single(&app, &call, instances)).await;
    }
    match instances.pop() {
        Some(only) if asked == 1 => one(&app, &call, only).await,
        last => {
            instances.extend(last);
            Box::pin(many(&app, &call, instances, asked)).await
        }
    }
}

/// Returns the instances whose bulk values are wanted rather than their files.
fn bulk_only(accept: &Accept, found: &[InstanceRef], one: bool) -> Option<Vec<InstanceRef>> {
    let files = |instance: &InstanceRef| {
        let stored = instance.transfer_syntax_uid.as_str();
        let rank = |multipart| accept.rank(Offer { multipart, media: DICOM }, |asked| allows_file(stored, asked));
        if one { rank(true).max(rank(false)) } else { rank(true) }
    };
    // All instances of a syntax fit alike; a study has few.
    let mut best = BTreeMap::new();
    for instance in found {
        let stored = instance.transfer_syntax_uid.as_str();
        best.entry(stored).or_insert_with(|| (files(instance), all_bulk::rank(accept, instance)));
    }
    let files = best.values().filter_map(|(files, _)| *files).max();
    let bulk = best.values().filter_map(|(_, bulk)| *bulk).max();
    let fits = |instance: &&InstanceRef| best.get(instance.transfer_syntax_uid.as_str()).is_some_and(|b| b.1.is_some());
    (bulk > files).then(|| found.iter().filter(fits).cloned().collect())
}

/// Chooses between multipart and a single file, and the instances that can be returned so.
fn choose(accept: &Accept, found: Vec<InstanceRef>, one: bool) -> Result<(bool, Vec<InstanceRef>), Problem> {
    let mut ranks = BTreeMap::new();
    for instance in &found {
        let stored = instance.transfer_syntax_uid.as_str();
        if !ranks.contains_key(stored) {
            let rank =
                |multipart| accept.rank(Offer { multipart, media: DICOM }, |requested| allows_file(stored, requested));
            // A single file is for single instances only (WE-028).
            let single = if one { rank(false) } else { None };
            ranks.insert(stored.to_owned(), (rank(true), single));
        }
    }
    let parts = ranks.values().filter_map(|(parts, _)| *parts).max();
    let single = ranks.values().filter_map(|(_, single)| *single).max();
    if parts.is_none() && single.is_none() {
        return Err(not_acceptable(accept, one));
    }
    let multipart = parts >= single;
    let fits = |instance: &InstanceRef| {
        let rank = ranks.get(instance.transfer_syntax_uid.as_str());
        rank.is_some_and(|(parts, single)| if multipart { parts.is_some() } else { single.is_some() })
    };
    Ok((multipart, found.into_iter().filter(fits).collect()))
}

/// Says what would be acceptable: another media type, or the stored transfer syntax.
fn not_acceptable(accept: &Accept, one: bool) -> Problem {
    let media_fits = accept.rank(Offer { multipart: true, media: DICOM }, |_| true).is_some()
        || (one && accept.rank(Offer { multipart: false, media: DICOM }, |_| true).is_some());
    Problem::not_acceptable(if media_fits {
        HINT
    } else if one {
        "available here: multipart/related; type=\"application/dicom\"; transfer-syntax=*, \
         and application/dicom; transfer-syntax=*"
    } else {
        "available here: multipart/related; type=\"application/dicom\"; transfer-syntax=*"
    })
}

/// Answers with one file as the body.
async fn single<A: Services>(app: &App<A>, call: &Call, found: Vec<InstanceRef>) -> Result<Response, Problem> {
    let Some(instance) = found.into_iter().next() else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "no such instance"));
    };
    let opened = app.archive.open(&call.caller, &instance).await?;
    let meta = file_meta(&instance);
    let bytes = whole_bytes(&meta, &instance);
    let chunks: Chunks =
        Box::pin(futures_util::stream::once(std::future::ready(Ok(Bytes::from(meta)))).chain(opened.chunks));
    let mut response = body(chunks).into_response();
    let content_type = format!("{DICOM}; transfer-syntax={}", instance.transfer_syntax_uid);
    set(&mut response, &content_type, bytes);
    let location = HeaderValue::from_str(&instance_url(&call.base_url, &instance));
    response.headers_mut().extend(location.ok().map(|url| (CONTENT_LOCATION, url)));
    Ok(response)
}

/// Answers with one part.
async fn one<A: Services>(app: &App<A>, call: &Call, instance: InstanceRef) -> Result<Response, Problem> {
    let parts = PartWriter { writer: Writer::new(), base_url: call.base_url.clone() };
    let opened = app.archive.open(&call.caller, &instance).await?;
    let content_type = parts.writer.content_type(DICOM);
    let tail_bytes = parts.writer.tail().len();
    let no_more = Box::pin(futures_util::stream::empty());
    let mut stream = PartStream { opened: no_more, parts, state: PartState::Between, first: true };
    let head = stream.begin(&instance, opened)?;
    let framing = u64::try_from(head.len() + tail_bytes).unwrap_or(u64::MAX);
    let stream = futures_util::stream::once(std::future::ready(Ok(head))).chain(stream);
    let mut response = Body::from_stream(stream).into_response();
    set(&mut response, &content_type, instance.bytes.saturating_add(framing));
    Ok(response)
}

/// Answers with one part an instance; 206 when some cannot be had and that is known before the first byte (WE-082).
async fn many<A: Services>(
    app: &App<A>,
    call: &Call,
    instances: Vec<InstanceRef>,
    asked: usize,
) -> Result<Response, Problem> {
    let parts = PartWriter { writer: Writer::new(), base_url: call.base_url.clone() };
    // A part that is not the first has the line break before its delimiter, too.
    let mut lengths = PartLengths::default();
    let mut bytes = instances.iter().map(|instance| lengths.part_bytes(&parts, instance)).sum::<u64>()
        + u64::try_from(parts.writer.tail().len()).unwrap_or(u64::MAX)
        - LINE_BREAK_BYTES;
    let mut usable = instances.len();
    let mut opened = app.archive.open_all(&call.caller, instances);
    let first = loop {
        match opened.next().await {
            Some((instance, Ok(body))) => break (instance, Ok(body)),
            Some((instance, Err(error))) => {
                tracing::warn!(error = %Chain(&error), instance = %instance.sop_instance_uid, "instance left out");
                usable -= 1;
                if usable == 0 {
                    return Err(error.into());
                }
                bytes -= lengths.part_bytes(&parts, &instance);
            }
            None => {
                return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no instance could be opened"));
            }
        }
    };
    let opened: Opened = Box::pin(futures_util::stream::once(std::future::ready(first)).chain(opened));
    let content_type = parts.writer.content_type(DICOM);
    let stream = PartStream { opened, parts, state: PartState::Between, first: true };
    let mut response = Body::from_stream(stream).into_response();
    set(&mut response, &content_type, bytes);
    if usable < asked {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn set(response: &mut Response, content_type: &str, bytes: u64) {
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_str(content_type).expect("media types and UIDs are ASCII");
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
}

/// Returns preamble and file meta information as we write them (WE-081).
fn file_meta(instance: &InstanceRef) -> Vec<u8> {
    write_file_meta(&instance.sop_class_uid, &instance.sop_instance_uid, &instance.transfer_syntax_uid, None)
}

fn whole_bytes(meta: &[u8], instance: &InstanceRef) -> u64 {
    instance.bytes.saturating_add(u64::try_from(meta.len()).unwrap_or(u64::MAX))
}

/// Writes what stands before the data set of each part.
struct PartWriter {
    writer: Writer,
    base_url: String,
}

impl PartWriter {
    /// Returns delimiter, part headers, preamble and file meta information in one piece.
    fn head(&self, first: bool, instance: &InstanceRef) -> Vec<u8> {
        let meta = file_meta(instance);
        let mut head = self.writer.head(
            first,
            PartHead {
                content_type: &format!("{DICOM}; transfer-syntax={}", instance.transfer_syntax_uid),
                location: &instance_url(&self.base_url, instance),
                bytes: whole_bytes(&meta, instance),
            },
        );
        head.extend_from_slice(&meta);
        head
    }
}

/// Lengths of what stands before data sets. They depend on lengths of UIDs alone, and a study has few: so 10,000 heads need
/// not be written to know how long the answer will be.
#[derive(Debug, Default)]
struct PartLengths {
    /// By the lengths of the UIDs: of head and meta information together, less the digits of the part's length; and of the
    /// meta information.
    known: HashMap<[usize; 5], (u64, u64)>,
}

impl PartLengths {
    /// Returns the length of a part that is not the first, with the delimiter before it.
    fn part_bytes(&mut self, parts: &PartWriter, instance: &InstanceRef) -> u64 {
        let uids = [
            &instance.study_instance_uid,
            &instance.series_instance_uid,
            &instance.sop_instance_uid,
            &instance.sop_class_uid,
            &instance.transfer_syntax_uid,
        ];
        let (head, meta) = *self.known.entry(uids.map(|uid| uid.as_str().len())).or_insert_with(|| {
            let meta = u64::try_from(file_meta(instance).len()).unwrap_or(u64::MAX);
            let head = u64::try_from(parts.head(false, instance).len()).unwrap_or(u64::MAX);
            (head - digits(meta.saturating_add(instance.bytes)), meta)
        });
        let announced = meta.saturating_add(instance.bytes);
        head.saturating_add(digits(announced)).saturating_add(instance.bytes)
    }
}

/// Returns the number of decimal digits.
fn digits(number: u64) -> u64 {
    u64::from(number.checked_ilog10().unwrap_or_default()) + 1
}

/// The parts as a body. An instance that cannot be read aborts it without the closing delimiter (WE-082).
struct PartStream {
    opened: Opened,
    parts: PartWriter,
    state: PartState,
    first: bool,
}

enum PartState {
    Between,
    /// In a data set with so many bytes to come.
    In(Chunks, u64),
    Done,
}

impl PartStream {
    fn begin(&mut self, instance: &InstanceRef, opened: InstanceBody) -> Result<Bytes, Error> {
        if opened.bytes != instance.bytes {
            return Err(Error::Malformed { offset: opened.bytes, reason: "its length is not the indexed one" });
        }
        let head = self.parts.head(self.first, instance);
        self.first = false;
        self.state = PartState::In(opened.chunks, opened.bytes);
        Ok(Bytes::from(head))
    }

    fn abort(&mut self, error: Error) -> Poll<Option<Result<Bytes, Error>>> {
        tracing::warn!(error = %Chain(&error), "answer aborted in mid-stream");
        self.state = PartState::Done;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for PartStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let this = &mut *self;
            match &mut this.state {
                PartState::Done => return Poll::Ready(None),
                PartState::Between => match ready!(this.opened.as_mut().poll_next(cx)) {
                    None => {
                        this.state = PartState::Done;
                        return Poll::Ready(Some(Ok(this.parts.writer.tail())));
                    }
                    Some((instance, opened)) => {
                        return match opened.and_then(|opened| this.begin(&instance, opened)) {
                            Ok(head) => Poll::Ready(Some(Ok(head))),
                            Err(error) => this.abort(error),
                        };
                    }
                },
                PartState::In(chunks, left) => match ready!(chunks.as_mut().poll_next(cx)) {
                    Some(Ok(chunk)) => {
                        let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                        if bytes > *left {
                            let reason = "it is longer than indexed";
                            return this.abort(Error::Malformed { offset: 0, reason });
                        }
                        *left -= bytes;
                        return Poll::Ready(Some(Ok(chunk)));
                    }
                    Some(Err(error)) => return this.abort(error),
                    None if *left > 0 => {
                        return this.abort(Error::Malformed { offset: 0, reason: "it is shorter than indexed" });
                    }
                    None => this.state = PartState::Between,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use archive::Location;
    use journal::{Lsn, RecordRef};

    use super::*;

    #[test]
    fn lengths_known_beforehand_are_those_of_the_heads() {
        // WE-080: the announced length of an answer is its length
        let parts = PartWriter { writer: Writer::new(), base_url: "http://example.test/dicomweb".to_owned() };
        let mut lengths = PartLengths::default();
        for (number, bytes) in (0_u32..).zip([0, 1, 9, 10, 99, 612, 613, 1 << 20, 123_456_789_012]) {
            for uid in ["1.2", "1.2.3", "1.2.840.10008.1.2.1"] {
                let uid = |tail: u32| format!("{uid}.{}", tail * 37).parse().unwrap();
                let record = RecordRef { lsn: Lsn(0), head_bytes: 0, payload_bytes: bytes, crc32c: 0, large: false };
                let instance = InstanceRef {
                    study_instance_uid: uid(1),
                    series_instance_uid: uid(number),
                    sop_instance_uid: uid(number * 1_000),
                    sop_class_uid: uid(2),
                    transfer_syntax_uid: uid(3),
                    bytes,
                    location: Location::Journal(record),
                };
                let head = u64::try_from(parts.head(false, &instance).len()).unwrap();
                assert_eq!(lengths.part_bytes(&parts, &instance), head + bytes);
            }
        }
    }
}
