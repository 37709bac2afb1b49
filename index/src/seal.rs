//! From unsealed rows to segments, and from the table of contents of a container back into the index.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sqlx::PgConnection;
use tiering::{ContainerId, ManifestInstance};

use crate::apply::{Added, add};
use crate::connection::Index;
use crate::error::Error;
use crate::new_container::{NewContainer, NewSegment, NewShard};
use crate::numbers::signed;
use crate::segment::Segment;
use crate::summary::Summary;
use crate::upsert::{self, NewStudy};
use crate::{filters, tombstone};
use dicom_data::Uid;

impl Index {
    /// Records a sealed container: its instances are no longer unsealed. All or nothing, durable on return; recording a
    /// container again changes nothing. A dropped call may or may not have committed.
    pub async fn seal(&self, container: &NewContainer) -> Result<(), Error> {
        self.file(container).await
    }

    /// Takes a container over from its own table of contents. Rows that are missing are made; instances that are
    /// deleted, or known from another container, are not served from it; unsealed rows of its instances go.
    pub async fn adopt(&self, container: &NewContainer) -> Result<(), Error> {
        self.file(container).await
    }

    async fn file(&self, container: &NewContainer) -> Result<(), Error> {
        let summaries = container.segments.iter().map(Summary::of).collect::<Result<Vec<_>, _>>()?;
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
        let deleted = deleted(&mut tx, &container.segments).await?;
        let (mut live, mut with_dead, mut series_wanted) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        for (segment, summary) in container.segments.iter().zip(&summaries) {
            let Some(study) = studies.get(&segment.study) else {
                continue;
            };
            let dead = dead_by_tombstone(&deleted, segment);
            if !dead.is_empty() {
                with_dead.insert(*study);
            }
            if dead.len() < segment.manifest.instances.len() {
                series_wanted.entry((*study, segment.series.clone())).or_insert(&summary.series);
                live.push((*study, segment, dead));
            }
        }
        let rows = upsert::series(&mut tx, &series_wanted).await?;
        let row = |study: i64, series: &Uid| rows.get(&(study, series.clone())).copied();
        let mut filed: Vec<Filed<'_>> = live
            .into_iter()
            .filter_map(|(study, segment, dead)| Some(Filed { series: row(study, &segment.series)?, segment, dead }))
            .collect();
        for filed in filed.chunks_mut(SEGMENTS_MAX) {
            self.file_segments(&mut tx, container.id, filed).await?;
        }
        // Of all others something is served.
        tombstone::remove_empty(&mut tx, &with_dead.into_iter().collect::<Vec<_>>()).await?;
        tx.commit().await?;
        self.filters.refresh(&self.pool).await
    }

    /// Files segments of different series, whose studies are locked.
    async fn file_segments(
        &self,
        tx: &mut PgConnection,
        container: ContainerId,
        filed: &mut [Filed<'_>],
    ) -> Result<(), Error> {
        let rows: Vec<i64> = filed.iter().map(|filed| filed.series).collect();
        let mut others: HashMap<i64, Vec<Arc<Segment>>> = HashMap::new();
        for (series, segment) in self.segments_of(tx, &rows).await? {
            others.entry(series).or_default().push(segment);
        }
        for filed in &mut *filed {
            filed.add_known(others.get(&filed.series).map_or(&[], Vec::as_slice));
        }
        insert_segments(tx, container, filed).await?;
        let mut added = remove_unsealed(tx, filed).await?;
        for filed in filed {
            let added = added.entry(filed.series).or_default();
            for instance in filed.live() {
                added.instances += 1;
                added.bytes += signed(instance.bytes);
                if !added.sop_classes.contains(&instance.kind.sop_class_uid) {
                    added.sop_classes.insert(instance.kind.sop_class_uid.clone());
                }
            }
        }
        add(tx, &added).await
    }
}

/// Segments that are filed by one statement each of a few.
const SEGMENTS_MAX: usize = 1_000;

/// A segment on its way into the index.
struct Filed<'a> {
    /// Its row of `series`.
    series: i64,
    segment: &'a NewSegment,
    /// Positions that are not served.
    dead: BTreeSet<usize>,
}

impl Filed<'_> {
    /// Adds what is dead because other segments of the series, or the segment itself, have it before.
    fn add_known(&mut self, others: &[Arc<Segment>]) {
        let mut seen: HashSet<&str> = HashSet::with_capacity(self.segment.manifest.instances.len());
        for (position, instance) in self.segment.manifest.instances.iter().enumerate() {
            let again = !seen.insert(&instance.sop_instance_uid);
            if again || others.iter().any(|other| other.has(&instance.sop_instance_uid)) {
                self.dead.insert(position);
            }
        }
    }

    fn live(&self) -> impl Iterator<Item = &ManifestInstance> {
        let instances = self.segment.manifest.instances.iter().enumerate();
        instances.filter(|(position, _)| !self.dead.contains(position)).map(|(_, instance)| instance)
    }
}

