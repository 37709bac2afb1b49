//! Frames as stored: native pixels or codestreams (PS3.18 §10.4.1.1.6).

use archive::{Caller, Error, Frame, InstanceBody, InstanceRef};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::syntax::{FrameMedia, HINT};
use super::{Chunks, body, find_one, instance_url};
use crate::accept::{Accept, Offer, Rank};
use crate::app::App;
use crate::call::Call;
use crate::multipart::{PartHead, Writer};
use crate::problem::Problem;
use archive::Services;

/// Frames are read in batches of about this many bytes.
const BATCH_BYTES: u64 = 8 << 20;
/// Most frames of one batch.
const BATCH_FRAMES_MAX: u64 = 256;

/// `GET .../frames/{list}`.
pub(crate) async fn retrieve_frames<A: Services>(State(app): State<App<A>>, call: Call) -> Result<Response, Problem> {
    let numbers = frame_list(&call.target.rest, app.options.frames_max)?;
    let instance = find_one(&app, &call).await?;
    let media = FrameMedia::of(instance.transfer_syntax_uid.as_str());
    let multipart = choose(&call.accept, &media, numbers.len() == 1)?;
    let answer = FrameAnswer::new(&call, &instance, media);
    let count =
        if numbers.len() > 1 { Box::pin(app.archive.frame_count(&call.caller, &instance)).await? } else { u32::MAX };
    if numbers.iter().any(|number| *number == 0 || *number > count) {
        return Err(Problem::new(StatusCode::NOT_FOUND, "the instance has no such frame: they are numbered from 1"));
    }
    answer.respond(&app, instance, numbers, count, multipart).await
}

/// Answers with all frames of an instance in parts, as its Pixel Data (WE-123 is about native ones, which are not here).
pub(super) async fn all_frames<A: Services>(
    app: &App<A>,
    call: &Call,
    instance: InstanceRef,
) -> Result<Response, Problem> {
    let media = FrameMedia::of(instance.transfer_syntax_uid.as_str());
    let count = app.archive.frame_count(&call.caller, &instance).await?;
    if usize::try_from(count).unwrap_or(usize::MAX) > app.options.frames_max {
        return Err(Problem::not_acceptable("too many frames for one answer: retrieve them as frames/{list}"));
    }
    let multipart = choose(&call.accept, &media, count == 1)?;
    let answer = FrameAnswer::new(call, &instance, media);
    answer.respond(app, instance, (1..=count).collect(), count, multipart).await
}

/// Reads a list of frame numbers (WE-120).
fn frame_list(text: &str, frames_max: usize) -> Result<Vec<u32>, Problem> {
    let numbers: Option<Vec<u32>> = text
        .split(',')
        .take(frames_max + 1)
        .map(|number| number.parse().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit())))
        .collect();
    match numbers {
        Some(numbers) if numbers.len() <= frames_max => Ok(numbers),
        Some(_) => Err(Problem::bad_request(format!("ask for at most {frames_max} frames at once"))),
        None => Err(Problem::bad_request("frames must be a list of numbers from 1, such as 1,2,3")),
    }
}

/// Chooses between multipart (`true`) and, for one frame, a single body.
pub(super) fn choose(accept: &Accept, media: &FrameMedia, one: bool) -> Result<bool, Problem> {
    let rank = |multipart: bool| -> Option<Rank> {
        let ranks = media.names().filter_map(|name| {
            accept.rank(Offer { multipart, media: name }, |requested| media.allows(name, requested))
        });
        ranks.max()
    };
    let parts = rank(true);
    let single = if one { rank(false) } else { None };
    if parts.is_none() && single.is_none() {
        return Err(Problem::not_acceptable(HINT));
    }
    Ok(parts >= single)
}

/// How frames of one instance are answered.
struct FrameAnswer {
    caller: Caller,
    writer: Writer,
    media: FrameMedia,
    content_type: String,
    url: String,
}

impl FrameAnswer {
    fn new(call: &Call, instance: &InstanceRef, media: FrameMedia) -> Self {
        let url = instance_url(&call.base_url, instance);
        let caller = call.caller.clone();
        Self { caller, writer: Writer::new(), content_type: media.content_type(), media, url }
    }

    /// Returns where one frame is.
    fn location(&self, number: u32) -> String {
        format!("{}/frames/{number}", self.url)
    }

