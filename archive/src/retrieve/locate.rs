//! Finding instances: a single one by what memory knows of the journal or by the cached manifests, all others by the index.

use std::sync::Arc;

use dicom_data::Uid;
use index::{InstanceRef, Selector};

use crate::Error;
use crate::barrier::Barrier;
use crate::link::IndexLink;
use crate::manifest_cache::ManifestCache;
use crate::unsealed::Unsealed;

/// How often a place is asked for again when the packer moved the instance meanwhile.
const MOVES_MAX: usize = 3;

/// Finds instances.
#[derive(Debug)]
pub(crate) struct Locator {
    unsealed: Arc<Unsealed>,
    manifests: Arc<ManifestCache>,
    barrier: Arc<Barrier>,
    link: Arc<IndexLink>,
}

impl Locator {
    pub(crate) fn new(
        unsealed: Arc<Unsealed>,
        manifests: Arc<ManifestCache>,
        barrier: Arc<Barrier>,
        link: Arc<IndexLink>,
    ) -> Self {
        Self { unsealed, manifests, barrier, link }
    }

    /// Finds instances, in the order of answers.
    pub(crate) async fn locate(&self, selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        if let (None, [study], [series], [instance]) =
            (&selector.patient_id, &selector.studies[..], &selector.series[..], &selector.instances[..])
        {
            if let Some(found) = self.unsealed_instance(study, series, instance) {
                return Ok(vec![found]);
            }
            if let Some(found) = self.manifests.find(study, series, instance).await? {
                // What is sealed was acknowledged long ago: there is nothing to wait for.
                return Ok(vec![found]);
            }
        }
        // Boxed: an instance that is found in memory does not carry a future for questions to Postgres around.
        Box::pin(self.locate_by_index(selector)).await
    }

    async fn locate_by_index(&self, selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        self.barrier.catch_up().await?;
        let located = self.link.get()?.locate(selector).await?;
        Ok(located.into_iter().map(|located| located.instance).collect())
    }

    /// Returns an instance that the index serves from the journal. Postgres is not asked: the record's head has what is
    /// needed.
    ///
    /// A record ahead of the follower is not visible yet: it may be of a deleted instance, or other bytes under a sealed
    /// instance's UID. Behind the follower, packing and deleting take it out of memory.
    fn unsealed_instance(&self, study: &Uid, series: &Uid, instance: &Uid) -> Option<InstanceRef> {
        let record = self.unsealed.find(study, series, instance)?;
        if !self.barrier.is_behind(record.lsn) {
            return None;
        }
        let found = self.unsealed.described_now(record)?;
        // Memory knows instances by hashes only.
        let same = found.study_instance_uid == *study
            && found.series_instance_uid == *series
            && found.sop_instance_uid == *instance;
        same.then_some(found)
    }

    /// Asks the index where an instance lies now.
    async fn where_is(&self, instance: &InstanceRef) -> Result<Option<InstanceRef>, Error> {
        let selector = Selector {
            patient_id: None,
            studies: vec![instance.study_instance_uid.clone()],
            series: vec![instance.series_instance_uid.clone()],
            instances: vec![instance.sop_instance_uid.clone()],
        };
        Ok(self.link.get()?.locate(&selector).await?.into_iter().next().map(|located| located.instance))
    }
}

/// An instance that is being read where it is said to lie. When it is not there any more, the index says where it went.
pub(super) struct Place {
    /// Where to read now.
    pub(super) instance: InstanceRef,
    moves_left: usize,
}

impl Place {
    pub(super) fn new(instance: InstanceRef) -> Self {
        Self { instance, moves_left: MOVES_MAX }
    }

    /// Finds the place to read next after a read failed. Returns the read's own error when it does not say that the
    /// instance moved, or when it moved too often.
    pub(super) async fn find_again(&mut self, locator: &Locator, failed: Error) -> Result<(), Error> {
        let moved = matches!(
            failed,
            // Sealed meanwhile; deleted, or sealed anew.
            Error::Journal(journal::Error::Gone) | Error::Index(index::Error::NotFound { .. })
        );
        if !moved || self.moves_left == 0 {
            return Err(failed);
        }
        self.moves_left -= 1;
        self.instance = locator.where_is(&self.instance).await?.ok_or(Error::NotFound { what: "instance" })?;
        Ok(())
    }
}
