//! The archive as its adapters see it.

use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;

use crate::dataset::{Attributes, TagPath};
use crate::query::Query;
use crate::receive::{Origin, Receiver};
use crate::retrieve::{Frames, InstanceBody, InstanceRef, Selector};
use crate::{Error, Metrics, Uid};

/// A stream that ends at the first error.
pub type Results<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;

/// What the archive needs to know to start.
#[derive(Debug, Clone)]
pub struct ArchiveOptions {}

/// The archive: one store, one query and one retrieve service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Archive {}

impl Archive {
    /// Begins to take one instance in. Fails at once with `OutOfResources` when nothing can be stored.
    pub fn receive(&self, _origin: Origin) -> Result<Receiver, Error> {
        Err(Error::NotFound { what: "archive" })
    }

    /// Searches; matches come as they are found, in stable order. Sees every instance acknowledged before the
    /// call. Dropping the stream stops the search.
    ///
    /// A match has all attributes the index keeps of its level and the levels above, with the counts
    /// (0020,1200..1209), Modalities in Study and SOP Classes in Study; adapters pick what was asked for.
    pub async fn search(&self, _query: Query) -> Result<Results<Attributes>, Error> {
        Err(Error::NotFound { what: "archive" })
    }

    /// Finds instances; ordered by study, series number and instance number. Sees every instance acknowledged
    /// before the call.
    pub async fn locate(&self, _selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        Err(Error::NotFound { what: "archive" })
    }

    /// Tells whether something of the selection was there and was deleted (410 instead of 404).
    pub async fn was_deleted(&self, _selector: &Selector) -> Result<bool, Error> {
        Err(Error::NotFound { what: "archive" })
    }

    /// Opens one instance for reading; the data set's bytes, verified.
    pub async fn open(&self, _instance: &InstanceRef) -> Result<InstanceBody, Error> {
        Err(Error::NotFound { what: "archive" })
    }

    /// Opens instances one after the other, in order, reading ahead within a memory bound. An instance
    /// that cannot be read is an `Err` item, and the stream goes on.
    pub fn open_all(
        &self,
        _instances: Vec<InstanceRef>,
    ) -> Pin<Box<dyn Stream<Item = (InstanceRef, Result<InstanceBody, Error>)> + Send>> {
        Box::pin(futures_util::stream::empty())
    }

    /// Returns the metadata of instances as DICOM JSON objects, one item each, in order. Each occurrence of the byte
    /// 01H stands for the base URL of the DICOMweb service, without a trailing slash.
    pub async fn metadata(&self, _instances: Vec<InstanceRef>) -> Result<Results<Bytes>, Error> {
        Err(Error::NotFound { what: "archive" })
    }

    /// Returns frames (1-based numbers) of an instance as stored. `NotFound` for a number past the last.
    pub async fn frames(&self, _instance: &InstanceRef, _numbers: &[u32]) -> Result<Frames, Error> {
        Err(Error::NotFound { what: "archive" })
    }

    /// Returns how many frames the instance's Pixel Data has; `NotFound` without Pixel Data.
    pub async fn frame_count(&self, _instance: &InstanceRef) -> Result<u32, Error> {
        Err(Error::NotFound { what: "archive" })
    }

    /// Returns one bulk value, little endian; the path has item numbers from 0 between the tags
    /// (`54000100/0/54001010`), given here as tags and items alternating.
    pub async fn bulk_data(
        &self,
        _instance: &InstanceRef,
        _path: &TagPath,
        _items: &[u32],
    ) -> Result<InstanceBody, Error> {
        Err(Error::NotFound { what: "archive" })
    }

    /// Returns the process's counters.
    pub fn metrics(&self) -> &Metrics {
        unreachable!("the archive lands beside the adapters")
    }

    /// Returns the study's UID of a series or instance known only by its own UID.
    pub async fn study_of(&self, _instance: &Uid) -> Result<Option<Uid>, Error> {
        Err(Error::NotFound { what: "archive" })
    }
}
