//! The link to Postgres: connects, says when the index is away, and keeps our own cluster running.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{ArchiveOptions, Error};
use index::{DatabaseServer, Index};

/// How often our own cluster is looked at, and a connection is tried again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where the index is, if it is there.
#[derive(Debug)]
pub(crate) struct IndexLink {
    index: watch::Sender<Option<Arc<Index>>>,
    server: DatabaseServer,
    connections_max: u32,
}

impl IndexLink {
    /// Connects for the first time. A server that refuses us for good (fsync off, too old, no binaries) is an error; one
    /// that is merely away is not: ingest goes on into the journal, and `keep` goes on trying.
    pub(crate) async fn open(options: &ArchiveOptions) -> Result<Self, Error> {
        let (url, cache_bytes) = (options.index_url.as_deref(), options.index_cache_bytes);
        let link = Self {
            index: watch::Sender::new(None),
            server: DatabaseServer::new(url, options.data.join("postgres"), cache_bytes)?,
            connections_max: options.index_connections_max,
        };
        match link.connect().await {
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "index is away, ingest goes on into the journal");
            }
            result => result?,
        }
        Ok(link)
    }

    async fn connect(&self) -> Result<(), index::Error> {
        let index = self.server.connect(self.connections_max).await?;
        self.index.send_replace(Some(Arc::new(index)));
        Ok(())
    }

    /// Returns the index, or says that it is away.
    pub(crate) fn get(&self) -> Result<Arc<Index>, Error> {
        self.index.borrow().clone().ok_or(Error::IndexAway(None))
    }

    /// Waits until there is an index.
    pub(crate) async fn wait(&self) -> Arc<Index> {
        let mut changes = self.index.subscribe();
        loop {
            if let Some(index) = changes.borrow_and_update().clone() {
                return index;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Connects when nothing is connected, and starts our own cluster again when it died. Runs until cancelled.
    pub(crate) async fn keep(&self, cancel: CancellationToken) {
        while cancel.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            if self.get().is_err() {
                if let Err(error) = self.connect().await {
                    tracing::debug!(%error, "index is still away");
                }
                continue;
            }
            if let Err(error) = self.server.revive().await {
                tracing::error!(%error, "postgres does not start");
            }
        }
    }

    /// Closes connections and stops our own cluster.
    pub(crate) async fn close(&self) {
        if let Some(index) = self.index.send_replace(None) {
            index.close().await;
        }
        if let Err(error) = self.server.stop().await {
            tracing::warn!(%error, "postgres did not stop in order, its log replays at the next start");
        }
    }
}
