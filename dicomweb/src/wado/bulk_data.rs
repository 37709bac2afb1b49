//! Bulk values by the URIs that the metadata hands out (PS3.18 §10.4.1.1.5).

use archive::InstanceBody;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dicom_data::{BulkPath, transfer_syntax};
use dicom_dictionary_std::tags;
use futures_util::{StreamExt as _, stream};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::range::{Asked, asked, slice};
use super::syntax::{FrameMedia, OCTETS};
use super::{Chunks, body, find_one, frames, instance_url};
use crate::accept::{Accept, Offer, Rank};
use crate::app::App;
use crate::call::Call;
use crate::multipart::{PartHead, Writer};
use crate::problem::Problem;
use archive::Services;

/// What an Encapsulated Document usually is.
const PDF: &str = "application/pdf";

/// `GET .../bulkdata/{path}`.
pub(crate) async fn retrieve_bulk_data<A: Services>(
    State(app): State<App<A>>,
    call: Call,
) -> Result<Response, Problem> {
    let path = bulk_path(&call.target.rest)?;
    let instance = find_one(&app, &call).await?;
    let encapsulated = transfer_syntax(instance.transfer_syntax_uid.as_str()).is_some_and(|s| s.encapsulated);
    let location = format!("{}/bulkdata/{}", instance_url(&call.base_url, &instance), call.target.rest);
    if encapsulated && path.items.is_empty() && path.tag == tags::PIXEL_DATA {
        let media = FrameMedia::of(instance.transfer_syntax_uid.as_str());
        if !media.is_video() {
            return frames::all_frames(&app, &call, instance).await;
        }
        // A video is one stream (WE-124).
        let multipart = frames::choose(&call.accept, &media, true)?;
        let value = app.archive.bulk_data(&call.caller, &instance, &path).await?;
        let content_type = media.content_type();
        return Ok(if multipart {
            in_a_part(value, media.media, &content_type, &location)
        } else {
            alone(value, &content_type, &location, call.range.as_deref())
        });
    }
    let document = path.items.is_empty() && path.tag == tags::ENCAPSULATED_DOCUMENT;
    check_acceptable(&call.accept, document)?;
    let value = app.archive.bulk_data(&call.caller, &instance, &path).await?;
    let (pdf, value) = if document { sniff(value).await? } else { (false, value) };
    let (multipart, media) = choose(&call.accept, pdf)?;
    Ok(if multipart {
        in_a_part(value, media, media, &location)
    } else {
        alone(value, media, &location, call.range.as_deref())
    })
}

/// Reads the path of a bulk value.
fn bulk_path(text: &str) -> Result<BulkPath, Problem> {
    text.parse().map_err(|_| {
        Problem::bad_request("bulk data is named by tags with item numbers between them, such as 54000100/0/54001010")
    })
}

/// Refuses before the value is opened what could not be answered whatever it is.
fn check_acceptable(accept: &Accept, document: bool) -> Result<(), Problem> {
    choose(accept, document).or_else(|problem| if document { choose(accept, false) } else { Err(problem) })?;
    Ok(())
}

