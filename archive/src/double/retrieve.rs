//! Reading instances of the double back.

use bytes::Bytes;
use dicom_data::{BulkPath, Uid};
use futures_util::{StreamExt as _, stream};

use super::instance::Instance;
use super::state::Double;
use crate::service::refuse_all;
use crate::{
    Caller, Error, Frame, Frames, InstanceBody, InstanceRef, Opened, Results, RetrieveService, Right, Selector,
};

impl RetrieveService for Double {
    async fn locate(&self, caller: &Caller, selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        caller.may(Right::Retrieve)?;
        let has = |list: &[Uid], uid: &Uid| list.is_empty() || list.contains(uid);
        let state = self.state();
        let found = state.instances.iter().map(|one| &one.instance).filter(|instance| {
            has(&selector.studies, &instance.study_instance_uid)
                && has(&selector.series, &instance.series_instance_uid)
                && has(&selector.instances, &instance.sop_instance_uid)
        });
        Ok(found.cloned().collect())
    }

    fn was_deleted(&self, caller: &Caller, _selector: &Selector) -> Result<bool, Error> {
        caller.may(Right::Retrieve)?;
        Ok(self.state().deleted)
    }

    async fn open(&self, caller: &Caller, instance: &InstanceRef) -> Result<InstanceBody, Error> {
        caller.may(Right::Retrieve)?;
        self.with_instance(instance, Instance::open)
    }

    fn open_all(&self, caller: &Caller, instances: Vec<InstanceRef>) -> Opened {
        if caller.may(Right::Retrieve).is_err() {
            return refuse_all(instances);
        }
        let double = self.clone();
        Box::pin(stream::iter(instances).then(move |instance| {
            let double = double.clone();
            async move {
                let delay = double.state().open_delay;
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                let opened = double.with_instance(&instance, Instance::open);
                (instance, opened)
            }
        }))
    }

    fn metadata(&self, caller: &Caller, instances: Vec<InstanceRef>) -> Result<Results<Bytes>, Error> {
        caller.may(Right::Retrieve)?;
        let object = |instance: &InstanceRef| self.with_instance(instance, Instance::read_metadata);
        let objects: Vec<_> = instances.iter().map(object).collect();
        Ok(Box::pin(stream::iter(objects)))
    }

    async fn frames(&self, caller: &Caller, instance: &InstanceRef, numbers: &[u32]) -> Result<Frames, Error> {
        caller.may(Right::Retrieve)?;
        self.state().frame_calls.push(numbers.len());
        let stored = self.with_instance(instance, |found| Ok(found.frames.clone()))?;
        let frame = |number: &u32| {
            let bytes = usize::try_from(*number).ok().and_then(|n| stored.get(n.checked_sub(1)?)).cloned();
            let bytes = bytes.ok_or(Error::NotFound { what: "frame" })?;
            Ok(Frame { number: *number, body: InstanceBody::whole(bytes) })
        };
        let frames = numbers.iter().map(frame).collect::<Result<_, Error>>()?;
        Ok(Frames { transfer_syntax_uid: instance.transfer_syntax_uid.clone(), frames })
    }

    async fn frame_count(&self, caller: &Caller, instance: &InstanceRef) -> Result<u32, Error> {
        caller.may(Right::Retrieve)?;
        self.with_instance(instance, |found| Ok(u32::try_from(found.frames.len()).unwrap_or(u32::MAX)))
    }

    async fn bulk_data(&self, caller: &Caller, instance: &InstanceRef, path: &BulkPath) -> Result<InstanceBody, Error> {
        caller.may(Right::Retrieve)?;
        self.with_instance(instance, |found| found.bulk_value(path))
    }
}