    /// Answers; what fits one batch goes out with its length, the rest follows batch by batch (WE-127).
    async fn respond<A: Services>(
        self,
        app: &App<A>,
        instance: InstanceRef,
        mut numbers: Vec<u32>,
        count: u32,
        multipart: bool,
    ) -> Result<Response, Problem> {
        let rest = numbers.split_off(batch_frames(&instance, count).min(numbers.len()));
        let got = app.archive.frames(&self.caller, &instance, &numbers).await?;
        let first = got.frames;
        if !multipart {
            return self.single(first);
        }
        let content_type = self.writer.content_type(self.media.media);
        let tail = self.writer.tail();
        let parts = self.parts(first, true);
        let bytes = parts.iter().map(|(head, body)| length(head).saturating_add(body.bytes)).sum::<u64>();
        let bytes = bytes.saturating_add(length(&tail));
        let first = stream::iter(parts).flat_map(part);
        let last = stream::once(std::future::ready(Ok(tail)));
        let mut response = if rest.is_empty() {
            let mut response = body(Box::pin(first.chain(last))).into_response();
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
            response
        } else {
            let batch = batch_frames(&instance, count);
            let rest = self.batches(app.archive.clone(), instance, rest, batch);
            body(Box::pin(first.chain(rest).chain(last))).into_response()
        };
        let content_type = HeaderValue::from_str(&content_type).expect("media types are ASCII");
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        Ok(response)
    }

    fn single(&self, frames: Vec<Frame>) -> Result<Response, Problem> {
        let Some(frame) = frames.into_iter().next() else {
            return Err(Problem::new(StatusCode::NOT_FOUND, "the instance has no such frame"));
        };
        let mut response = body(frame.body.chunks).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(frame.body.bytes));
        let content_type = HeaderValue::from_str(&self.content_type).expect("media types and UIDs are ASCII");
        headers.insert(CONTENT_TYPE, content_type);
        let location = HeaderValue::from_str(&self.location(frame.number)).ok();
        headers.extend(location.map(|location| (CONTENT_LOCATION, location)));
        Ok(response)
    }

    /// Returns the parts of some frames: what stands before each, and the frame.
    fn parts(&self, frames: Vec<Frame>, first: bool) -> Vec<Part> {
        let part = |(n, frame): (usize, Frame)| {
            let head = PartHead {
                content_type: &self.content_type,
                location: &self.location(frame.number),
                bytes: frame.body.bytes,
            };
            (Bytes::from(self.writer.head(first && n == 0, head)), frame.body)
        };
        frames.into_iter().enumerate().map(part).collect()
    }

    /// Returns the parts of further frames, read batch by batch as the client takes them.
    fn batches<A: Services>(self, archive: A, instance: InstanceRef, numbers: Vec<u32>, batch: usize) -> Chunks {
        let state = (self, archive, instance, numbers.into_iter());
        let batches = stream::try_unfold(state, move |(answer, archive, instance, mut numbers)| async move {
            let next: Vec<u32> = numbers.by_ref().take(batch).collect();
            if next.is_empty() {
                return Ok(None);
            }
            let frames = archive.frames(&answer.caller, &instance, &next).await?.frames;
            let parts = answer.parts(frames, false);
            Ok::<_, archive::Error>(Some((parts, (answer, archive, instance, numbers))))
        });
        Box::pin(batches.map_ok(|parts| stream::iter(parts).flat_map(part)).try_flatten())
    }
}

/// What stands before a frame, and the frame.
type Part = (Bytes, InstanceBody);

fn part((head, body): Part) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    stream::once(std::future::ready(Ok(head))).chain(body.chunks)
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Returns how many frames make a batch; the frames are taken to be about equally long.
fn batch_frames(instance: &InstanceRef, count: u32) -> usize {
    let frames = BATCH_BYTES.saturating_mul(u64::from(count)) / instance.bytes.max(1);
    usize::try_from(frames.clamp(1, BATCH_FRAMES_MAX)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_frames() {
        // WE-120
        let list = |text| frame_list(text, 3).ok();
        assert_eq!(list("1"), Some(vec![1]));
        assert_eq!(list("3,1,2"), Some(vec![3, 1, 2]));
        for text in ["", "1,", ",", "a", "+1", "-1", "1-3", "4294967296", "1,2,3,4"] {
            assert_eq!(list(text), None, "{text}");
        }
    }

    #[test]
    fn forms_of_ohif() {
        // WE-032, OHIF 2.1 row 7
        let media = FrameMedia::of("1.2.840.10008.1.2.4.80");
        for accept in [
            "*/*",
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            "multipart/related; type=\"application/octet-stream\"; transfer-syntax=\"*\"",
            "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*",
            "multipart/related; type=\"image/jls\"; transfer-syntax=1.2.840.10008.1.2.4.80",
            "multipart/related; type=\"image/x-jls\"",
        ] {
            assert!(choose(&Accept::parse(accept), &media, true).unwrap(), "{accept}");
        }
        assert!(!choose(&Accept::parse("image/jls"), &media, true).unwrap());
        for accept in ["image/png", "multipart/related; type=\"application/octet-stream\"", "application/dicom"] {
            assert_eq!(choose(&Accept::parse(accept), &media, true).unwrap_err().status, 406, "{accept}");
        }
        assert!(choose(&Accept::parse("image/jls"), &media, false).is_err());
    }
}
