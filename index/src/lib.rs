//! The index in Postgres: what the archive knows about its instances. The only module that speaks SQL.
//!
//! Everything in it can be rebuilt from the containers and the journal. Writers hold the row lock of each study they
//! touch, so that counts, sets and duplicates need no further care; readers take no locks. What moves from
//! unsealed rows to a segment does so in one transaction: readers look at unsealed rows first and at segments second, and
//! so see every instance at least once.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use uuid::Uuid;

pub use apply::{Applied, Arrival, ArrivalHead};
pub use containers::{Container, Counts, Shard};
pub use embedded::EmbeddedPostgres;
pub use error::Error;
pub use locate::Located;
pub use pack::{PackStudy, UnsealedRow};
pub use seal::{NewContainer, NewSegment, NewShard};
pub use search::Matches;
pub use segments::Segment;
pub use tombstone::Tombstone;

pub use instances::sealed;
pub use places::{ContainerPlace, InstanceRef, Location, Selector};

use journal::Lsn;

mod apply;
mod checks;
mod condition;
mod containers;
mod count;
mod embedded;
mod error;
mod filters;
mod instances;
mod job_states;
mod json;
mod levels;
mod locate;
mod pack;
mod places;
mod seal;
mod search;
mod segments;
mod tombstone;
mod upsert;

/// Longest wait for a connection; then the index counts as away.
const CONNECT_LONGEST: Duration = Duration::from_secs(10);
/// A connection that rested for longer is tried before it is used.
const UNASKED_MAX: Duration = Duration::from_millis(500);
/// Oldest server whose statements we use, as `server_version_num`.
const VERSION_MIN: i32 = 140_000;

/// The index. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Index {
    pool: PgPool,
    segments: Arc<segments::Cache>,
    filters: Arc<filters::Filters>,
}

impl Index {
    /// Connects, refuses a server that would break a promise, brings the schema up to date and loads the filters.
    pub async fn connect(options: PgConnectOptions, connections_max: u32) -> Result<Self, Error> {
        let pool = PgPoolOptions::new()
            .max_connections(connections_max.max(2))
            .acquire_timeout(CONNECT_LONGEST)
            // A connection that was just used is not asked whether it is there: that is a round trip for each query.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for >= UNASKED_MAX {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(options)
            .await?;
        check_server(&pool).await?;
        sqlx::migrate!("../migrations").run(&pool).await.map_err(Error::Migrate)?;
        let index = Self { pool, segments: Arc::default(), filters: Arc::default() };
        index.filters.refresh(&index.pool).await?;
        Ok(index)
    }

    /// Returns the position up to which a journal is applied.
    pub async fn applied(&self, journal: Uuid) -> Result<Option<Lsn>, Error> {
        let lsn: Option<i64> = sqlx::query_scalar("select lsn from journal_position where journal = $1::uuid")
            .bind(journal.to_string())
            .fetch_optional(&self.pool)
            .await?;
        lsn.map(|lsn| unsigned(lsn, "journal position").map(Lsn)).transpose()
    }

    /// Forgets everything, tombstones included, before a rebuild; the schema stays, and so do commitments and jobs. Row
    /// numbers go on: they name what caches hold.
    pub async fn clear(&self) -> Result<(), Error> {
        sqlx::query(
            "truncate patient, study, study_modality, series, series_request, instance_unsealed, container, shard, series_segment, \
             tombstone, journal_position",
        )
        .execute(&self.pool)
        .await?;
        self.segments.clear();
        self.filters.clear();
        Ok(())
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn check_server(pool: &PgPool) -> Result<(), Error> {
    let (version, fsync, full_page_writes): (i32, String, String) = sqlx::query_as(
        "select current_setting('server_version_num')::int, current_setting('fsync'), \
         current_setting('full_page_writes')",
    )
    .fetch_one(pool)
    .await?;
    let unsuitable = |reason: String| Err(Error::Unsuitable { reason });
    if version < VERSION_MIN {
        return unsuitable(format!("it is version {}, version 14 or newer is needed", version / 10_000));
    }
    if fsync != "on" {
        return unsuitable("fsync is off, so a crash could lose or corrupt the index: set fsync = on".into());
    }
    if full_page_writes != "on" {
        return unsuitable("full_page_writes is off: set full_page_writes = on".into());
    }
    Ok(())
}

/// Postgres has no unsigned numbers; what the archive writes fits.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64, what: &'static str) -> Result<u64, Error> {
    u64::try_from(value).map_err(|_| Error::Damaged { what })
}
