//! What the index is told of a container: by the packer that sealed it, or by the table of contents of one that was found.

use std::sync::Arc;

use tiering::{CodeProfile, ContainerId, ContainerPlaces, DeviceId, Sealed, Toc};

use super::plan::Month;
use crate::archive::Inner;
use crate::dataset;
use crate::index::{self, SealedContainer, SealedSegment, SealedShard};
use crate::Error;

/// Describes a container that was just sealed.
pub(super) fn sealed(archive: &Inner, sealed: &Sealed, month: Month, toc: &Toc) -> Result<SealedContainer, Error> {
    let shards = &sealed.shards;
    let shard_bytes = sealed.stored_bytes / u64::try_from(shards.len()).unwrap_or(1).max(1);
    describe(archive, (sealed.id, &sealed.pool, sealed.code), (shards, shard_bytes), sealed.logical_bytes, month, toc)
}

/// Describes a container that the devices have and the index does not.
pub(super) fn found(archive: &Inner, places: &ContainerPlaces, toc: &Toc) -> Result<SealedContainer, Error> {
    let segments = || toc.segments.iter();
    let ends = segments().map(|segment| segment.metadata.offset + segment.metadata.bytes);
    let bytes = ends.max().unwrap_or(0);
    let shard_bytes = bytes / u64::from(places.code.data_shards).max(1);
    let month = segments().next().and_then(|segment| month_of(&segment.summary));
    describe(archive, (places.id, &places.pool, places.code), (&places.places, shard_bytes), bytes, month, toc)
}

fn describe(
    archive: &Inner,
    (id, pool, code): (ContainerId, &str, CodeProfile),
    (shards, shard_bytes): (&[(u8, DeviceId)], u64),
    bytes: u64,
    month: Month,
    toc: &Toc,
) -> Result<SealedContainer, Error> {
    let tier = archive.options.pools.iter().find(|config| config.name == pool).map(|config| config.tier.to_string());
    let shards = shards.iter();
    Ok(SealedContainer {
        id,
        generation: 0,
        pool: pool.to_owned(),
        tier: tier.unwrap_or_default(),
        month,
        data_shards: code.data_shards,
        parity_shards: code.parity_shards,
        bytes,
        sealed_millis: archive.options.clock.now().as_millisecond(),
        shards: shards.map(|(number, device)| SealedShard { number: *number, device: device.0, bytes: shard_bytes }).collect(),
        segments: toc.segments.iter().map(segment).collect::<Result<_, _>>()?,
    })
}

fn segment(segment: &tiering::TocSegment) -> Result<SealedSegment, Error> {
    let damaged = |_| Error::from(index::Error::Damaged { what: "container's table of contents" });
    Ok(SealedSegment {
        study: segment.study_instance_uid.parse().map_err(damaged)?,
        series: segment.series_instance_uid.parse().map_err(damaged)?,
        metadata: segment.metadata,
        manifest: Arc::new(segment.manifest.clone()),
        summary: segment.summary.clone(),
    })
}

/// Returns year and month of Study Date (0008,0020) in a series summary.
fn month_of(summary: &[u8]) -> Month {
    let summary: serde_json::Value = serde_json::from_slice(summary).ok()?;
    let study = serde_json::to_vec(summary.get("study")?).ok()?;
    let study = dataset::read_json(&study).ok()?;
    let date = study.text(dicom_dictionary_std::tags::STUDY_DATE)?;
    Some((date.get(..4)?.parse().ok()?, date.get(4..6)?.parse().ok()?))
}
