//! Segments: the packed manifests of sealed series, cached decoded.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use sqlx::PgConnection;
use tiering::{ContainerId, Extent, Manifest, ManifestInstance};

use super::{Error, Index, unsigned};
use dicom_data::Uid;

/// Most bytes of decoded manifests that are kept, as far as they can be estimated.
const CACHE_BYTES_MAX: usize = 128 << 20;
/// What a decoded manifest entry takes, UID and bookkeeping included.
const INSTANCE_BYTES: usize = 224;

/// One part of a series in one container.
#[derive(Debug)]
pub struct Segment {
    /// Its row.
    pub id: i64,
    /// The container.
    pub container: ContainerId,
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// The instances that are served, in container order.
    pub manifest: Arc<Manifest>,
    /// Where the ready-made metadata of all its instances lies.
    pub metadata: Extent,
    /// Position of each served instance in the manifest as sealed; `None` when all are served.
    positions: Option<Vec<u32>>,
    /// Indexes into `manifest` by the hash of the SOP Instance UID: look-ups compare numbers that lie side by side rather
    /// than ten texts all over the memory.
    by_sop: Vec<(u32, u32)>,
    hashing: RandomState,
}

impl Segment {
    /// Returns a served instance.
    pub fn find(&self, sop_instance_uid: &Uid) -> Option<&ManifestInstance> {
        self.find_numbered(sop_instance_uid).map(|(_, instance)| instance)
    }

    /// Returns a served instance and its index among the served ones.
    pub(super) fn find_numbered(&self, sop_instance_uid: &Uid) -> Option<(usize, &ManifestInstance)> {
        self.find_text(sop_instance_uid.as_str())
    }

    /// Tells whether an instance is served from here.
    pub(super) fn has(&self, sop_instance_uid: &str) -> bool {
        self.find_text(sop_instance_uid).is_some()
    }

    fn find_text(&self, sop_instance_uid: &str) -> Option<(usize, &ManifestInstance)> {
        let wanted = short_hash(&self.hashing, sop_instance_uid);
        let first = self.by_sop.partition_point(|(hash, _)| *hash < wanted);
        let same = self.by_sop.get(first..)?.iter().take_while(|(hash, _)| *hash == wanted);
        same.filter_map(|(_, no)| self.at(*no)).find(|(_, i)| i.sop_instance_uid == sop_instance_uid)
    }

    /// Returns the position of a served instance among all instances of the segment as sealed.
    pub fn position_of(&self, sop_instance_uid: &Uid) -> Option<usize> {
        Some(self.position(self.find_numbered(sop_instance_uid)?.0))
    }

    /// Returns the position that the served instance `index` has among all instances of the segment as sealed, which is
    /// its position in the metadata block.
    pub fn position(&self, index: usize) -> usize {
        match &self.positions {
            None => index,
            Some(positions) => positions.get(index).and_then(|p| usize::try_from(*p).ok()).unwrap_or(usize::MAX),
        }
    }

    /// Tells whether the metadata block has instances that are no longer served.
    pub fn is_partial(&self) -> bool {
        self.positions.is_some()
    }

    fn at(&self, no: u32) -> Option<(usize, &ManifestInstance)> {
        let index = usize::try_from(no).ok()?;
        Some((index, self.manifest.instances.get(index)?))
    }

    fn memory_bytes(&self) -> usize {
        self.manifest.instances.len() * INSTANCE_BYTES + 1_024
    }
}

/// Decoded segments by row and number of dead instances, which grows with every change.
#[derive(Debug)]
pub(super) struct Cache {
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    segments: LruCache<(i64, i32), Arc<Segment>>,
    bytes: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self { held: Mutex::new(Held { segments: LruCache::unbounded(), bytes: 0 }) }
    }
}

impl Cache {
    pub(super) fn clear(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.segments.clear();
        held.bytes = 0;
    }

    fn get(&self, key: (i64, i32)) -> Option<Arc<Segment>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).segments.get(&key).cloned()
    }

    fn put(&self, key: (i64, i32), segment: &Arc<Segment>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes += segment.memory_bytes();
        if let Some(old) = held.segments.put(key, Arc::clone(segment)) {
            held.bytes -= old.memory_bytes();
        }
        while held.bytes > CACHE_BYTES_MAX {
            let Some((_, old)) = held.segments.pop_lru() else {
                return;
            };
            held.bytes -= old.memory_bytes();
        }
    }
}

