//! The archive offers its services: each checks the caller's right, then does its work.

use bytes::Bytes;
use dicom_data::query::Query;
use dicom_data::{Attributes, BulkPath};
use index::{InstanceRef, Selector};

use crate::service::{QueryService, ReceiveInstance, RetrieveService, Services, StoreService, refuse_all};
use crate::{Archive, Caller, Error, Frames, InstanceBody, Metrics, Opened, Origin, Receiver, Results, Right, Stored};

impl Services for Archive {
    fn metrics(&self) -> &Metrics {
        Archive::metrics(self)
    }
}

impl StoreService for Archive {
    type Receiver = Receiver;

    fn receive(&self, caller: &Caller, origin: Origin) -> Result<Receiver, Error> {
        caller.may(Right::Store)?;
        Archive::receive(self, origin)
    }
}

impl ReceiveInstance for Receiver {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        Receiver::write(self, chunk).await
    }

    async fn finish(self) -> Result<Stored, Error> {
        Receiver::finish(self).await
    }
}

impl QueryService for Archive {
    async fn search(&self, caller: &Caller, query: Query) -> Result<Results<Attributes>, Error> {
        caller.may(Right::Query)?;
        Archive::search(self, query).await
    }

    async fn count(&self, caller: &Caller, query: &Query, at_most: u64) -> Result<Option<u64>, Error> {
        caller.may(Right::Query)?;
        Archive::count(self, query, at_most).await
    }
}

impl RetrieveService for Archive {
    async fn locate(&self, caller: &Caller, selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        caller.may(Right::Retrieve)?;
        Archive::locate(self, selector).await
    }

    fn was_deleted(&self, caller: &Caller, selector: &Selector) -> Result<bool, Error> {
        caller.may(Right::Retrieve)?;
        Ok(Archive::was_deleted(self, selector))
    }

    async fn open(&self, caller: &Caller, instance: &InstanceRef) -> Result<InstanceBody, Error> {
        caller.may(Right::Retrieve)?;
        Archive::open(self, instance).await
    }

    fn open_all(&self, caller: &Caller, instances: Vec<InstanceRef>) -> Opened {
        match caller.may(Right::Retrieve) {
            Ok(()) => Archive::open_all(self, instances),
            Err(_) => refuse_all(instances),
        }
    }

    fn metadata(&self, caller: &Caller, instances: Vec<InstanceRef>) -> Result<Results<Bytes>, Error> {
        caller.may(Right::Retrieve)?;
        Ok(Archive::metadata(self, instances))
    }

    async fn frames(&self, caller: &Caller, instance: &InstanceRef, numbers: &[u32]) -> Result<Frames, Error> {
        caller.may(Right::Retrieve)?;
        Archive::frames(self, instance, numbers).await
    }

    async fn frame_count(&self, caller: &Caller, instance: &InstanceRef) -> Result<u32, Error> {
        caller.may(Right::Retrieve)?;
        Archive::frame_count(self, instance).await
    }

    async fn bulk_data(&self, caller: &Caller, instance: &InstanceRef, path: &BulkPath) -> Result<InstanceBody, Error> {
        caller.may(Right::Retrieve)?;
        Archive::bulk_data(self, instance, path).await
    }
}
