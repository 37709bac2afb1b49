//! The connection to Postgres: refuses a server that would break a promise, and brings the schema up to date.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::error::Error;
use crate::filters::Filters;
use crate::segment_cache::SegmentCache;

/// Longest wait for a connection; then the index counts as away.
const CONNECT_LONGEST: Duration = Duration::from_secs(10);
/// A connection that rested for longer is tried before it is used.
const UNASKED_MAX: Duration = Duration::from_millis(500);
/// Oldest server whose statements we use, as `server_version_num`.
const VERSION_MIN: i32 = 140_000;

/// The index. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Index {
    pub(crate) pool: PgPool,
    pub(crate) segments: Arc<SegmentCache>,
    pub(crate) filters: Arc<Filters>,
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
