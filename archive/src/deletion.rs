//! Deleting: durable beside the containers, then in the index, then the journal's space comes back.

use std::sync::Arc;

use index::{Tombstone, UnsealedRow};

use crate::barrier::Barrier;
use crate::containers::Containers;
use crate::decisions::delete::covers;
use crate::link::IndexLink;
use crate::manifest_cache::ManifestCache;
use crate::releaser::Releaser;
use crate::tasks::blocking;
use crate::unsealed::{Unsealed, encode};
use crate::{Clock, Error};

/// The delete service.
#[derive(Debug)]
pub(crate) struct Deletion {
    unsealed: Arc<Unsealed>,
    containers: Arc<Containers>,
    manifests: Arc<ManifestCache>,
    link: Arc<IndexLink>,
    barrier: Arc<Barrier>,
    releaser: Arc<Releaser>,
    clock: Clock,
}

impl Deletion {
    pub(crate) fn new(
        (unsealed, containers): (Arc<Unsealed>, Arc<Containers>),
        manifests: Arc<ManifestCache>,
        link: Arc<IndexLink>,
        barrier: Arc<Barrier>,
        releaser: Arc<Releaser>,
        clock: Clock,
    ) -> Self {
        Self { unsealed, containers, manifests, link, barrier, releaser, clock }
    }

    /// Deletes a study, series or instance as [`crate::Archive::delete`] says. A dropped call may leave half a deletion,
    /// which the next start completes.
    pub(crate) async fn delete(&self, mut tombstone: Tombstone) -> Result<(), Error> {
        tombstone.deleted_millis = self.clock.now().as_millisecond();
        self.barrier.catch_up().await?;
        let index = self.link.get()?;
        let mut unsealed = index.unsealed_instances(std::slice::from_ref(&tombstone.study), &[], usize::MAX).await?;
        unsealed.retain(|row| covers(&tombstone, &row.series_instance_uid, &row.sop_instance_uid));
        let (store, note) = (self.containers.store().clone(), encode(&tombstone));
        blocking(move || store.add_tombstone(&note)).await??;
        self.unsealed.enter_tombstone(&tombstone);
        index.add_tombstone(&tombstone).await?;
        self.manifests.all_changed();
        self.release(&tombstone, unsealed).await?;
        self.releaser.release(&index).await
    }

    /// Releases what the journal holds of the deleted instances.
    async fn release(&self, tombstone: &Tombstone, deleted: Vec<UnsealedRow>) -> Result<(), Error> {
        let (unsealed, study) = (Arc::clone(&self.unsealed), tombstone.study.clone());
        blocking(move || {
            for row in &deleted {
                unsealed.forget(&study, &row.series_instance_uid, &row.sop_instance_uid, &row.record);
                unsealed.release_large(&row.record);
            }
        })
        .await
    }
}
