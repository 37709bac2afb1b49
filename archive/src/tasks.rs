//! The archive's tasks: tracked, so that a stop waits for them, and cancelled together.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;

/// Spawns tasks that a stop waits for. Cheap to clone; clones spawn for the same archive.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
}

impl Tasks {
    /// Returns the token that a stop cancels.
    pub(crate) fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Starts work that runs until it ends or is cancelled.
    pub(crate) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.tracker.spawn(async move {
            cancel.run_until_cancelled(work).await;
        });
    }

    /// Starts work that ends by itself when it is cancelled.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(work);
    }

    /// Runs work to its end, also when the caller goes away or the archive stops.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        self.tracker.spawn(work).await.map_err(|error| ended_early(&error))
    }

    /// Runs work that blocks on a thread that may block; it is finished also when the caller goes away.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.tracker.spawn_blocking(work).await.map_err(|error| ended_early(&error))
    }

    /// Cancels what runs until cancelled and waits for all tasks.
    pub(crate) async fn stop(&self) {
        self.cancel.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Runs work that blocks for a reader. A stop does not wait for it: readers may go on.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ended_early(&error))
}

/// Turns a task that panicked or was stopped into an error that a sender may answer by trying again.
fn ended_early(error: &tokio::task::JoinError) -> Error {
    tracing::error!(panicked = error.is_panic(), "a task of the archive ended early");
    Error::OutOfResources { reason: "the server is stopping or met a bug".to_owned() }
}
