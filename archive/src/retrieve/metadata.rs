//! Metadata as DICOM JSON (PS3.18 Annex F): from the ready-made block of a sealed series, or read from the header of an
//! instance that is not sealed yet. The same function makes both, so the answers are the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;

use super::Shared;
use super::block::Block;
use crate::Error;
use crate::archive::{Inner, Results};
use crate::receive::joined;
use crate::source::record_source;
use dicom_data::InstanceUids;
use dicom_data::Uid;
use index::{InstanceRef, Location, Sealed};

/// How often a place is asked for again when the instance moved meanwhile.
const MOVES_MAX: usize = 3;

/// The blocks of the series that is being read, by segment: one, or a few when instances came late.
#[derive(Default)]
struct Blocks {
    series: Option<Uid>,
    open: HashMap<i64, Block>,
}

/// Returns the metadata of instances, in order.
pub(crate) fn metadata(archive: Shared, instances: Vec<InstanceRef>) -> Results<Bytes> {
    let state = (archive, instances.into_iter(), Blocks::default());
    Box::pin(stream::unfold(state, |(archive, mut instances, mut blocks)| async move {
        let instance = instances.next()?;
        let object = match blocks.ready_line(&instance) {
            Some(line) => Ok(line),
            None => object(&archive, instance, &mut blocks).await,
        };
        Some((object, (archive, instances, blocks)))
    }))
}

async fn object(archive: &Arc<Inner>, instance: InstanceRef, blocks: &mut Blocks) -> Result<Bytes, Error> {
    // Gone from the journal: sealed meanwhile. Gone from the index: deleted, or sealed anew.
    let mut place = instance;
    for _ in 0..MOVES_MAX {
        let read = match &place.location {
            Location::Journal(record) => unsealed(archive, &place, record).await,
            Location::Container(sealed) => sealed_line(archive, &place, sealed, blocks).await,
        };
        match read {
            Err(Error::Journal(journal::Error::Gone) | Error::Index(index::Error::NotFound { .. })) => {}
            result => return result,
        }
        place = archive.where_is(&place).await?.ok_or(Error::NotFound { what: "instance" })?;
    }
    Err(Error::NotFound { what: "instance" })
}

impl Blocks {
    /// Returns the line of an instance if it is inflated already: most are.
    fn ready_line(&self, instance: &InstanceRef) -> Option<Bytes> {
        match &instance.location {
            Location::Journal(_) => None,
            Location::Container(sealed) => self.open.get(&sealed.segment)?.ready_line(sealed.position),
        }
    }
}

async fn sealed_line(
    archive: &Inner,
    instance: &InstanceRef,
    sealed: &Sealed,
    blocks: &mut Blocks,
) -> Result<Bytes, Error> {
    // A study is asked for series by series.
    if blocks.series.as_ref() != Some(&instance.series_instance_uid) {
        *blocks = Blocks { series: Some(instance.series_instance_uid.clone()), open: HashMap::new() };
    }
    let block = match blocks.open.entry(sealed.segment) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            let (container, at) = archive.metadata_extent(&instance.series_instance_uid, sealed.segment).await?;
            let packed =
                archive.store.read_checked_waiting(container, at.offset..at.offset + at.bytes, at.crc32c).await?;
            entry.insert(Block::new(packed).map_err(inflating)?)
        }
    };
    let line = block.line(sealed.position).map_err(inflating)?;
    line.ok_or(Error::NotFound { what: "metadata" })
}

fn inflating(source: io::Error) -> Error {
    Error::Io { doing: "inflate a metadata block", source }
}

async fn unsealed(archive: &Arc<Inner>, instance: &InstanceRef, record: &journal::RecordRef) -> Result<Bytes, Error> {
    let (journal, record, instance) = (archive.journal.clone(), record.clone(), instance.clone());
    let syntax =
        dicom_data::transfer_syntax(instance.transfer_syntax_uid.as_str()).ok_or(Error::TransferSyntaxNotSupported)?;
    let permit = archive.parsing.permit(instance.bytes, syntax).await;
    let made = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let uids = InstanceUids {
            study_instance_uid: &instance.study_instance_uid,
            series_instance_uid: &instance.series_instance_uid,
            sop_instance_uid: &instance.sop_instance_uid,
        };
        Ok(Bytes::from(dicom_data::metadata_json(&record_source(&journal, &record), syntax, uids)?))
    });
    joined(made.await)?
}
