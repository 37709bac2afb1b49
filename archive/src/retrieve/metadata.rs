//! Metadata as DICOM JSON (PS3.18 Annex F): from the ready-made block of a sealed series, or read from the header of an
//! instance that is not sealed yet. The same function makes both, so the answers are the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use dicom_data::{InstanceUids, Uid};
use futures_util::stream;
use index::{ContainerPlace, InstanceRef, Location};
use journal::RecordRef;
use tiering::{Checked, Wait};

use super::locate::Place;
use super::reader::Reader;
use crate::budgets::HeaderBudget;
use crate::manifest_cache::ManifestCache;
use crate::metadata_block::Block;
use crate::tasks::blocking;
use crate::{Error, Results};

/// Reads metadata.
#[derive(Debug)]
pub(crate) struct MetadataReader {
    reader: Arc<Reader>,
    manifests: Arc<ManifestCache>,
    headers: HeaderBudget,
}

impl MetadataReader {
    pub(crate) fn new(reader: Arc<Reader>, manifests: Arc<ManifestCache>, headers: HeaderBudget) -> Self {
        Self { reader, manifests, headers }
    }
}

/// The blocks of the series that is being read, by segment: one, or a few when instances came late.
#[derive(Default)]
struct Blocks {
    series: Option<Uid>,
    open: HashMap<i64, Block>,
}

/// Returns the metadata of instances, in order.
pub(crate) fn metadata(metadata: Arc<MetadataReader>, instances: Vec<InstanceRef>) -> Results<Bytes> {
    let state = (metadata, instances.into_iter(), Blocks::default());
    Box::pin(stream::unfold(state, |(metadata, mut instances, mut blocks)| async move {
        let instance = instances.next()?;
        let object = match blocks.ready_line(&instance) {
            Some(line) => Ok(line),
            None => object(&metadata, instance, &mut blocks).await,
        };
        Some((object, (metadata, instances, blocks)))
    }))
}

async fn object(metadata: &MetadataReader, instance: InstanceRef, blocks: &mut Blocks) -> Result<Bytes, Error> {
    let mut place = Place::new(instance);
    loop {
        let read = match &place.instance.location {
            Location::Journal(record) => unsealed(metadata, &place.instance, record).await,
            Location::Container(sealed) => sealed_line(metadata, &place.instance, sealed, blocks).await,
        };
        match read {
            Ok(object) => return Ok(object),
            Err(error) => place.find_again(metadata.reader.locator(), error).await?,
        }
    }
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
    metadata: &MetadataReader,
    instance: &InstanceRef,
    sealed: &ContainerPlace,
    blocks: &mut Blocks,
) -> Result<Bytes, Error> {
    // A study is asked for series by series.
    if blocks.series.as_ref() != Some(&instance.series_instance_uid) {
        *blocks = Blocks { series: Some(instance.series_instance_uid.clone()), open: HashMap::new() };
    }
    let block = match blocks.open.entry(sealed.segment) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            let (container, at) =
                metadata.manifests.metadata_extent(&instance.series_instance_uid, sealed.segment).await?;
            let packed = metadata
                .reader
                .store()
                .read(container, at.offset..at.offset + at.bytes, Checked::Crc(at.crc32c), Wait::AtOnce)
                .await?;
            entry.insert(Block::new(packed).map_err(inflating)?)
        }
    };
    let line = block.line(sealed.position).map_err(inflating)?;
    line.ok_or(Error::NotFound { what: "metadata" })
}

fn inflating(source: io::Error) -> Error {
    Error::Io { doing: "inflate a metadata block", source }
}

async fn unsealed(metadata: &MetadataReader, instance: &InstanceRef, record: &RecordRef) -> Result<Bytes, Error> {
    let (unsealed, record, instance) = (Arc::clone(metadata.reader.unsealed()), record.clone(), instance.clone());
    let syntax =
        dicom_data::transfer_syntax(instance.transfer_syntax_uid.as_str()).ok_or(Error::TransferSyntaxNotSupported)?;
    let permit = metadata.headers.permit(instance.bytes, syntax).await;
    let made = blocking(move || {
        let _permit = permit;
        let uids = InstanceUids {
            study_instance_uid: &instance.study_instance_uid,
            series_instance_uid: &instance.series_instance_uid,
            sop_instance_uid: &instance.sop_instance_uid,
        };
        Ok(Bytes::from(dicom_data::metadata_json(&unsealed.source(&record), syntax, uids)?))
    });
    made.await?
}
