//! Metadata as DICOM JSON (PS3.18 §10.4.1.1.2, Annex F), ready made by the archive.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use archive::{Error, InstanceRef};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream;
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderValue, StatusCode};

use super::{Chunks, body, find};
use crate::app::App;
use crate::call::Call;
use crate::problem::Problem;
use archive::{Results, Services};

/// Stands for the base URL in what the archive keeps.
const BASE_URL_MARK: u8 = 1;
const _: () = assert!(dicom_data::BASE_URL_MARK == '\u{1}');
/// Objects are put together into pieces of about this length.
const PIECE_BYTES: usize = 64 * 1024;

/// `GET .../metadata` of a study, series or instance.
pub(crate) async fn retrieve_metadata<A: Services>(State(app): State<App<A>>, call: Call) -> Result<Response, Problem> {
    let content_type = call.json_type()?;
    let instances = find(&app, &call).await?;
    let etag = etag(&instances, &call.base_url);
    if call.if_none_match.as_deref().is_some_and(|known| matches_etag(known, &etag)) {
        return Ok(with_etag(StatusCode::NOT_MODIFIED.into_response(), &etag));
    }
    let mut objects = app.archive.metadata(&call.caller, instances)?;
    // An error before the first byte is still an answer.
    let first = objects.next().await.transpose()?;
    let objects: Results<Bytes> = Box::pin(stream::iter(first.map(Ok)).chain(objects));
    let mut response = body(array(objects, call.base_url.into_bytes())).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(with_etag(response, &etag))
}

/// Where the array being written is.
struct Array {
    objects: Results<Bytes>,
    base_url: Vec<u8>,
    separator: u8,
    done: bool,
}

/// Writes objects as a JSON array, several to a piece.
fn array(objects: Results<Bytes>, base_url: Vec<u8>) -> Chunks {
    let array = Array { objects, base_url, separator: b'[', done: false };
    Box::pin(stream::try_unfold(array, |mut array| async move {
        let piece = next_piece(&mut array).await?;
        Ok(piece.map(|piece| (piece, array)))
    }))
}

async fn next_piece(array: &mut Array) -> Result<Option<Bytes>, Error> {
    if array.done {
        return Ok(None);
    }
    let mut piece = BytesMut::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
    while piece.len() < PIECE_BYTES {
        let Some(object) = array.objects.next().await.transpose()? else {
            // An empty array has no separator yet that would open it.
            piece.extend_from_slice(if array.separator == b'[' { b"[]" } else { b"]" });
            array.done = true;
            break;
        };
        piece.extend_from_slice(&[array.separator]);
        array.separator = b',';
        substitute(&object, &array.base_url, &mut piece);
    }
    Ok(Some(piece.freeze()))
}

/// Appends an object with the base URL in place of its mark (WE-037).
fn substitute(object: &[u8], base_url: &[u8], out: &mut BytesMut) {
    let mut rest = object;
    while let Some((before, after)) =
        memchr::memchr(BASE_URL_MARK, rest).and_then(|at| Some((rest.get(..at)?, rest.get(at + 1..)?)))
    {
        out.extend_from_slice(before);
        out.extend_from_slice(base_url);
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// Returns a weak tag of these instances' contents; the same before and after they are sealed or moved (WE-035).
fn etag(instances: &[InstanceRef], base_url: &str) -> String {
    let mut hasher = DefaultHasher::new();
    base_url.hash(&mut hasher);
    for instance in instances {
        instance.sop_instance_uid.hash(&mut hasher);
        instance.bytes.hash(&mut hasher);
        instance.crc32c().hash(&mut hasher);
    }
    format!("W/\"{:016x}-{}\"", hasher.finish(), instances.len())
}

/// Compares as RFC 9110 §13.1.2 says: weakly, against a list or `*`.
fn matches_etag(known: &str, etag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known.trim() == "*" || known.split(',').any(|tag| bare(tag) == bare(etag))
}

fn with_etag(mut response: Response, etag: &str) -> Response {
    let etag = HeaderValue::from_str(etag).expect("a tag is hexadecimal digits");
    response.headers_mut().insert(ETAG, etag);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_url_takes_the_place_of_its_mark() {
        // WE-037, WE-103
        let mut out = BytesMut::new();
        substitute(b"{\"a\":\"\x01/b\",\"c\":\"\x01/d\"}", b"http://e", &mut out);
        assert_eq!(&out[..], b"{\"a\":\"http://e/b\",\"c\":\"http://e/d\"}");
    }

    #[test]
    fn tags_are_compared_weakly() {
        // WE-035
        assert!(matches_etag("\"x\", W/\"y\"", "W/\"y\""));
        assert!(matches_etag("\"y\"", "W/\"y\""));
        assert!(matches_etag("*", "W/\"y\""));
        assert!(!matches_etag("W/\"z\"", "W/\"y\""));
    }
}
