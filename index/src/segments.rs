//! Reading segments: from memory when they were read before, else from Postgres.

use std::collections::BTreeMap;
use std::sync::Arc;

use dicom_data::Uid;
use sqlx::PgConnection;
use tiering::ContainerId;

use crate::connection::Index;
use crate::error::Error;
use crate::segment::{Segment, SegmentRow};

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
            let rows: Vec<SegmentRow> = sqlx::query_as(SELECT).bind(missing).fetch_all(connection).await?;
            for row in rows {
                let dead = i32::try_from(row.dead.len()).map_err(|_| Error::Damaged { what: "segment" })?;
                let segment = Arc::new(row.decode()?);
                self.segments.put((segment.id, dead), &segment);
                found.push(segment);
            }
            found.sort_by_key(|segment| segment.id);
        }
        Ok(found)
    }
}

const SELECT: &str = "select g.id, g.container::text as container, t.study_instance_uid, s.series_instance_uid, \
    g.metadata_offset, g.metadata_bytes, g.metadata_crc32c, g.dead, g.manifest
    from series_segment g
    join series s on s.id = g.series
    join study t on t.id = s.study
    where g.id = any($1)";
