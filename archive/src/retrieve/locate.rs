//! Finding instances: one alone by what memory knows of the journal or by the cached manifests, else by the index.

use crate::archive::Inner;
use crate::{Error, follower};
use dicom_data::Uid;
use index::{InstanceRef, Location, Selector};

impl Inner {
    /// Finds instances, in the order of answers.
    pub(crate) async fn locate(&self, selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        if let (None, [study], [series], [instance]) =
            (&selector.patient_id, &selector.studies[..], &selector.series[..], &selector.instances[..])
        {
            if let Some(found) = self.unsealed_instance(study, series, instance) {
                return Ok(vec![found]);
            }
            if let Some(found) = self.sealed_instance(study, series, instance).await? {
                // What is sealed was acknowledged long ago: nothing to wait for.
                return Ok(vec![found]);
            }
        }
        // Boxed: what is found in memory does not carry a future for questions to Postgres around.
        Box::pin(self.locate_by_index(selector)).await
    }

    async fn locate_by_index(&self, selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        follower::catch_up(self).await?;
        let located = self.link.get()?.locate(selector).await?;
        Ok(located.into_iter().map(|located| located.instance).collect())
    }

    /// Returns an instance that the journal holds and the index serves from there; Postgres is not asked, the record's head
    /// has what is needed.
    ///
    /// Of a record that the follower has not reached it is not decided yet whether it is served: it may be of a deleted
    /// instance, or other bytes under a sealed one's UID. Behind the follower, packing and deleting take it out of memory.
    fn unsealed_instance(&self, study: &Uid, series: &Uid, instance: &Uid) -> Option<InstanceRef> {
        let record = self.presence.find(study, series, instance)?;
        self.applied.borrow().filter(|applied| record.lsn < *applied)?;
        let head = self.journal.read_head_now(&record)?;
        // Memory knows instances by hashes only.
        let same = head.study_instance_uid == *study
            && head.series_instance_uid == *series
            && head.sop_instance_uid == *instance;
        same.then(|| InstanceRef {
            study_instance_uid: head.study_instance_uid,
            series_instance_uid: head.series_instance_uid,
            sop_instance_uid: head.sop_instance_uid,
            sop_class_uid: head.sop_class_uid,
            transfer_syntax_uid: head.transfer_syntax_uid,
            bytes: record.payload_bytes,
            location: Location::Journal(record),
        })
    }
}