impl Index {
    /// Returns the segments of a series, oldest first; of every study that has a series with this UID.
    pub async fn series_segments(&self, series_instance_uid: &Uid) -> Result<Vec<Arc<Segment>>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows: Vec<i64> = sqlx::query_scalar("select id from series where series_instance_uid = $1 order by id")
            .bind(series_instance_uid.as_str())
            .fetch_all(&mut *connection)
            .await?;
        if rows.is_empty() {
            return Ok(Vec::new()); // a new series: every first instance asks
        }
        let found = self.segments_of(&mut connection, &rows).await?;
        Ok(found.into_iter().map(|(_, segment)| segment).collect())
    }

    /// Returns one segment; `NotFound` when it was deleted or rewritten: locate the instance again.
    pub async fn segment(&self, id: i64) -> Result<Arc<Segment>, Error> {
        let mut connection = self.pool.acquire().await?;
        let key: Option<(i64, i32)> = sqlx::query_as("select id, cardinality(dead) from series_segment where id = $1")
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
        let key = key.ok_or(Error::NotFound { what: "segment" })?;
        let found = self.load(&mut connection, vec![key]).await?;
        found.into_iter().next().ok_or(Error::NotFound { what: "segment" })
    }

    /// Returns the segments of series rows with their series row, oldest first.
    pub(super) async fn segments_of(
        &self,
        connection: &mut PgConnection,
        series: &[i64],
    ) -> Result<Vec<(i64, Arc<Segment>)>, Error> {
        let keys: Vec<(i64, i64, i32)> = sqlx::query_as(
            "select series, id, cardinality(dead) from series_segment where series = any($1) order by id",
        )
        .bind(series)
        .fetch_all(&mut *connection)
        .await?;
        let segments = self.load(connection, keys.iter().map(|(_, id, dead)| (*id, *dead)).collect()).await?;
        let series_of: BTreeMap<i64, i64> = keys.iter().map(|key| (key.1, key.0)).collect();
        Ok(segments.into_iter().filter_map(|segment| Some((*series_of.get(&segment.id)?, segment))).collect())
    }

    /// Returns the segments of a container that have the instance.
    pub(super) async fn segments_in(
        &self,
        connection: &mut PgConnection,
        container: ContainerId,
    ) -> Result<Vec<Arc<Segment>>, Error> {
        let keys: Vec<(i64, i32)> =
            sqlx::query_as("select id, cardinality(dead) from series_segment where container = $1::uuid order by id")
                .bind(container.0.to_string())
                .fetch_all(&mut *connection)
                .await?;
        self.load(connection, keys).await
    }

    /// Takes what is cached and reads the rest; what vanished meanwhile is left out.
    async fn load(&self, connection: &mut PgConnection, keys: Vec<(i64, i32)>) -> Result<Vec<Arc<Segment>>, Error> {
        let mut found: Vec<Arc<Segment>> = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for key in keys {
            match self.segments.get(key) {
                Some(segment) => found.push(segment),
                None => missing.push(key.0),
            }
        }
        if !missing.is_empty() {
            let rows: Vec<Row> = sqlx::query_as(SELECT).bind(missing).fetch_all(connection).await?;
            for row in rows {
                let dead = i32::try_from(row.dead.len()).map_err(|_| DAMAGED)?;
                let segment = Arc::new(row.decode()?);
                self.segments.put((segment.id, dead), &segment);
                found.push(segment);
            }
            found.sort_by_key(|segment| segment.id);
        }
        Ok(found)
    }
}

fn short_hash(hashing: &RandomState, sop_instance_uid: &str) -> u32 {
    let [a, b, c, d, ..] = hashing.hash_one(sop_instance_uid).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

const SELECT: &str = "select g.id, g.container::text as container, t.study_instance_uid, s.series_instance_uid, \
    g.metadata_offset, g.metadata_bytes, g.metadata_crc32c, g.dead, g.manifest
    from series_segment g
    join series s on s.id = g.series
    join study t on t.id = s.study
    where g.id = any($1)";

const DAMAGED: Error = Error::Damaged { what: "segment" };

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    container: String,
    study_instance_uid: String,
    series_instance_uid: String,
    metadata_offset: i64,
    metadata_bytes: i64,
    metadata_crc32c: i64,
    dead: Vec<i32>,
    manifest: Vec<u8>,
}

impl Row {
    fn decode(self) -> Result<Segment, Error> {
        let mut manifest = Manifest::decode(&self.manifest).map_err(|_| DAMAGED)?;
        let positions = if self.dead.is_empty() {
            None
        } else {
            let mut positions = Vec::with_capacity(manifest.instances.len());
            let mut position = 0_u32;
            manifest.instances.retain(|_| {
                let served = !i32::try_from(position).is_ok_and(|p| self.dead.contains(&p));
                if served {
                    positions.push(position);
                }
                position += 1;
                served
            });
            Some(positions)
        };
        let hashing = RandomState::new();
        let hashed = |i: &ManifestInstance| short_hash(&hashing, &i.sop_instance_uid);
        let mut by_sop: Vec<(u32, u32)> = manifest.instances.iter().map(hashed).zip(0..).collect();
        by_sop.sort_unstable();
        Ok(Segment {
            id: self.id,
            container: ContainerId(self.container.parse().map_err(|_| DAMAGED)?),
            study: self.study_instance_uid.parse().map_err(|_| DAMAGED)?,
            series: self.series_instance_uid.parse().map_err(|_| DAMAGED)?,
            metadata: Extent {
                offset: unsigned(self.metadata_offset, "segment")?,
                bytes: unsigned(self.metadata_bytes, "segment")?,
                crc32c: u32::try_from(self.metadata_crc32c).map_err(|_| DAMAGED)?,
            },
            manifest: Arc::new(manifest),
            positions,
            by_sop,
            hashing,
        })
    }
}
