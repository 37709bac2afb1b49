//! How far a long job has come, for the person who waits for it.

use std::sync::Arc;

/// Tells how far a long job has come: done and total, in the job's own unit. Called from any thread.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(u64, u64) + Send + Sync>);

impl Progress {
    /// Returns a progress that calls `report` with what is done and the total.
    pub fn new(report: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// Returns a progress that reports to no one.
    pub fn silent() -> Self {
        Self::new(|_, _| {})
    }

    /// Reports what is done and the total.
    pub fn report(&self, done: u64, total: u64) {
        (self.0)(done, total);
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}
