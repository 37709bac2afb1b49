//! From hot rows to segments, and from the table of contents of a container back into the index.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use sqlx::PgConnection;
use tiering::{ContainerId, DeviceId, Extent, Manifest, ManifestInstance};

use super::apply::{Added, add};
use super::upsert::{self, NewStudy};
use super::{Error, Index, filters, json, signed, tombstone};
use crate::Uid;
use crate::dataset::Attributes;

/// A sealed container with everything that the index keeps of it.
#[derive(Debug, Clone)]
pub struct SealedContainer {
    /// Its identity.
    pub id: ContainerId,
    /// Generation of its shards.
    pub generation: u32,
    /// Pool that it lies in.
    pub pool: String,
    /// Tier of the pool.
    pub tier: String,
    /// Year and month of study date of its studies.
    pub month: Option<(i16, u8)>,
    /// Data shards, k.
    pub data_shards: u8,
    /// Parity shards, m.
    pub parity_shards: u8,
    /// Logical bytes.
    pub bytes: u64,
    /// Bytes of all its shard files.
    pub stored_bytes: u64,
    /// When it was sealed, in milliseconds since 1970.
    pub sealed_millis: i64,
    /// Where its shards are.
    pub shards: Vec<SealedShard>,
    /// What it holds.
    pub segments: Vec<SealedSegment>,
}

/// A shard of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedShard {
    /// Its number, from 0.
    pub number: u8,
    /// The device that keeps it.
    pub device: DeviceId,
}

/// A part of a series in a container.
#[derive(Debug, Clone)]
pub struct SealedSegment {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// The ready-made metadata.
    pub metadata: Extent,
    /// The instances.
    pub manifest: Arc<Manifest>,
    /// As `Index::series_summary` gave it.
    pub summary: Bytes,
}

/// What a summary says.
struct Summary {
    patient: Attributes,
    study: Attributes,
    series: Attributes,
}

impl Index {
    /// Records a sealed container: its instances are no longer hot. All or nothing, durable on return; recording a
    /// container again changes nothing. A dropped call may or may not have committed.
    pub async fn seal(&self, container: &SealedContainer) -> Result<(), Error> {
        self.file(container).await
    }

    /// Takes a container over from its own table of contents. Rows that are missing are made; instances that are
    /// deleted, or known from another container, are not served from it; hot rows of its instances go.
    pub async fn restore(&self, container: &SealedContainer) -> Result<(), Error> {
        self.file(container).await
    }

    async fn file(&self, container: &SealedContainer) -> Result<(), Error> {
        let summaries = container.segments.iter().map(read_summary).collect::<Result<Vec<_>, _>>()?;
        let mut tx = self.pool.begin().await?;
        if !insert_container(&mut tx, container).await? {
            return Ok(()); // recorded before, in one transaction with all that follows
        }
        let mut wanted = BTreeMap::new();
        for (segment, summary) in container.segments.iter().zip(&summaries) {
            let new = NewStudy { patient: &summary.patient, study: &summary.study };
            wanted.entry(segment.study.clone()).or_insert(new);
        }
        let studies = upsert::lock_studies(&mut tx, &wanted).await?;
        let mut live: Vec<(&SealedSegment, i64, BTreeSet<usize>)> = Vec::new();
        let mut series_wanted = BTreeMap::new();
        for (segment, summary) in container.segments.iter().zip(&summaries) {
            let Some(study) = studies.get(&segment.study) else {
                continue;
            };
            let dead = dead_by_tombstone(&mut tx, segment).await?;
            if dead.len() < segment.manifest.instances.len() {
                series_wanted.entry((*study, segment.series.clone())).or_insert(&summary.series);
                live.push((segment, *study, dead));
            }
        }
        let series = upsert::series(&mut tx, &series_wanted).await?;
        for (segment, study, dead) in live {
            let Some(row) = series.get(&(study, segment.series.clone())) else {
                continue;
            };
            self.file_segment(&mut tx, container.id, *row, segment, dead).await?;
        }
        tombstone::remove_empty(&mut tx, &studies.into_values().collect::<Vec<_>>()).await?;
        tx.commit().await?;
        self.filters.refresh(&self.pool).await
    }

    async fn file_segment(
        &self,
        tx: &mut PgConnection,
        container: ContainerId,
        series: i64,
        segment: &SealedSegment,
        mut dead: BTreeSet<usize>,
    ) -> Result<(), Error> {
        let others = self.segments_of(tx, &[series]).await?;
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (position, instance) in segment.manifest.instances.iter().enumerate() {
            let known = sop(instance).is_ok_and(|sop| others.iter().any(|(_, other)| other.find(&sop).is_some()));
            if known || !seen.insert(&instance.sop_instance_uid) {
                dead.insert(position);
            }
        }
        let live: Vec<&ManifestInstance> = (0..)
            .zip(&segment.manifest.instances)
            .filter(|(position, _)| !dead.contains(position))
            .map(|(_, instance)| instance)
            .collect();
        insert_segment(tx, container, series, segment, &dead).await?;
        let (hot, hot_bytes) = remove_hot(tx, series, &segment.manifest).await?;
        let mut added = Added { instances: -hot, bytes: -hot_bytes, sop_classes: BTreeSet::new() };
        for instance in live {
            added.instances += 1;
            added.bytes += signed(instance.bytes);
            added.sop_classes.insert(instance.kind.sop_class_uid.clone());
        }
        add(tx, &BTreeMap::from([(series, added)])).await
    }
}

