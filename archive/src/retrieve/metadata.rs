//! Metadata as DICOM JSON (PS3.18 Annex F): from the ready-made block of a sealed series, or read from the header of an
//! instance that is not sealed yet. The same function makes both, so the answers are the same.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use tiering::{ContainerId, Extent};

use super::{InstanceRef, Location, Sealed, Shared};
use crate::archive::{Inner, Results};
use crate::dataset::{self, InstanceUids};
use crate::receive::joined;
use crate::source::record_source;
use crate::{Error, index, journal};

/// Longest metadata block after inflation: 10,000 instances of 100 KiB.
const BLOCK_BYTES_MAX: u64 = 1 << 30;

/// How often a place is asked for again when the instance moved meanwhile.
const MOVES_MAX: usize = 3;

/// One series' objects, one a line.
struct Block {
    text: Bytes,
    /// End of each line.
    ends: Vec<usize>,
}

impl Block {
    fn new(text: Bytes) -> Self {
        let ends = memchr::memchr_iter(b'\n', &text).collect();
        Self { text, ends }
    }

    fn line(&self, position: usize) -> Option<Bytes> {
        let end = *self.ends.get(position)?;
        let start = match position.checked_sub(1) {
            Some(before) => self.ends.get(before)? + 1,
            None => 0,
        };
        Some(self.text.slice(start..end))
    }
}

/// Returns the metadata of instances, in order.
pub(crate) fn metadata(archive: Shared, instances: Vec<InstanceRef>) -> Results<Bytes> {
    let state = (archive, instances.into_iter(), HashMap::new());
    Box::pin(stream::unfold(state, |(archive, mut instances, mut blocks)| async move {
        let instance = instances.next()?;
        let object = object(&archive, &instance, &mut blocks).await;
        Some((object, (archive, instances, blocks)))
    }))
}

async fn object(
    archive: &Arc<Inner>,
    instance: &InstanceRef,
    blocks: &mut HashMap<i64, Block>,
) -> Result<Bytes, Error> {
    // Gone from the journal: sealed meanwhile. Gone from the index: deleted, or sealed anew.
    let mut place = instance.clone();
    for _ in 0..MOVES_MAX {
        let read = match &place.location {
            Location::Journal(record) => unsealed(archive, &place, record).await,
            Location::Container(sealed) => sealed_line(archive, sealed, blocks).await,
        };
        match read {
            Err(Error::Journal(journal::Error::Gone) | Error::Index(index::Error::NotFound { .. })) => {}
            result => return result,
        }
        place = archive.where_is(instance).await?.ok_or(Error::NotFound { what: "instance" })?;
    }
    Err(Error::NotFound { what: "instance" })
}

async fn sealed_line(archive: &Inner, sealed: &Sealed, blocks: &mut HashMap<i64, Block>) -> Result<Bytes, Error> {
    if !blocks.contains_key(&sealed.segment) {
        // A study is asked for series by series: one block at a time is enough.
        blocks.clear();
        let segment = archive.link.get()?.segment(sealed.segment).await?;
        blocks.insert(sealed.segment, Block::new(read_block(archive, segment.container, segment.metadata).await?));
    }
    let line = blocks.get(&sealed.segment).and_then(|block| block.line(sealed.position));
    line.ok_or(Error::NotFound { what: "metadata" })
}

async fn unsealed(archive: &Arc<Inner>, instance: &InstanceRef, record: &journal::RecordRef) -> Result<Bytes, Error> {
    let (journal, record, instance) = (archive.journal.clone(), record.clone(), instance.clone());
    let syntax =
        dataset::transfer_syntax(instance.transfer_syntax_uid.as_str()).ok_or(Error::TransferSyntaxNotSupported)?;
    let permit = archive.parsing.permit(instance.bytes, syntax).await;
    let made = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let uids = InstanceUids {
            study_instance_uid: &instance.study_instance_uid,
            series_instance_uid: &instance.series_instance_uid,
            sop_instance_uid: &instance.sop_instance_uid,
        };
        Ok(Bytes::from(dataset::metadata_json(&record_source(&journal, &record), syntax, uids)?))
    });
    joined(made.await)?
}

/// Reads and inflates the metadata block of a series segment.
pub(crate) async fn read_block(archive: &Inner, container: ContainerId, at: Extent) -> Result<Bytes, Error> {
    let packed = archive.store.read_checked(container, at.offset..at.offset + at.bytes, at.crc32c).await?;
    let inflated = tokio::task::spawn_blocking(move || inflate(&packed));
    let inflated = joined(inflated.await)?.map_err(|source| Error::Io { doing: "inflate a metadata block", source })?;
    Ok(inflated.into())
}

fn inflate(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    zstd::Decoder::new(packed)?.take(BLOCK_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// Packs the objects of a series into the block that `read_block` reads.
pub(crate) fn pack_block(objects: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
    let mut text = Vec::with_capacity(objects.iter().map(|object| object.len() + 1).sum());
    for object in objects {
        text.extend_from_slice(object);
        text.push(b'\n');
    }
    zstd::bulk::compress(&text, 3).map_err(|source| Error::Io { doing: "compress a metadata block", source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_block_comes_back() {
        let objects: Vec<Vec<u8>> = (0..5).map(|n| format!("{{\"{n}\":{{}}}}").into_bytes()).collect();
        let text = inflate(&pack_block(&objects).unwrap()).unwrap();
        let block = Block::new(text.into());
        let lines: Vec<_> = (0..5).map(|n| block.line(n).unwrap().to_vec()).collect();
        assert_eq!(lines, objects);
        assert!(block.line(5).is_none());
    }
}
