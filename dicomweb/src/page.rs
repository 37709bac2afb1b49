//! One page of matches, as JSON objects with commas between them, in memory until its client has read it.
//!
//! A page of 5,000 studies is 4 MB of JSON, and a client may read it as slowly as it likes. So what is long is
//! kept compressed, some ten times shorter, and all long pages share a budget: a search that finds it used up is
//! refused and may be asked again, or for fewer matches. And few long pages are made at a time, so that short searches
//! find connections of the index free.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// Memory of all long pages that clients have not read yet, in KiB.
const ALL_KIB: usize = 96 << 10;
/// Long pages that are made at a time: half of the connections that the index has by default.
const AT_ONCE: usize = 8;
/// JSON that is compressed at a time; a page that is not longer is kept as it is.
const PIECE_BYTES: usize = 64 << 10;
/// Compression that costs a tenth of making the JSON.
const LEVEL: i32 = 1;

/// The budget of long pages.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    room: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// A page that is being made.
pub(crate) struct Page {
    pages: Pages,
    /// What is not compressed yet.
    json: Vec<u8>,
    packed: Vec<Packed>,
    packed_json_bytes: u64,
    matches: u64,
    /// Of a long page.
    turn: Option<OwnedSemaphorePermit>,
}

/// A compressed piece and its room.
struct Packed {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl Pages {
    /// Makes an unused budget.
    pub(crate) fn new() -> Self {
        Self { room: Arc::new(Semaphore::new(ALL_KIB)), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).try_acquire_many_owned(kib).map_err(|_| {
            let detail = "many long answers are being read: search again later, or for fewer matches (limit)";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }
}

impl Page {
    /// Begins a page.
    pub(crate) fn new(pages: &Pages) -> Self {
        let (json, packed) = (vec![b'['], Vec::new());
        Self { pages: pages.clone(), json, packed, packed_json_bytes: 0, matches: 0, turn: None }
    }

    /// Returns how many matches it has.
    pub(crate) fn matches(&self) -> u64 {
        self.matches
    }

    /// Adds a match that `write` appends as a JSON object; waits for its turn when the page turns out long.
    pub(crate) async fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Problem> {
        if self.matches > 0 {
            self.json.push(b',');
        }
        self.matches += 1;
        write(&mut self.json);
        if self.json.len() < PIECE_BYTES {
            return Ok(());
        }
        let packed = zstd::bulk::compress(&self.json, LEVEL).expect("memory takes what is written to it");
        self.packed.push(Packed { _room: self.pages.room(packed.len())?, bytes: packed });
        self.packed_json_bytes = self.packed_json_bytes.saturating_add(length(&self.json));
        self.json.clear();
        if self.turn.is_none() {
            let turn = Arc::clone(&self.pages.turns).acquire_owned().await;
            self.turn = Some(turn.expect("the semaphore is never closed"));
        }
        Ok(())
    }

    /// Returns the page as a body, and its length.
    pub(crate) fn finish(mut self) -> (Body, u64) {
        self.json.push(b']');
        let bytes = self.packed_json_bytes.saturating_add(length(&self.json));
        if self.packed.is_empty() {
            return (Body::from(self.json), bytes);
        }
        self.json.shrink_to_fit();
        let last = stream::once(std::future::ready(Bytes::from(self.json)));
        let pieces = stream::iter(self.packed).map(|packed| packed.unpacked());
        (Body::from_stream(pieces.chain(last).map(Ok::<_, Infallible>)), bytes)
    }
}

impl Packed {
    fn unpacked(&self) -> Bytes {
        zstd::decode_all(self.bytes.as_slice()).expect("it was compressed here").into()
    }
}

fn length(json: &[u8]) -> u64 {
    u64::try_from(json.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn fill(page: &mut Page, objects: u32) -> Result<(), Problem> {
        for n in 0..objects {
            let number = u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let object = format!("{{\"00080020\":{{\"vr\":\"DA\",\"Value\":[\"{number}\"]}},\"n\":{n}}}");
            page.push(|json| json.extend_from_slice(object.as_bytes())).await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn pages_of_any_length_come_out_as_they_went_in() {
        for objects in [0, 1, 900, 1_200, 20_000] {
            let mut page = Page::new(&Pages::new());
            fill(&mut page, objects).await.unwrap();
            assert_eq!(page.matches(), u64::from(objects));
            let (body, bytes) = page.finish();
            let json = body.collect().await.unwrap().to_bytes();
            assert_eq!(length(&json), bytes);
            let all: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
            assert!(
                all.iter().zip(0..objects).all(|(one, n)| one["n"] == n)
                    && all.len() == usize::try_from(objects).unwrap()
            );
        }
    }

    #[tokio::test]
    async fn long_pages_share_a_budget_and_short_ones_need_none() {
        let pages = Pages { room: Arc::new(Semaphore::new(160)), ..Pages::new() };
        let mut long = Page::new(&pages);
        fill(&mut long, 10_000).await.unwrap();
        let taken = 160 - pages.room.available_permits();
        assert!((100..160).contains(&taken), "{taken} KiB for {} KiB", long.packed_json_bytes >> 10);
        let mut next = Page::new(&pages);
        assert_eq!(fill(&mut next, 10_000).await.unwrap_err().status, 503);
        drop(next);
        fill(&mut Page::new(&pages), 500).await.unwrap();
        let mut body = long.finish().0;
        body.frame().await.unwrap().unwrap();
        assert!(pages.room.available_permits() > 160 - taken, "what was read is free again");
        drop(body);
        assert_eq!(pages.room.available_permits(), 160);
    }
}
