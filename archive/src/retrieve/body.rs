//! The bytes of instances: whole in one read when they are short, in pieces when they are long.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, Ready, ready};
use futures_util::stream::{self, FuturesOrdered};
use futures_util::{Stream, StreamExt};

use super::{InstanceBody, Shared};
use crate::Error;
use crate::archive::{Inner, Opened};
use crate::held::Room;
use crate::receive::joined;
use index::{InstanceRef, Location, Sealed, Selector};
use journal::Payload;

/// An instance up to this length is read at once and verified by its own CRC.
const WHOLE_BYTES_MAX: u64 = 512 * 1024;
/// Length of the pieces of a longer one, and when clients that read slowly have taken the room for such pieces.
const CHUNK_BYTES: u64 = 1024 * 1024;
const SHORT_CHUNK_BYTES: u64 = 64 * 1024;
/// Instances opened at once: the next one to send and, as far as there is room, those after it.
const AHEAD_INSTANCES: usize = 8;
/// How often a location is asked for again when the packer moved the instance meanwhile.
const MOVES_MAX: usize = 3;

/// Opens one instance.
pub(crate) async fn open(archive: &Shared, instance: &InstanceRef) -> Result<InstanceBody, Error> {
    let room = archive.held.room(opening_bytes(instance));
    open_in(archive, instance, room).await
}

/// Returns how many bytes are read of an instance to open it.
fn opening_bytes(instance: &InstanceRef) -> u64 {
    if instance.bytes <= WHOLE_BYTES_MAX { instance.bytes } else { CHUNK_BYTES.min(instance.bytes) }
}

/// Opens one instance in the room for its first piece.
async fn open_in(archive: &Shared, instance: &InstanceRef, room: Option<Room>) -> Result<InstanceBody, Error> {
    if instance.bytes <= WHOLE_BYTES_MAX {
        return Ok(InstanceBody::whole(kept(read_whole(archive, instance).await?, room)));
    }
    let first = piece(archive, instance, 0..instance.bytes, room).await?;
    Ok(chunked(Arc::clone(archive), instance.clone(), first, 0..instance.bytes))
}

pub(super) fn kept(bytes: Bytes, room: Option<Room>) -> Bytes {
    match room {
        Some(room) => room.keep(bytes),
        None => bytes,
    }
}

/// Reads the first piece of a range of an instance.
pub(super) async fn first_piece(archive: &Inner, instance: &InstanceRef, range: Range<u64>) -> Result<Bytes, Error> {
    let room = archive.held.room(CHUNK_BYTES.min(range.end - range.start));
    piece(archive, instance, range, room).await
}

/// Reads the first piece of a range: a short one if there is no room for a long one.
async fn piece(archive: &Inner, instance: &InstanceRef, range: Range<u64>, room: Option<Room>) -> Result<Bytes, Error> {
    let bytes_max = if room.is_some() { CHUNK_BYTES } else { SHORT_CHUNK_BYTES };
    let part = range.start..range.end.min(range.start.saturating_add(bytes_max));
    Ok(kept(read_range(archive, instance, part).await?, room))
}

/// Reads a range of an instance piece by piece.
pub(super) fn pieces(
    archive: Shared,
    instance: InstanceRef,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    stream::unfold((archive, instance, range), |(archive, instance, range)| async move {
        if range.is_empty() {
            return None;
        }
        let piece = first_piece(&archive, &instance, range.clone()).await;
        // Nothing comes after an error, nor where nothing is.
        let read = match &piece {
            Ok(piece) if !piece.is_empty() => u64::try_from(piece.len()).unwrap_or(u64::MAX),
            Ok(_) | Err(_) => u64::MAX,
        };
        Some((piece, (archive, instance, range.start.saturating_add(read)..range.end)))
    })
}

/// Returns a body that reads `range` of the instance piece by piece; `first` is its first piece.
pub(super) fn chunked(archive: Shared, instance: InstanceRef, first: Bytes, range: Range<u64>) -> InstanceBody {
    let next = range.start + u64::try_from(first.len()).unwrap_or(u64::MAX);
    let rest = pieces(archive, instance, next..range.end);
    let first = stream::once(std::future::ready(Ok(first)));
    InstanceBody { bytes: range.end - range.start, chunks: Box::pin(first.chain(rest)) }
}

/// Opens instances in order, a few ahead as far as there is room.
pub(crate) fn open_all(archive: Shared, instances: Vec<InstanceRef>) -> Opened {
    let opening = Opening { archive, instances: instances.into_iter(), ahead: FuturesOrdered::new() };
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
    archive: Shared,
    instances: std::vec::IntoIter<InstanceRef>,
    ahead: FuturesOrdered<OneOpening>,
}

impl Opening {
    /// Begins to open the next instance in any case, and further ones that there is room for.
    fn fill(&mut self) {
        while self.ahead.len() < AHEAD_INSTANCES
            && let Some(next) = self.instances.as_slice().first()
        {
            let room = self.archive.held.room(opening_bytes(next));
            if room.is_none() && !self.ahead.is_empty() {
                return;
            }
            if let Some(instance) = self.instances.next() {
                self.ahead.push_back(begin(&self.archive, instance, room));
            }
        }
    }
}

fn begin(archive: &Shared, instance: InstanceRef, room: Option<Room>) -> OneOpening {
    // What the page cache has is read here and now: a future for it would cost more than reading it.
    if let Some(bytes) = read_whole_now(archive, &instance) {
        return Either::Left(ready((instance, Ok(InstanceBody::whole(kept(bytes, room))))));
    }
    let archive = Arc::clone(archive);
    Either::Right(Box::pin(async move {
        let body = open_in(&archive, &instance, room).await;
        (instance, body)
    }))
}

