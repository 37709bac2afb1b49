//! Read your writes: a query waits until the index has everything that was acknowledged before it.

use std::sync::Arc;
use std::time::Duration;

use journal::Lsn;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::Error;
use crate::unsealed::Unsealed;

/// How far the index has followed the journal. The follower advances it, queries wait for it.
#[derive(Debug)]
pub(crate) struct Barrier {
    unsealed: Arc<Unsealed>,
    /// End of the last journal record that the index has; `None` until the index also has every container.
    applied: watch::Sender<Option<Lsn>>,
    /// A query waits for the follower.
    hurry: Notify,
    wait_max: Duration,
}

impl Barrier {
    /// Returns a barrier that nothing has passed. A query waits `wait_max` at most.
    pub(crate) fn new(unsealed: Arc<Unsealed>, wait_max: Duration) -> Self {
        Self { unsealed, applied: watch::Sender::new(None), hurry: Notify::new(), wait_max }
    }

    /// Waits until the index has everything acknowledged so far.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        self.catch_up_to(self.unsealed.durable_end()).await
    }

    async fn catch_up_to(&self, target: Lsn) -> Result<(), Error> {
        let mut applied = self.applied.subscribe();
        let reached = |at: &Option<Lsn>| at.is_some_and(|at| at >= target);
        if reached(&applied.borrow()) {
            return Ok(());
        }
        self.hurry.notify_one();
        match timeout(self.wait_max, applied.wait_for(reached)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::IndexAway(None)),
        }
    }

    /// Waits like `catch_up`, for as long as the index comes nearer: for work that takes its time anyway. It does not wait
    /// for what is acknowledged meanwhile: senders that are faster than the index would keep it waiting for ever.
    pub(crate) async fn catch_up_patiently(&self) -> Result<(), Error> {
        let target = self.unsealed.durable_end();
        loop {
            let before = self.applied();
            match self.catch_up_to(target).await {
                Err(Error::IndexAway(_)) if self.applied() > before => {
                    tracing::info!("the index is far behind the journal and comes nearer");
                }
                caught_up => return caught_up,
            }
        }
    }

    /// Returns the end of the last record that the index has; `None` until it has every container.
    pub(crate) fn applied(&self) -> Option<Lsn> {
        *self.applied.borrow()
    }

    /// Tells whether the index has decided about the record at this position.
    pub(crate) fn is_behind(&self, lsn: Lsn) -> bool {
        self.applied.borrow().is_some_and(|applied| lsn < applied)
    }

    /// Says how far the index is. Only the follower calls it.
    pub(crate) fn advance(&self, applied: Lsn) {
        self.applied.send_replace(Some(applied));
    }

    /// Waits until a query waits for the index.
    pub(crate) async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Returns the journal bytes that the index does not have yet.
    pub(crate) fn lag_bytes(&self) -> u64 {
        let applied = self.applied().map_or(0, |at| at.0);
        self.unsealed.durable_end().0.saturating_sub(applied)
    }
}