fn sop(instance: &ManifestInstance) -> Result<Uid, Error> {
    instance.sop_instance_uid.parse().map_err(|_| Error::Damaged { what: "manifest" })
}

fn read_summary(segment: &SealedSegment) -> Result<Summary, Error> {
    let damaged = Error::Damaged { what: "series summary" };
    let Ok(json) = serde_json::from_slice::<HashMap<String, serde_json::Value>>(&segment.summary) else {
        return Err(damaged);
    };
    let part = |key: &str| json.get(key).map_or_else(|| Ok(Attributes::default()), json::read_value);
    Ok(Summary { patient: part("patient")?, study: part("study")?, series: part("series")? })
}

/// Tells whether the container is new.
async fn insert_container(tx: &mut PgConnection, container: &SealedContainer) -> Result<bool, Error> {
    let sops = container.segments.iter().flat_map(|s| &s.manifest.instances).map(|i| i.sop_instance_uid.as_str());
    let instances: usize = container.segments.iter().map(|s| s.manifest.instances.len()).sum();
    let month = container.month.map(|(year, month)| format!("{year:04}-{month:02}-01"));
    let inserted = sqlx::query(
        "insert into container (id, generation, pool, tier, month, data_shards, parity_shards, bytes, \
             stored_bytes, instances, sealed_millis, filter)
         values ($1::uuid, $2, $3, $4, $5::date, $6, $7, $8, $9, $10, $11, $12)
         on conflict on constraint container_key do nothing",
    )
    .bind(container.id.0.to_string())
    .bind(i64::from(container.generation))
    .bind(&container.pool)
    .bind(&container.tier)
    .bind(month)
    .bind(i16::from(container.data_shards))
    .bind(i16::from(container.parity_shards))
    .bind(signed(container.bytes))
    .bind(signed(container.stored_bytes))
    .bind(i64::try_from(instances).unwrap_or(i64::MAX))
    .bind(container.sealed_millis)
    .bind(filters::build(sops)?)
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    insert_shards(tx, container.id, &container.shards).await?;
    Ok(true)
}

/// Records where the shards of a container are.
pub(super) async fn insert_shards(
    tx: &mut PgConnection,
    container: ContainerId,
    shards: &[SealedShard],
) -> Result<(), Error> {
    sqlx::query(
        "insert into shard (container, number, device)
         select $1::uuid, n.number, n.device::uuid from unnest($2::smallint[], $3::text[]) as n (number, device)",
    )
    .bind(container.0.to_string())
    .bind(shards.iter().map(|s| i16::from(s.number)).collect::<Vec<_>>())
    .bind(shards.iter().map(|s| s.device.to_string()).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

/// Returns the positions of deleted instances: all of them for a deleted series.
async fn dead_by_tombstone(tx: &mut PgConnection, segment: &SealedSegment) -> Result<BTreeSet<usize>, Error> {
    let deleted: Vec<String> = sqlx::query_scalar(
        "select sop_instance_uid from tombstone where study_instance_uid = $1 and series_instance_uid = $2",
    )
    .bind(segment.study.as_str())
    .bind(segment.series.as_str())
    .fetch_all(tx)
    .await?;
    let deleted: BTreeSet<String> = deleted.into_iter().collect();
    let all = deleted.contains("");
    let positions = segment.manifest.instances.iter().enumerate();
    Ok(positions.filter(|(_, i)| all || deleted.contains(&i.sop_instance_uid)).map(|(p, _)| p).collect())
}

async fn insert_segment(
    tx: &mut PgConnection,
    container: ContainerId,
    series: i64,
    segment: &SealedSegment,
    dead: &BTreeSet<usize>,
) -> Result<(), Error> {
    let too_long = |_| Error::Damaged { what: "manifest" };
    let dead = dead.iter().map(|p| i32::try_from(*p)).collect::<Result<Vec<_>, _>>().map_err(too_long)?;
    sqlx::query(
        "insert into series_segment (series, container, instances, metadata_offset, metadata_bytes, metadata_crc32c, \
             dead, manifest)
         values ($1, $2::uuid, $3, $4, $5, $6, $7, $8)",
    )
    .bind(series)
    .bind(container.0.to_string())
    .bind(i32::try_from(segment.manifest.instances.len()).map_err(too_long)?)
    .bind(signed(segment.metadata.offset))
    .bind(signed(segment.metadata.bytes))
    .bind(i64::from(segment.metadata.crc32c))
    .bind(dead)
    .bind(segment.manifest.encode())
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes the hot rows of a manifest's instances and returns how many they were and their bytes. Rows with other
/// bytes go as well: what is sealed was there first.
async fn remove_hot(tx: &mut PgConnection, series: i64, manifest: &Manifest) -> Result<(i64, i64), Error> {
    let removed: (i64, i64) = sqlx::query_as(
        "with removed as (
             delete from instance_hot where series = $1 and sop_instance_uid = any($2) returning payload_bytes)
         select count(*), coalesce(sum(payload_bytes), 0)::bigint from removed",
    )
    .bind(series)
    .bind(manifest.instances.iter().map(|i| i.sop_instance_uid.as_str()).collect::<Vec<_>>())
    .fetch_one(tx)
    .await?;
    Ok(removed)
}