/// Chooses multipart (`true`) or a single body, and the media type (WE-130).
fn choose(accept: &Accept, pdf: bool) -> Result<(bool, &'static str), Problem> {
    let mut best: Option<(Rank, bool, &'static str)> = None;
    for media in [PDF, OCTETS].into_iter().filter(|media| pdf || *media != PDF) {
        for multipart in [true, false] {
            let rank = accept.rank(Offer { multipart, media }, |_| true);
            if let Some(rank) = rank.filter(|rank| best.is_none_or(|(known, ..)| *rank > known)) {
                best = Some((rank, multipart, media));
            }
        }
    }
    let best = best.map(|(_, multipart, media)| (multipart, media));
    best.ok_or_else(|| {
        Problem::not_acceptable(
            "available here: application/octet-stream, alone or as multipart/related; type=\"application/octet-stream\"",
        )
    })
}

/// Looks at the first bytes of a document and puts them back.
async fn sniff(mut value: InstanceBody) -> Result<(bool, InstanceBody), Problem> {
    let first = value.chunks.next().await.transpose()?;
    let pdf = first.as_ref().is_some_and(|first| first.starts_with(b"%PDF"));
    let chunks: Chunks = Box::pin(stream::iter(first.map(Ok)).chain(value.chunks));
    Ok((pdf, InstanceBody { bytes: value.bytes, chunks }))
}

fn in_a_part(value: InstanceBody, media: &'static str, content_type: &str, location: &str) -> Response {
    let writer = Writer::new();
    let head = Bytes::from(writer.head(true, PartHead { content_type, location, bytes: value.bytes }));
    let tail = writer.tail();
    let around = u64::try_from(head.len() + tail.len()).unwrap_or(u64::MAX);
    let bytes = value.bytes.saturating_add(around);
    let once = |piece| stream::once(std::future::ready(Ok(piece)));
    let mut response = body(Box::pin(once(head).chain(value.chunks).chain(once(tail)))).into_response();
    let content_type = HeaderValue::from_str(&writer.content_type(media)).expect("media types are ASCII");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    response
}

/// Answers with the value as the body, or with a range of it (WE-036).
fn alone(value: InstanceBody, content_type: &str, location: &str, range: Option<&str>) -> Response {
    let whole = value.bytes;
    let (status, chunks, bytes, content_range) = match asked(range, whole) {
        Asked::Whole => (StatusCode::OK, value.chunks, whole, None),
        Asked::Part(part) => {
            let text = format!("bytes {}-{}/{whole}", part.start, part.end - 1);
            let bytes = part.end - part.start;
            (StatusCode::PARTIAL_CONTENT, slice(value.chunks, part), bytes, Some(text))
        }
        Asked::Unsatisfiable => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            let range = HeaderValue::from_str(&format!("bytes */{whole}")).expect("a number is ASCII");
            response.headers_mut().insert(CONTENT_RANGE, range);
            return response;
        }
    };
    let mut response = (status, body(chunks)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).expect("media types and UIDs are ASCII"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.extend(HeaderValue::from_str(location).ok().map(|location| (CONTENT_LOCATION, location)));
    let content_range = content_range.and_then(|range| HeaderValue::from_str(&range).ok());
    headers.extend(content_range.map(|range| (CONTENT_RANGE, range)));
    response
}

#[cfg(test)]
mod tests {
    use dicom_core::Tag;

    use super::*;

    #[test]
    fn paths_of_tags_and_items() {
        // WE-103
        let path = |text: &str| bulk_path(text).ok();
        let native = BulkPath { items: vec![], tag: tags::PIXEL_DATA };
        assert_eq!(path("7FE00010"), Some(native));
        let nested = BulkPath { items: vec![(Tag(0x5400, 0x0100), 0)], tag: Tag(0x5400, 0x1010) };
        assert_eq!(path("54000100/0/54001010"), Some(nested));
        for text in [
            "",
            "7FE0001",
            "7FE000100",
            "7FE0001G",
            "+FE00010",
            "54000100/0",
            "54000100/-1/54001010",
            "54000100//54001010",
        ] {
            assert_eq!(path(text), None, "{text}");
        }
        assert_eq!(path(&["54000100"; 100].join("/0/")), None);
    }

    #[test]
    fn forms_of_ohif() {
        // WE-130, OHIF 2.1 rows 8 and 9
        let of = |accept, pdf| choose(&Accept::parse(accept), pdf).ok();
        let ranges =
            "multipart/related; type=\"application/pdf\", multipart/related; type=\"application/octet-stream\"";
        assert_eq!(of(ranges, true), Some((true, PDF)));
        assert_eq!(of(ranges, false), Some((true, OCTETS)));
        assert_eq!(of("application/octet-stream", false), Some((false, OCTETS)));
        assert_eq!(of("application/pdf", true), Some((false, PDF)));
        assert_eq!(of("application/pdf", false), None);
        assert_eq!(of("*/*", false), Some((true, OCTETS)));
    }
}
