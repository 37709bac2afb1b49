//! Opening instances: whole in one read when they are short, in pieces when they are long, several ahead in order.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, Either, Ready, ready};
use futures_util::stream::{self, FuturesOrdered};
use index::InstanceRef;

use super::instance_body::InstanceBody;
use super::reader::{CHUNK_BYTES, Reader, WHOLE_BYTES_MAX, kept};
use crate::Error;
use crate::budgets::Permit;

/// Instances opened at once: the next one to send and, as far as the read budget allows, those after it.
const AHEAD_INSTANCES: usize = 8;

/// Instances opened one after the other; one that cannot be read does not end the stream.
pub type Opened = Pin<Box<dyn Stream<Item = (InstanceRef, Result<InstanceBody, Error>)> + Send>>;

/// Opens one instance.
pub(crate) async fn open(reader: &Arc<Reader>, instance: &InstanceRef) -> Result<InstanceBody, Error> {
    let permit = reader.permit(opening_bytes(instance));
    open_with(reader, instance, permit).await
}

/// Returns how many bytes are read of an instance to open it.
fn opening_bytes(instance: &InstanceRef) -> u64 {
    if instance.bytes <= WHOLE_BYTES_MAX { instance.bytes } else { CHUNK_BYTES.min(instance.bytes) }
}

/// Opens one instance with the permit for its first piece.
async fn open_with(
    reader: &Arc<Reader>,
    instance: &InstanceRef,
    permit: Option<Permit>,
) -> Result<InstanceBody, Error> {
    if instance.bytes <= WHOLE_BYTES_MAX {
        return Ok(InstanceBody::whole(kept(reader.read_whole(instance).await?, permit)));
    }
    let first = reader.piece(instance, 0..instance.bytes, permit).await?;
    Ok(chunked(Arc::clone(reader), instance.clone(), first, 0..instance.bytes))
}

/// Reads a range of an instance piece by piece.
pub(super) fn pieces(
    reader: Arc<Reader>,
    instance: InstanceRef,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    stream::unfold((reader, instance, range), |(reader, instance, range)| async move {
        if range.is_empty() {
            return None;
        }
        let piece = reader.first_piece(&instance, range.clone()).await;
        // The stream ends after an error, and after an empty piece.
        let read = match &piece {
            Ok(piece) if !piece.is_empty() => u64::try_from(piece.len()).unwrap_or(u64::MAX),
            Ok(_) | Err(_) => u64::MAX,
        };
        Some((piece, (reader, instance, range.start.saturating_add(read)..range.end)))
    })
}

/// Returns a body that reads `range` of the instance piece by piece; `first` is its first piece.
pub(super) fn chunked(reader: Arc<Reader>, instance: InstanceRef, first: Bytes, range: Range<u64>) -> InstanceBody {
    let next = range.start + u64::try_from(first.len()).unwrap_or(u64::MAX);
    let rest = pieces(reader, instance, next..range.end);
    let first = stream::once(std::future::ready(Ok(first)));
    InstanceBody { bytes: range.end - range.start, chunks: Box::pin(first.chain(rest)) }
}

/// Returns a body that reads several ranges of the instance one after the other.
pub(super) fn joined_ranges(reader: &Arc<Reader>, instance: &InstanceRef, ranges: Vec<Range<u64>>) -> InstanceBody {
    let bytes = ranges.iter().map(|range| range.end - range.start).sum();
    let (reader, instance) = (Arc::clone(reader), instance.clone());
    let chunks = stream::iter(ranges).map(move |range| pieces(Arc::clone(&reader), instance.clone(), range)).flatten();
    InstanceBody { bytes, chunks: Box::pin(chunks) }
}

/// Opens instances in order, a few ahead as far as the read budget allows.
pub(crate) fn open_all(reader: Arc<Reader>, instances: Vec<InstanceRef>) -> Opened {
    let opening = Opening { reader, instances: instances.into_iter(), ahead: FuturesOrdered::new() };
    Box::pin(stream::unfold(opening, |mut opening| async move {
        opening.fill();
        let opened = opening.ahead.next().await?;
        Some((opened, opening))
    }))
}

type OpenedOne = (InstanceRef, Result<InstanceBody, Error>);
type OneOpening = Either<Ready<OpenedOne>, BoxFuture<'static, OpenedOne>>;

/// Instances that are being opened.
struct Opening {
    reader: Arc<Reader>,
    instances: std::vec::IntoIter<InstanceRef>,
    ahead: FuturesOrdered<OneOpening>,
}

impl Opening {
    /// Begins to open the next instance in any case, and further ones as far as the read budget allows.
    fn fill(&mut self) {
        while self.ahead.len() < AHEAD_INSTANCES
            && let Some(next) = self.instances.as_slice().first()
        {
            let permit = self.reader.permit(opening_bytes(next));
            if permit.is_none() && !self.ahead.is_empty() {
                return;
            }
            if let Some(instance) = self.instances.next() {
                self.ahead.push_back(begin(&self.reader, instance, permit));
            }
        }
    }
}

fn begin(reader: &Arc<Reader>, instance: InstanceRef, permit: Option<Permit>) -> OneOpening {
    // What the page cache has is read here and now: a future for it would cost more than reading it.
    if let Some(bytes) = reader.read_whole_now(&instance) {
        return Either::Left(ready((instance, Ok(InstanceBody::whole(kept(bytes, permit))))));
    }
    let reader = Arc::clone(reader);
    Either::Right(Box::pin(async move {
        let body = open_with(&reader, &instance, permit).await;
        (instance, body)
    }))
}
