//! What the services need of the archive.

use std::future::Future;
use std::pin::Pin;

use archive::{Archive, Error, InstanceBody, InstanceRef, Metrics, Origin, Receiver, Selector, Stored};
use bytes::Bytes;
use dicom_data::Attributes;
use dicom_data::query::Query;
use futures_util::Stream;

/// A stream that ends at the first error.
pub type Results<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;
/// Opened instances in order; one that cannot be read is an `Err`, and the stream goes on.
pub type Opened = Pin<Box<dyn Stream<Item = (InstanceRef, Result<InstanceBody, Error>)> + Send>>;

/// The archive as the services see it. [`Archive`] is one; tests have another in memory.
pub trait Backend: Clone + Send + Sync + 'static {
    /// Takes one instance in.
    type Receiver: Receive;

    /// Begins to take one instance in.
    fn receive(&self, origin: Origin) -> Result<Self::Receiver, Error>;

    /// Searches; dropping the stream stops the search.
    fn search(&self, query: Query) -> impl Future<Output = Result<Results<Attributes>, Error>> + Send;

    /// Finds instances in order.
    fn locate(&self, selector: &Selector) -> impl Future<Output = Result<Vec<InstanceRef>, Error>> + Send;

    /// Opens instances one after the other, reading ahead within a memory bound.
    fn open_all(&self, instances: Vec<InstanceRef>) -> Opened;

    /// Returns the process's counters.
    fn metrics(&self) -> &Metrics;
}

/// Takes the bytes of one data set. Dropped before `finish`, it leaves nothing behind.
pub trait Receive: Send + 'static {
    /// Takes the next bytes; waits while the disks are slower than the sender.
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), Error>> + Send;

    /// Files the instance: returns when it is durable.
    fn finish(self) -> impl Future<Output = Result<Stored, Error>> + Send;
}

impl Backend for Archive {
    type Receiver = Receiver;

    fn receive(&self, origin: Origin) -> Result<Receiver, Error> {
        Archive::receive(self, origin)
    }

    fn search(&self, query: Query) -> impl Future<Output = Result<Results<Attributes>, Error>> + Send {
        Archive::search(self, query)
    }

    fn locate(&self, selector: &Selector) -> impl Future<Output = Result<Vec<InstanceRef>, Error>> + Send {
        Archive::locate(self, selector)
    }

    fn open_all(&self, instances: Vec<InstanceRef>) -> Opened {
        Archive::open_all(self, instances)
    }

    fn metrics(&self) -> &Metrics {
        Archive::metrics(self)
    }
}

impl Receive for Receiver {
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), Error>> + Send {
        Receiver::write(self, chunk)
    }

    fn finish(self) -> impl Future<Output = Result<Stored, Error>> + Send {
        Receiver::finish(self)
    }
}
