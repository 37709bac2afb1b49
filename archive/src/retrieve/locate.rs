//! Finding instances: by the cached manifests when one sealed instance is asked for, else by the index.

use super::{InstanceRef, Selector};
use crate::archive::Inner;
use crate::index::Located;
use crate::{Error, follower};

impl Inner {
    /// Finds instances, in the order of answers.
    pub(crate) async fn locate(&self, selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        if let (None, [study], [series], [instance]) =
            (&selector.patient_id, &selector.studies[..], &selector.series[..], &selector.instances[..])
            && let Some(found) = self.sealed_instance(study, series, instance).await?
        {
            // What is sealed was acknowledged long ago: nothing to wait for.
            return Ok(vec![found]);
        }
        follower::catch_up(self).await?;
        let located = self.link.get()?.locate(selector).await?;
        Ok(located.into_iter().map(InstanceRef::from).collect())
    }
}

impl From<Located> for InstanceRef {
    fn from(located: Located) -> Self {
        located.instance
    }
}
