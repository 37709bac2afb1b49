//! What the index is told of a container: by the packer that sealed it, or by the table of contents of one that was found.

use std::sync::Arc;

use index::{NewContainer, NewSegment, NewShard};
use jiff::Timestamp;
use tiering::{CodeProfile, ContainerId, ContainerPlaces, DeviceId, SealReport, Toc};

use crate::Error;
use crate::containers::Containers;
use crate::decisions::seal::Month;

/// Describes a container that was just sealed.
pub(super) fn sealed(
    containers: &Containers,
    sealed: &SealReport,
    month: Month,
    toc: Toc,
    now: Timestamp,
) -> Result<NewContainer, Error> {
    let place = Place { id: sealed.id, pool: &sealed.pool, code: sealed.code, shards: &sealed.shards };
    describe(containers, &place, (sealed.logical_bytes, sealed.stored_bytes), month, toc, now)
}

/// Describes a container that the devices have and the index does not.
pub(super) fn found(
    containers: &Containers,
    places: &ContainerPlaces,
    toc: Toc,
    now: Timestamp,
) -> Result<NewContainer, Error> {
    let place = Place { id: places.id, pool: &places.pool, code: places.code, shards: &places.places };
    let ends = toc.segments.iter().map(|segment| segment.metadata.offset + segment.metadata.bytes);
    let bytes = ends.max().unwrap_or(0);
    let stored_bytes = bytes / u64::from(places.code.data_shards).max(1) * u64::from(places.code.shards());
    let month = toc.segments.first().and_then(|segment| month_of(&segment.summary));
    describe(containers, &place, (bytes, stored_bytes), month, toc, now)
}

/// Which container, and where it lies.
struct Place<'a> {
    id: ContainerId,
    pool: &'a str,
    code: CodeProfile,
    shards: &'a [(u8, DeviceId)],
}

fn describe(
    containers: &Containers,
    place: &Place<'_>,
    (bytes, stored_bytes): (u64, u64),
    month: Month,
    toc: Toc,
    now: Timestamp,
) -> Result<NewContainer, Error> {
    let shards = place.shards.iter();
    Ok(NewContainer {
        id: place.id,
        generation: 0,
        pool: place.pool.to_owned(),
        tier: containers.tier_of(place.pool),
        month,
        data_shards: place.code.data_shards,
        parity_shards: place.code.parity_shards,
        bytes,
        stored_bytes,
        sealed_millis: now.as_millisecond(),
        shards: shards.map(|(number, device)| NewShard { number: *number, device: *device }).collect(),
        segments: toc.segments.into_iter().map(segment).collect::<Result<_, _>>()?,
    })
}

fn segment(segment: tiering::TocSegment) -> Result<NewSegment, Error> {
    let damaged = |_| Error::from(index::Error::Damaged { what: "container's table of contents" });
    Ok(NewSegment {
        study: segment.study_instance_uid.parse().map_err(damaged)?,
        series: segment.series_instance_uid.parse().map_err(damaged)?,
        metadata: segment.metadata,
        manifest: Arc::new(segment.manifest),
        summary: segment.summary,
    })
}

/// Returns year and month of Study Date (0008,0020) in a series summary.
fn month_of(summary: &[u8]) -> Month {
    let summary: serde_json::Value = serde_json::from_slice(summary).ok()?;
    let study = serde_json::to_vec(summary.get("study")?).ok()?;
    let study = dicom_data::read_json(&study).ok()?;
    let date = study.text(dicom_dictionary_std::tags::STUDY_DATE)?;
    Some((date.get(..4)?.parse().ok()?, date.get(4..6)?.parse().ok()?))
}
