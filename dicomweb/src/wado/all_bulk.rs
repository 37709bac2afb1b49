//! All bulk values of a study, series or instance (PS3.18 §10.4.4): what the BulkDataURIs of their metadata name, in the
//! order of the metadata.

use std::pin::Pin;

use archive::{Caller, Error, InstanceBody, InstanceRef};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dicom_data::BulkPath;
use dicom_dictionary_std::tags;
use futures_core::Stream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use super::syntax::{FrameMedia, OCTETS};
use super::{body, instance_url};
use crate::accept::{Accept, Offer, Rank};
use crate::call::Call;
use crate::multipart::{PartHead, Writer};
use crate::problem::Problem;
use archive::Services;

/// What stands before a bulk value's path in the metadata.
const KEY: &[u8] = b"\"BulkDataURI\":\"";
const FOLDER: &str = "/bulkdata/";

/// One value to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Value(BulkPath),
    /// A compressed frame, counted from 1: each is a part of its own.
    Frame(u32),
}

/// An open value: media type, location, body.
type Opened = (String, String, InstanceBody);

/// Returns how well the bulk values of an instance fit the request.
pub(super) fn rank(accept: &Accept, instance: &InstanceRef) -> Option<Rank> {
    let media = FrameMedia::of(instance.transfer_syntax_uid.as_str());
    accept.rank(Offer { multipart: true, media: OCTETS }, |requested| media.allows(OCTETS, requested))
}

/// Answers with a part for each value; 206 if some of the instances asked for are left out.
pub(super) async fn respond<A: Services>(
    archive: &A,
    call: &Call,
    instances: Vec<InstanceRef>,
    asked: usize,
) -> Result<Response, Problem> {
    let partial = instances.len() < asked;
    let mut opened = open_all(archive.clone(), call.caller.clone(), call.base_url.clone(), instances);
    let Some(first) = opened.next().await.transpose()? else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "there are no bulk data in it"));
    };
    let writer = Writer::new();
    let content_type = writer.content_type(OCTETS);
    let opened = stream::once(std::future::ready(Ok(first))).chain(opened);
    let mut response = parts(writer, Box::pin(opened)).into_response();
    let content_type = HeaderValue::from_str(&content_type).expect("media types are ASCII");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    if partial {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

type AllOpened = Pin<Box<dyn Stream<Item = Result<Opened, Error>> + Send>>;

/// Opens the values one after the other, as the client takes them. The metadata are read as one stream: asked for one
/// by one, each would cost its whole series.
fn open_all<A: Services>(archive: A, caller: Caller, base_url: String, instances: Vec<InstanceRef>) -> AllOpened {
    let (lister, lister_caller) = (archive.clone(), caller.clone());
    let metadata = {
        let metadata = archive.metadata(&caller, instances.clone());
        stream::once(std::future::ready(metadata)).try_flatten()
    };
    let named = metadata.zip(stream::iter(instances)).map(|(metadata, instance)| Ok::<_, Error>((metadata?, instance)));
    let items = named.and_then(move |(metadata, instance)| {
        let (archive, caller) = (lister.clone(), lister_caller.clone());
        async move {
            let items = items(&archive, &caller, &instance, &metadata).await?;
            Ok(stream::iter(items.into_iter().map(move |item| Ok::<_, Error>((instance.clone(), item)))))
        }
    });
    Box::pin(items.try_flatten().and_then(move |(instance, item)| {
        let (archive, caller, base_url) = (archive.clone(), caller.clone(), base_url.clone());
        async move { open(&archive, &caller, &base_url, &instance, item).await }
    }))
}

/// Lists the values of an instance.
async fn items<A: Services>(
    archive: &A,
    caller: &Caller,
    instance: &InstanceRef,
    metadata: &[u8],
) -> Result<Vec<Item>, Error> {
    let frames_apart = FrameMedia::of(instance.transfer_syntax_uid.as_str()).has_frames();
    let mut items = Vec::new();
    for path in paths(metadata) {
        if frames_apart && path.items.is_empty() && path.tag == tags::PIXEL_DATA {
            items.extend((1..=archive.frame_count(caller, instance).await?).map(Item::Frame));
        } else {
            items.push(Item::Value(path));
        }
    }
    Ok(items)
}

/// Returns the paths of the bulk values that metadata name.
fn paths(metadata: &[u8]) -> Vec<BulkPath> {
    let starts = (0..metadata.len()).filter(|at| metadata.get(*at..).is_some_and(|rest| rest.starts_with(KEY)));
    let path = |at: usize| -> Option<BulkPath> {
        let uri = metadata.get(at + KEY.len()..)?.split(|byte| *byte == b'"').next()?;
        let (_, path) = std::str::from_utf8(uri).ok()?.split_once(FOLDER)?;
        path.parse().ok()
    };
    starts.filter_map(path).collect()
}

async fn open<A: Services>(
    archive: &A,
    caller: &Caller,
    base_url: &str,
    instance: &InstanceRef,
    item: Item,
) -> Result<Opened, Error> {
    let url = instance_url(base_url, instance);
    let media = FrameMedia::of(instance.transfer_syntax_uid.as_str());
    match item {
        Item::Frame(number) => {
            let mut frames = archive.frames(caller, instance, &[number]).await?.frames;
            let frame = frames.pop().ok_or(Error::NotFound { what: "frame" })?;
            Ok((media.content_type(), format!("{url}/frames/{number}"), frame.body))
        }
        Item::Value(path) => {
            let pixels = path.items.is_empty() && path.tag == tags::PIXEL_DATA;
            let content_type = if pixels { media.content_type() } else { OCTETS.to_owned() };
            let body = archive.bulk_data(caller, instance, &path).await?;
            Ok((content_type, format!("{url}{FOLDER}{path}"), body))
        }
    }
}

/// Writes the parts; their number is not known ahead.
fn parts(writer: Writer, opened: AllOpened) -> Body {
    let tail = stream::once(std::future::ready(Ok(writer.tail())));
    let parts = opened.enumerate().map(move |(n, opened)| {
        let (content_type, location, value) = opened?;
        let head = PartHead { content_type: &content_type, location: &location, bytes: value.bytes };
        let head = Bytes::from(writer.head(n == 0, head));
        Ok::<_, Error>(stream::once(std::future::ready(Ok(head))).chain(value.chunks))
    });
    body(Box::pin(parts.try_flatten().chain(tail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_metadata_name() {
        // WE-080
        let metadata = "{\"00420011\":{\"vr\":\"OB\",\"BulkDataURI\":\"\u{1}/studies/1/series/2/instances/3/bulkdata/00420011\"},\
            \"54000100\":{\"vr\":\"SQ\",\"Value\":[{\"54001010\":{\"vr\":\"OW\",\
            \"BulkDataURI\":\"\u{1}/studies/1/series/2/instances/3/bulkdata/54000100/0/54001010\"}}]},\
            \"00104000\":{\"vr\":\"LT\",\"Value\":[\"\\\"BulkDataURI\\\":\\\"x/bulkdata/00420011\\\"\"]}}";
        let paths: Vec<String> = paths(metadata.as_bytes()).iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["00420011", "54000100/0/54001010"]);
        assert!(super::paths(b"{\"x\":{\"BulkDataURI\":\"").is_empty());
    }
}