async fn read_whole(archive: &Inner, instance: &InstanceRef) -> Result<Bytes, Error> {
    if let Some(bytes) = read_whole_now(archive, instance) {
        return Ok(bytes);
    }
    // Boxed: it seldom runs, and its future would be copied with that of every answer.
    Box::pin(following(archive, instance, |instance| async move {
        match instance.location {
            Location::Journal(record) => read_record(archive, &record, 0..record.payload_bytes).await,
            Location::Container(sealed) => {
                let range = sealed.offset..sealed.offset + instance.bytes;
                Ok(archive.store.read_checked(sealed.container, range, sealed.crc32c).await?)
            }
        }
    }))
    .await
}

/// Reads a short instance, verified, if it is where it is said to be and the page cache has it; never waits for a disk.
fn read_whole_now(archive: &Inner, instance: &InstanceRef) -> Option<Bytes> {
    if instance.bytes > WHOLE_BYTES_MAX {
        return None;
    }
    match &instance.location {
        Location::Journal(record) => archive.journal.read_payload_now(record, 0..record.payload_bytes),
        Location::Container(sealed) => {
            let range = sealed.offset..sealed.offset.checked_add(instance.bytes)?;
            archive.store.read_checked_now(sealed.container, range, sealed.crc32c)
        }
    }
}

/// Reads a part of an instance, verified by the container's block checksums.
pub(crate) async fn read_range(archive: &Inner, instance: &InstanceRef, range: Range<u64>) -> Result<Bytes, Error> {
    // Most of a short instance: its own checksum covers fewer bytes than those of the blocks that the part lies in.
    if instance.bytes <= WHOLE_BYTES_MAX && range.end.saturating_sub(range.start) >= instance.bytes / 2 {
        let whole = read_whole(archive, instance).await?;
        return part_of(&whole, &range).ok_or(Error::NotFound { what: "part of an instance" });
    }
    Box::pin(following(archive, instance, |instance| {
        let range = range.clone();
        async move {
            match instance.location {
                Location::Journal(record) => read_record(archive, &record, range).await,
                Location::Container(sealed) => read_sealed(archive, &sealed, range).await,
            }
        }
    }))
    .await
}

fn part_of(whole: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
    (start <= end && end <= whole.len()).then(|| whole.slice(start..end))
}

async fn read_sealed(archive: &Inner, sealed: &Sealed, range: Range<u64>) -> Result<Bytes, Error> {
    Ok(archive.store.read(sealed.container, sealed.offset + range.start..sealed.offset + range.end).await?)
}

async fn read_record(archive: &Inner, record: &journal::RecordRef, range: Range<u64>) -> Result<Bytes, Error> {
    if let Some(bytes) = archive.journal.read_payload_now(record, range.clone()) {
        return Ok(bytes);
    }
    let (journal, record) = (archive.journal.clone(), record.clone());
    let read = tokio::task::spawn_blocking(move || journal.read_payload(&record, range));
    Ok(joined(read.await)??)
}

/// Reads where the instance is said to lie; if it is not there any more, asks the index where it went and reads there.
pub(super) async fn following<T, F, R>(archive: &Inner, instance: &InstanceRef, read: F) -> Result<T, Error>
where
    F: Fn(InstanceRef) -> R,
    R: Future<Output = Result<T, Error>>,
{
    let mut result = read(instance.clone()).await;
    for _ in 0..MOVES_MAX {
        match &result {
            Err(Error::Journal(journal::Error::Gone)) => {}
            Ok(_) | Err(_) => return result,
        }
        let found = archive.where_is(instance).await?.ok_or(Error::NotFound { what: "instance" })?;
        result = read(found).await;
    }
    result
}

/// Returns a part of a payload that is not in the journal yet.
fn read_payload(payload: &Payload, range: Range<u64>) -> io::Result<Bytes> {
    match payload {
        Payload::Inline(pieces) => {
            let start = usize::try_from(range.start).map_err(io::Error::other)?;
            let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
            Ok(pieces.iter().flatten().skip(start).take(len).copied().collect())
        }
        Payload::Large(large) => {
            let mut part = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
            File::open(large.path())?.read_exact_at(&mut part, range.start)?;
            Ok(part.into())
        }
    }
}

impl Inner {
    /// Asks the index where an instance lies now.
    pub(crate) async fn where_is(&self, instance: &InstanceRef) -> Result<Option<InstanceRef>, Error> {
        let selector = Selector {
            patient_id: None,
            studies: vec![instance.study_instance_uid.clone()],
            series: vec![instance.series_instance_uid.clone()],
            instances: vec![instance.sop_instance_uid.clone()],
        };
        Ok(self.link.get()?.locate(&selector).await?.into_iter().next().map(|located| located.instance))
    }

    /// Compares a stored instance with a payload that just came, byte by byte.
    pub(crate) async fn same_bytes(self: &Arc<Self>, stored: &InstanceRef, payload: &Payload) -> Result<bool, Error> {
        let mut body = open(self, stored).await?.chunks;
        let mut at = 0;
        while let Some(piece) = body.next().await {
            let piece = piece?;
            let end = at + u64::try_from(piece.len()).unwrap_or(u64::MAX);
            let other = read_payload(payload, at..end)
                .map_err(|source| Error::Io { doing: "compare a resent instance", source })?;
            if other != piece {
                return Ok(false);
            }
            at = end;
        }
        Ok(true)
    }
}
