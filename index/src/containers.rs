//! What there is: containers, shards, counts for the metrics, and fresh planner statistics.

use tiering::{ContainerId, DeviceId};

use crate::connection::Index;
use crate::error::Error;
use crate::new_container::NewShard;
use crate::numbers::{signed, unsigned};
use crate::seal::insert_shards;

/// A container as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
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
    /// Instances at sealing.
    pub instances: u64,
    /// When it was sealed, in milliseconds since 1970.
    pub sealed_millis: i64,
}

/// A shard and its container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The container.
    pub container: ContainerId,
    /// The shard.
    pub shard: NewShard,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the number of what it names")]
pub struct Counts {
    pub patients: u64,
    pub studies: u64,
    pub series: u64,
    pub instances: u64,
    pub instances_unsealed: u64,
    /// Bytes of all data sets.
    pub bytes: u64,
    /// Bytes of the unsealed ones.
    pub bytes_unsealed: u64,
    pub containers: u64,
}

const DAMAGED: Error = Error::Damaged { what: "container" };

impl Index {
    /// Returns all containers, the oldest first.
    pub async fn containers(&self) -> Result<Vec<Container>, Error> {
        let rows: Vec<ContainerRow> = sqlx::query_as(
            "select id::text as id, generation, pool, tier, extract(year from month)::int as year, \
                 extract(month from month)::int as month, data_shards, parity_shards, bytes, \
                 stored_bytes, instances, sealed_millis
             from container order by arrival",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(ContainerRow::read).collect()
    }

    /// Returns the shards of one container, or all.
    pub async fn shards(&self, container: Option<ContainerId>) -> Result<Vec<Shard>, Error> {
        let rows: Vec<(String, i16, String)> = sqlx::query_as(
            "select container::text, number, device::text from shard
             where $1::uuid is null or container = $1::uuid order by container, number",
        )
        .bind(container.map(|c| c.0.to_string()))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(container, number, device)| {
                Ok(Shard {
                    container: ContainerId(container.parse().map_err(|_| DAMAGED)?),
                    shard: NewShard {
                        number: number.try_into().map_err(|_| DAMAGED)?,
                        device: device.parse::<DeviceId>().map_err(|_| DAMAGED)?,
                    },
                })
            })
            .collect()
    }

    /// Records that a container was moved: its new generation, pool, tier, code and shards; no instance row changes. A
    /// generation older than the known one is ignored. Durable on return.
    pub async fn relocate(&self, container: &Container, shards: &[NewShard]) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        let changed = sqlx::query(
            "update container set generation = $2, pool = $3, tier = $4, data_shards = $5, parity_shards = $6, \
                 stored_bytes = $7
             where id = $1::uuid and generation <= $2",
        )
        .bind(container.id.0.to_string())
        .bind(i64::from(container.generation))
        .bind(&container.pool)
        .bind(&container.tier)
        .bind(i16::from(container.data_shards))
        .bind(i16::from(container.parity_shards))
        .bind(signed(container.stored_bytes))
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(());
        }
        sqlx::query("delete from shard where container = $1::uuid")
            .bind(container.id.0.to_string())
            .execute(&mut *tx)
            .await?;
        insert_shards(&mut tx, container.id, shards).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Forgets a container that serves nothing any more; tells whether it could be: one with segments stays.
    pub async fn forget_container(&self, container: ContainerId) -> Result<bool, Error> {
        let gone = sqlx::query(
            "delete from container c where c.id = $1::uuid
             and not exists (select from series_segment g where g.container = c.id)",
        )
        .bind(container.0.to_string())
        .execute(&self.pool)
        .await?
        .rows_affected()
            > 0;
        if gone {
            self.filters.remove(container);
        }
        Ok(gone)
    }

    /// Counts everything. Reads the series and unsealed rows: a second at some millions.
    pub async fn counts(&self) -> Result<Counts, Error> {
        let row: (i64, i64, i64, i64, i64, i64, i64, i64) = sqlx::query_as(
            "select (select count(*) from patient), (select count(*) from study), s.series, s.instances, s.bytes, \
                 h.instances, h.bytes, (select count(*) from container)
             from (select count(*) as series, coalesce(sum(instances), 0)::bigint as instances, \
                       coalesce(sum(bytes), 0)::bigint as bytes from series) as s,
                 (select count(*) as instances, coalesce(sum(payload_bytes), 0)::bigint as bytes from instance_unsealed) as h",
        )
        .fetch_one(&self.pool)
        .await?;
        let count = |n| unsigned(n, "count");
        Ok(Counts {
            patients: count(row.0)?,
            studies: count(row.1)?,
            series: count(row.2)?,
            instances: count(row.3)?,
            bytes: count(row.4)?,
            instances_unsealed: count(row.5)?,
            bytes_unsealed: count(row.6)?,
            containers: count(row.7)?,
        })
    }

    /// Makes the planner's statistics fresh when a tenth of a table changed since they were made; tells whether it did.
    /// Autovacuum does the same, but minutes after a bulk load.
    pub async fn analyze_if_grown(&self) -> Result<bool, Error> {
        let grown: bool = sqlx::query_scalar(
            "select exists (select from pg_stat_user_tables s join pg_class c on c.oid = s.relid
             where s.relname = any('{patient,study,study_modality,series,series_request,instance_unsealed,series_segment}')
             and s.schemaname = current_schema()
             and s.n_mod_since_analyze > 1000 + greatest(c.reltuples, 0) / 10)",
        )
        .fetch_one(&self.pool)
        .await?;
        if grown {
            sqlx::query(
                "analyze patient, study, study_modality, series, series_request, instance_unsealed, series_segment",
            )
            .execute(&self.pool)
            .await?;
        }
        Ok(grown)
    }
}

#[derive(sqlx::FromRow)]
struct ContainerRow {
    id: String,
    generation: i64,
    pool: String,
    tier: String,
    year: Option<i32>,
    month: Option<i32>,
    data_shards: i16,
    parity_shards: i16,
    bytes: i64,
    stored_bytes: i64,
    instances: i64,
    sealed_millis: i64,
}

impl ContainerRow {
    fn read(self) -> Result<Container, Error> {
        let month = self.year.zip(self.month).and_then(|(y, m)| Some((y.try_into().ok()?, m.try_into().ok()?)));
        Ok(Container {
            id: ContainerId(self.id.parse().map_err(|_| DAMAGED)?),
            generation: self.generation.try_into().map_err(|_| DAMAGED)?,
            pool: self.pool,
            tier: self.tier,
            month,
            data_shards: self.data_shards.try_into().map_err(|_| DAMAGED)?,
            parity_shards: self.parity_shards.try_into().map_err(|_| DAMAGED)?,
            bytes: unsigned(self.bytes, "container")?,
            stored_bytes: unsigned(self.stored_bytes, "container")?,
            instances: unsigned(self.instances, "container")?,
            sealed_millis: self.sealed_millis,
        })
    }
}
