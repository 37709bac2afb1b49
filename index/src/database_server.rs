//! The Postgres that an archive uses: one that a URL names, or a cluster of its own that this process supervises.

use std::path::PathBuf;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::Mutex;

use crate::connection::Index;
use crate::embedded::EmbeddedPostgres;
use crate::error::Error;

/// Where Postgres is, and what of it this process has to keep running.
#[derive(Debug)]
pub struct DatabaseServer {
    url: Option<PgConnectOptions>,
    directory: PathBuf,
    cache_bytes: Option<u64>,
    cluster: Mutex<Option<EmbeddedPostgres>>,
}

impl DatabaseServer {
    /// Names the server: the one of `url` or, without a URL, a cluster under `directory` with `cache_bytes` of memory for
    /// its pages. Nothing is started or connected yet; only a URL that cannot be read is an error.
    pub fn new(url: Option<&str>, directory: PathBuf, cache_bytes: Option<u64>) -> Result<Self, Error> {
        let url = url.map(str::parse).transpose().map_err(Error::from)?;
        Ok(Self { url, directory, cache_bytes, cluster: Mutex::new(None) })
    }

    /// Connects; starts the archive's own cluster first if there is no URL. A dropped call may leave a cluster running,
    /// which the next call shuts down and starts again.
    pub async fn connect(&self, connections_max: u32) -> Result<Index, Error> {
        let options = if let Some(options) = &self.url {
            options.clone()
        } else {
            let started = EmbeddedPostgres::start(&self.directory, self.cache_bytes).await?;
            self.cluster.lock().await.insert(started).options()
        };
        Index::connect(options, connections_max).await
    }

    /// Starts the archive's own cluster again if it ended.
    pub async fn revive(&self) -> Result<(), Error> {
        if let Some(cluster) = self.cluster.lock().await.as_mut() {
            cluster.revive().await?;
        }
        Ok(())
    }

    /// Shuts the archive's own cluster down, if it runs.
    pub async fn stop(&self) -> Result<(), Error> {
        let cluster = self.cluster.lock().await.take();
        match cluster {
            Some(cluster) => cluster.stop().await,
            None => Ok(()),
        }
    }
}
