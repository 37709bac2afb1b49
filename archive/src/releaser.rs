//! Gives journal space back after the index said what it still serves from the journal.

use std::collections::HashSet;
use std::sync::Arc;

use index::Index;
use journal::Lsn;

use crate::Error;
use crate::barrier::Barrier;
use crate::decisions::release::{Facts, keeps_record, segments};
use crate::tasks::Tasks;
use crate::unsealed::Unsealed;

/// Releases journal space: for the packer, the adopter, deletions and the follower's start.
#[derive(Debug)]
pub(crate) struct Releaser {
    unsealed: Arc<Unsealed>,
    barrier: Arc<Barrier>,
    tasks: Tasks,
}

impl Releaser {
    pub(crate) fn new(unsealed: Arc<Unsealed>, barrier: Arc<Barrier>, tasks: Tasks) -> Self {
        Self { unsealed, barrier, tasks }
    }

    /// Recycles the journal segments that the follower has passed and that hold no unsealed instance.
    pub(crate) async fn release(&self, index: &Index) -> Result<(), Error> {
        self.release_up_to(index, self.barrier.applied()).await
    }

    async fn release_up_to(&self, index: &Index, applied: Option<Lsn>) -> Result<(), Error> {
        let segments_in_use =
            index.journal_segments_in_use(self.unsealed.journal_id(), self.unsealed.segment_bytes()).await?;
        let Some(step) = segments(Facts { applied, segments_in_use }) else { return Ok(()) };
        let unsealed = Arc::clone(&self.unsealed);
        self.tasks.blocking(move || unsealed.release_segments(step.before, &|segment| step.keeps(segment))).await?
    }

    /// Releases what the journal still holds of instances that were sealed or dropped before a crash.
    pub(crate) async fn release_leftovers(&self, index: &Index, applied: Lsn) -> Result<(), Error> {
        let served: HashSet<u64> = index.unsealed_lsns(self.unsealed.journal_id()).await?.into_iter().collect();
        let unsealed = Arc::clone(&self.unsealed);
        let released =
            self.tasks.blocking(move || unsealed.release_leftovers(&|record| keeps_record(record, applied, &served)));
        released.await??;
        self.release_up_to(index, Some(applied)).await
    }
}
