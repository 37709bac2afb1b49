//! What the adapter needs of the archive, as a trait so that its HTTP side is tested without Postgres.

use std::future::Future;
use std::pin::Pin;

use archive::{Archive, Error, Frames, InstanceBody, InstanceRef, Metrics, Origin, Receiver, Selector, Stored};
use bytes::Bytes;
use dicom_data::query::Query;
use dicom_data::{Attributes, BulkPath};
use futures_core::Stream;

/// Instances being opened one after the other.
pub type Opened = Pin<Box<dyn Stream<Item = (InstanceRef, Result<InstanceBody, Error>)> + Send>>;
/// A stream that ends at the first error.
pub type Results<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;

/// The archive's services as DICOMweb uses them; [`Archive`] documents each. Implemented by it and by test doubles.
#[expect(missing_docs, reason = "each method is the archive's of the same name")]
pub trait Backend: Clone + Send + Sync + 'static {
    /// Takes one instance in.
    type Receiver: Receive;

    fn receive(&self, origin: Origin) -> Result<Self::Receiver, Error>;
    fn search(&self, query: Query) -> impl Future<Output = Result<Results<Attributes>, Error>> + Send;
    fn count(&self, query: &Query, at_most: u64) -> impl Future<Output = Result<Option<u64>, Error>> + Send;
    fn locate(&self, selector: &Selector) -> impl Future<Output = Result<Vec<InstanceRef>, Error>> + Send;
    fn was_deleted(&self, selector: &Selector) -> impl Future<Output = Result<bool, Error>> + Send;
    fn open(&self, instance: &InstanceRef) -> impl Future<Output = Result<InstanceBody, Error>> + Send;
    fn open_all(&self, instances: Vec<InstanceRef>) -> Opened;
    fn metadata(&self, instances: Vec<InstanceRef>) -> impl Future<Output = Result<Results<Bytes>, Error>> + Send;
    fn frames(&self, instance: &InstanceRef, numbers: &[u32]) -> impl Future<Output = Result<Frames, Error>> + Send;
    fn frame_count(&self, instance: &InstanceRef) -> impl Future<Output = Result<u32, Error>> + Send;
    fn bulk_data(
        &self,
        instance: &InstanceRef,
        path: &BulkPath,
    ) -> impl Future<Output = Result<InstanceBody, Error>> + Send;
    fn metrics(&self) -> &Metrics;
}

/// One instance being taken in; [`Receiver`] documents the methods.
#[expect(missing_docs, reason = "each method is the archive's of the same name")]
pub trait Receive: Send + 'static {
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), Error>> + Send;
    fn finish(self) -> impl Future<Output = Result<Stored, Error>> + Send;
}

impl Backend for Archive {
    type Receiver = Receiver;

    fn receive(&self, origin: Origin) -> Result<Receiver, Error> {
        Archive::receive(self, origin)
    }

    async fn search(&self, query: Query) -> Result<Results<Attributes>, Error> {
        Archive::search(self, query).await
    }

    async fn count(&self, query: &Query, at_most: u64) -> Result<Option<u64>, Error> {
        Archive::count(self, query, at_most).await
    }

    async fn locate(&self, selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        Archive::locate(self, selector).await
    }

    async fn was_deleted(&self, selector: &Selector) -> Result<bool, Error> {
        Ok(Archive::was_deleted(self, selector))
    }

    async fn open(&self, instance: &InstanceRef) -> Result<InstanceBody, Error> {
        Archive::open(self, instance).await
    }

    fn open_all(&self, instances: Vec<InstanceRef>) -> Opened {
        Archive::open_all(self, instances)
    }

    async fn metadata(&self, instances: Vec<InstanceRef>) -> Result<Results<Bytes>, Error> {
        Ok(Archive::metadata(self, instances))
    }

    async fn frames(&self, instance: &InstanceRef, numbers: &[u32]) -> Result<Frames, Error> {
        Archive::frames(self, instance, numbers).await
    }

    async fn frame_count(&self, instance: &InstanceRef) -> Result<u32, Error> {
        Archive::frame_count(self, instance).await
    }

    async fn bulk_data(&self, instance: &InstanceRef, path: &BulkPath) -> Result<InstanceBody, Error> {
        Archive::bulk_data(self, instance, path).await
    }

    fn metrics(&self) -> &Metrics {
        Archive::metrics(self)
    }
}

impl Receive for Receiver {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        Receiver::write(self, chunk).await
    }

    async fn finish(self) -> Result<Stored, Error> {
        Receiver::finish(self).await
    }
}