/// Tells whether the container is new.
async fn insert_container(tx: &mut PgConnection, container: &NewContainer) -> Result<bool, Error> {
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
    shards: &[NewShard],
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

/// What is deleted of series: SOP Instance UIDs, an empty one for all of it.
type Deleted = HashMap<(String, String), BTreeSet<String>>;

/// Returns what is deleted in the studies of segments.
async fn deleted(tx: &mut PgConnection, segments: &[NewSegment]) -> Result<Deleted, Error> {
    let studies: BTreeSet<&str> = segments.iter().map(|segment| segment.study.as_str()).collect();
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "select study_instance_uid, series_instance_uid, sop_instance_uid from tombstone
         where study_instance_uid = any($1) and series_instance_uid <> ''",
    )
    .bind(studies.into_iter().collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    let mut deleted = Deleted::new();
    for (study, series, sop) in rows {
        deleted.entry((study, series)).or_default().insert(sop);
    }
    Ok(deleted)
}

/// Returns the positions of deleted instances: all of them for a deleted series.
fn dead_by_tombstone(deleted: &Deleted, segment: &NewSegment) -> BTreeSet<usize> {
    let key = (segment.study.as_str().to_owned(), segment.series.as_str().to_owned());
    let Some(deleted) = deleted.get(&key) else { return BTreeSet::new() };
    let all = deleted.contains("");
    let positions = segment.manifest.instances.iter().enumerate();
    positions.filter(|(_, i)| all || deleted.contains(&i.sop_instance_uid)).map(|(p, _)| p).collect()
}

async fn insert_segments(tx: &mut PgConnection, container: ContainerId, filed: &[Filed<'_>]) -> Result<(), Error> {
    let too_long = |_| Error::Damaged { what: "manifest" };
    let segments = || filed.iter().map(|filed| filed.segment);
    let instances: Result<Vec<i32>, _> = segments().map(|s| i32::try_from(s.manifest.instances.len())).collect();
    let dead = |filed: &Filed<'_>| filed.dead.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    sqlx::query(
        "insert into series_segment (series, container, instances, metadata_offset, metadata_bytes, metadata_crc32c, \
             dead, manifest)
         select n.series, $1::uuid, n.instances, n.at, n.bytes, n.crc32c, string_to_array(n.dead, ',')::integer[], n.manifest
         from unnest($2::bigint[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::bytea[])
             as n (series, instances, at, bytes, crc32c, dead, manifest)",
    )
    .bind(container.0.to_string())
    .bind(filed.iter().map(|filed| filed.series).collect::<Vec<_>>())
    .bind(instances.map_err(too_long)?)
    .bind(segments().map(|s| signed(s.metadata.offset)).collect::<Vec<_>>())
    .bind(segments().map(|s| signed(s.metadata.bytes)).collect::<Vec<_>>())
    .bind(segments().map(|s| i64::from(s.metadata.crc32c)).collect::<Vec<_>>())
    .bind(filed.iter().map(dead).collect::<Vec<_>>())
    .bind(segments().map(|s| s.manifest.encode()).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes the unsealed rows of the segments' instances and returns what that takes from each series. Rows with other bytes
/// go as well: what is sealed was there first.
async fn remove_unsealed(tx: &mut PgConnection, filed: &[Filed<'_>]) -> Result<BTreeMap<i64, Added>, Error> {
    let series: Vec<i64> = filed.iter().map(|filed| filed.series).collect();
    let any: bool = sqlx::query_scalar("select exists (select from instance_unsealed where series = any($1))")
        .bind(&series)
        .fetch_one(&mut *tx)
        .await?;
    if !any {
        return Ok(BTreeMap::new()); // an index that is filled again from containers
    }
    let sops = || filed.iter().flat_map(|f| f.segment.manifest.instances.iter().map(|i| (f.series, i)));
    let removed: Vec<(i64, i64, i64)> = sqlx::query_as(
        "with removed as (
             delete from instance_unsealed h using unnest($1::bigint[], $2::text[]) as n (series, sop)
             where h.series = n.series and h.sop_instance_uid = n.sop
             returning h.series, h.payload_bytes)
         select series, count(*), sum(payload_bytes)::bigint from removed group by series",
    )
    .bind(sops().map(|(series, _)| series).collect::<Vec<_>>())
    .bind(sops().map(|(_, instance)| instance.sop_instance_uid.as_str()).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    let taken = |instances: i64, bytes: i64| Added { instances: -instances, bytes: -bytes, ..Added::default() };
    Ok(removed.into_iter().map(|(series, instances, bytes)| (series, taken(instances, bytes))).collect())
}
