//! The services of the archive as adapters use them: store, query, retrieve. [`Archive`](crate::Archive) offers them,
//! and so does the in-memory double of the adapters' tests.
//!
//! Adapters are generic over [`Services`], so that a call costs no more than one of the archive's own methods. Every
//! call takes its [`Caller`] first and is refused with [`Error::NotAllowed`] when the caller lacks the
//! [`Right`].

use std::future::Future;

use bytes::Bytes;
use dicom_data::query::Query;
use dicom_data::{Attributes, BulkPath};
use index::{InstanceRef, Selector};

use crate::{Caller, Error, Frames, InstanceBody, Metrics, Opened, Origin, Results, Right, Stored};

/// All services, and the counters that adapters add to. A clone is cheap and uses the same archive.
pub trait Services: StoreService + QueryService + RetrieveService + Clone + Send + Sync + 'static {
    /// Returns the counters of the process.
    fn metrics(&self) -> &Metrics;
}

/// Stores instances. Needs [`Right::Store`].
pub trait StoreService {
    /// One instance being received.
    type Receiver: ReceiveInstance;

    /// Begins to receive one instance. Fails at once with `OutOfResources` when nothing can be stored.
    fn receive(&self, caller: &Caller, origin: Origin) -> Result<Self::Receiver, Error>;
}

/// Takes the bytes of one data set. Dropped before `finish`, it leaves nothing behind.
pub trait ReceiveInstance: Send + 'static {
    /// Takes the next bytes; waits while the disks are slower than the sender.
    ///
    /// A dropped call makes the receiver useless: drop it too, nothing is left behind.
    fn write(&mut self, chunk: Bytes) -> impl Future<Output = Result<(), Error>> + Send;

    /// Files the instance; returns when it is durable on every copy of the journal.
    fn finish(self) -> impl Future<Output = Result<Stored, Error>> + Send;
}

/// Searches. Needs [`Right::Query`]. Sees every instance acknowledged before the call.
pub trait QueryService {
    /// Searches; matches come as they are found, in stable order. Dropping the stream stops the search.
    ///
    /// A match has all attributes the index keeps of its level and the levels above, with the counts
    /// (0020,1200..1209), Modalities in Study and SOP Classes in Study; adapters pick what was asked for.
    fn search(&self, caller: &Caller, query: Query) -> impl Future<Output = Result<Results<Attributes>, Error>> + Send;

    /// Returns how many matches there are after the query's offset, whatever its limit; `at_most` if there are more.
    /// `None` when only the search itself can tell.
    fn count(
        &self,
        caller: &Caller,
        query: &Query,
        at_most: u64,
    ) -> impl Future<Output = Result<Option<u64>, Error>> + Send;
}

/// Reads instances back. Needs [`Right::Retrieve`].
pub trait RetrieveService {
    /// Finds instances; ordered by study, series number and instance number. Sees every instance acknowledged before
    /// the call.
    fn locate(
        &self,
        caller: &Caller,
        selector: &Selector,
    ) -> impl Future<Output = Result<Vec<InstanceRef>, Error>> + Send;

    /// Tells whether something of the selection was there and was deleted (410 instead of 404).
    fn was_deleted(&self, caller: &Caller, selector: &Selector) -> Result<bool, Error>;

    /// Opens one instance for reading; the data set's bytes, verified.
    fn open(&self, caller: &Caller, instance: &InstanceRef)
    -> impl Future<Output = Result<InstanceBody, Error>> + Send;

    /// Opens instances one after the other, in order, reading ahead within a memory bound. An instance that cannot be
    /// read is an `Err` item, and the stream goes on; so is every instance when the caller lacks the right.
    fn open_all(&self, caller: &Caller, instances: Vec<InstanceRef>) -> Opened;

    /// Returns the metadata of instances as DICOM JSON objects, one item each, in order. Each occurrence of the byte
    /// 01H stands for the base URL of the DICOMweb service, without a trailing slash.
    fn metadata(&self, caller: &Caller, instances: Vec<InstanceRef>) -> Result<Results<Bytes>, Error>;

    /// Returns frames (1-based numbers) of an instance as stored. `NotFound` for a number past the last.
    fn frames(
        &self,
        caller: &Caller,
        instance: &InstanceRef,
        numbers: &[u32],
    ) -> impl Future<Output = Result<Frames, Error>> + Send;

    /// Returns how many frames the instance's Pixel Data has; `NotFound` without Pixel Data.
    fn frame_count(&self, caller: &Caller, instance: &InstanceRef) -> impl Future<Output = Result<u32, Error>> + Send;

    /// Returns one bulk value, little endian.
    fn bulk_data(
        &self,
        caller: &Caller,
        instance: &InstanceRef,
        path: &BulkPath,
    ) -> impl Future<Output = Result<InstanceBody, Error>> + Send;
}

/// Opens none of the instances: what [`RetrieveService::open_all`] returns to a caller without the right.
pub(crate) fn refuse_all(instances: Vec<InstanceRef>) -> Opened {
    let refused = |instance| (instance, Err(Error::NotAllowed { right: Right::Retrieve }));
    Box::pin(futures_util::stream::iter(instances.into_iter().map(refused)))
}
