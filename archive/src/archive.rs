//! The archive as its adapters see it, and what its parts share.

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tiering::UsedPool;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::held::Held;
use crate::jobs::{self, Progress};
use crate::link::IndexLink;
use crate::parsing::Parsing;
use crate::presence::Presence;
use crate::receive::{Origin, Receiver, joined};
use crate::retrieve::{self, Frames, InstanceBody, Layouts};
use crate::sealed::SealedSeries;
use crate::tombstones::Tombstones;
use crate::{ArchiveOptions, Error, Metrics, Status, VerifyReport, follower, used_pools};
use dicom_data::query::Query;
use dicom_data::{Attributes, BulkPath, Identifiers};
use disk::DirLock;
use index::Tombstone;
use index::{InstanceRef, Selector};
use journal::{Journal, Lsn};

/// Pieces of long instances that are written at a time: each is a thread, and with one for each sender those that answer
/// everybody else hardly get to run.
const LARGE_WRITES_MAX: usize = 8;

/// How long a sender waits for the index to say whether an instance is sealed.
const SEALED_WAIT_MAX: Duration = Duration::from_secs(1);

/// A stream that ends at the first error.
pub type Results<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;

/// Instances opened one after the other; one that cannot be read does not end the stream.
pub type Opened = Pin<Box<dyn Stream<Item = (InstanceRef, Result<InstanceBody, Error>)> + Send>>;

/// The archive: one store, one query and one retrieve service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Archive {
    inner: Arc<Inner>,
}

/// What the archive's parts share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: ArchiveOptions,
    pub(crate) metrics: Metrics,
    pub(crate) journal: Journal,
    pub(crate) store: tiering::Store,
    pub(crate) link: IndexLink,
    pub(crate) presence: Arc<Presence>,
    pub(crate) tombstones: Tombstones,
    pub(crate) sealed_series: SealedSeries,
    /// How frames lie in sealed instances.
    pub(crate) layouts: Layouts,
    /// End of the last journal record that the index has; `None` until it also has every container.
    pub(crate) applied: watch::Sender<Option<Lsn>>,
    /// Somebody waits for the follower.
    pub(crate) hurry: Notify,
    /// Somebody wants the packer to look.
    pub(crate) pack_wanted: Notify,
    /// One packer at a time.
    pub(crate) packing: tokio::sync::Mutex<()>,
    /// The index may not have a container that the devices have.
    pub(crate) recheck: AtomicBool,
    /// Records that no journal copy could give to the packer.
    pub(crate) unpackable: Mutex<BTreeSet<Lsn>>,
    /// Pools that were used, as the data directory remembers them.
    pub(crate) used_pools: Mutex<Vec<UsedPool>>,
    /// Where the journal ended at the start: what lies before may have rotted since it was written.
    pub(crate) replayed_up_to: Lsn,
    /// Headers that are being read for clients.
    pub(crate) parsing: Parsing,
    /// What clients have not read yet.
    pub(crate) held: Held,
    /// A permit for each piece of a long instance that is being written.
    pub(crate) large_writes: Semaphore,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
    lock: DirLock,
}

impl Archive {
    /// Starts the archive: recovers the journal, opens the pools, connects the index, takes in containers that the
    /// index does not know, and starts the follower and the jobs.
    pub async fn start(options: ArchiveOptions) -> Result<Self, Error> {
        let inner = open(options).await?;
        let cancel = inner.cancel.clone();
        let keeper = Arc::clone(&inner);
        let keep_cancel = cancel.clone();
        inner.tasks.spawn(async move { keeper.link.keep(keep_cancel).await });
        inner.tasks.spawn(follower::run(Arc::clone(&inner), cancel.clone()));
        inner.tasks.spawn(jobs::run(Arc::clone(&inner), cancel));
        Ok(Self { inner })
    }

    /// Stops: ends the jobs and the follower, closes the journal and the index, and makes room for another archive on
    /// these directories. Peers must have been served before; who still reads may go on.
    pub async fn stop(&self) {
        self.inner.cancel.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.journal.close().await;
        self.inner.link.close().await;
        self.inner.lock.give_back();
    }

    /// Begins to take one instance in. Fails at once with `OutOfResources` when nothing can be stored.
    pub fn receive(&self, origin: Origin) -> Result<Receiver, Error> {
        Receiver::new(Arc::clone(&self.inner), origin)
    }

    /// Searches; matches come as they are found, in stable order. Sees every instance acknowledged before the
    /// call. Dropping the stream stops the search.
    ///
    /// A match has all attributes the index keeps of its level and the levels above, with the counts
    /// (0020,1200..1209), Modalities in Study and SOP Classes in Study; adapters pick what was asked for.
    pub async fn search(&self, query: Query) -> Result<Results<Attributes>, Error> {
        follower::catch_up(&self.inner).await?;
        let index = self.inner.link.get()?;
        let matches = index.search(&query).await?;
        Ok(Box::pin(futures_util::StreamExt::map(matches, |found| found.map_err(Error::from))))
    }

    /// Returns how many matches there are after the query's offset, whatever its limit; `at_most` if there are more.
    /// `None` when only the search itself can tell.
    pub async fn count(&self, query: &Query, at_most: u64) -> Result<Option<u64>, Error> {
        follower::catch_up(&self.inner).await?;
        Ok(self.inner.link.get()?.count(query, at_most).await?)
    }

    /// Finds instances; ordered by study, series number and instance number. Sees every instance acknowledged
    /// before the call.
    pub async fn locate(&self, selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        self.inner.locate(selector).await
    }

    /// Tells whether something of the selection was there and was deleted (410 instead of 404).
    pub fn was_deleted(&self, selector: &Selector) -> bool {
        let uids = [&selector.studies, &selector.series, &selector.instances];
        uids.into_iter().flatten().any(|uid| self.inner.tombstones.has(uid))
    }

    /// Opens one instance for reading; the data set's bytes, verified.
    pub async fn open(&self, instance: &InstanceRef) -> Result<InstanceBody, Error> {
        retrieve::open(&self.inner, instance).await
    }

    /// Opens instances one after the other, in order, reading ahead within a memory bound. An instance
    /// that cannot be read is an `Err` item, and the stream goes on.
    pub fn open_all(&self, instances: Vec<InstanceRef>) -> Opened {
        retrieve::open_all(Arc::clone(&self.inner), instances)
    }

    /// Returns the metadata of instances as DICOM JSON objects, one item each, in order. Each occurrence of the byte
    /// 01H stands for the base URL of the DICOMweb service, without a trailing slash.
    pub fn metadata(&self, instances: Vec<InstanceRef>) -> Results<Bytes> {
        retrieve::metadata(Arc::clone(&self.inner), instances)
    }

    /// Returns frames (1-based numbers) of an instance as stored. `NotFound` for a number past the last.
    pub async fn frames(&self, instance: &InstanceRef, numbers: &[u32]) -> Result<Frames, Error> {
        retrieve::frames(&self.inner, instance, numbers).await
    }

    /// Returns how many frames the instance's Pixel Data has; `NotFound` without Pixel Data.
    pub async fn frame_count(&self, instance: &InstanceRef) -> Result<u32, Error> {
        retrieve::frame_count(&self.inner, instance).await
    }

    /// Returns one bulk value, little endian.
    pub async fn bulk_data(&self, instance: &InstanceRef, path: &BulkPath) -> Result<InstanceBody, Error> {
        retrieve::bulk_data(&self.inner, instance, path).await
    }

    /// Deletes a study, series or instance for good: durable in the pools before it returns, and never brought back by
    /// a rebuilt index or a resend. The bytes stay in their container until it is rewritten.
    pub async fn delete(&self, mut tombstone: Tombstone) -> Result<(), Error> {
        tombstone.deleted_millis = self.inner.options.clock.now().as_millisecond();
        follower::catch_up(&self.inner).await?;
        let inner = Arc::clone(&self.inner);
        // In a task of its own: a caller that goes away does not leave half a deletion.
        joined(self.inner.tasks.spawn(async move { jobs::delete(&inner, tombstone).await }).await)?
    }

    /// Packs everything that is not sealed yet, without waiting for full containers. Returns the instances sealed.
    pub async fn pack_now(&self, progress: Progress) -> Result<u64, Error> {
        follower::catch_up_patiently(&self.inner).await?;
        let inner = Arc::clone(&self.inner);
        // In a task of its own: a caller that goes away does not leave a container half written.
        joined(self.inner.tasks.spawn(async move { jobs::pack_all(&inner, &progress).await }).await)?
    }

    /// Reads every shard and every journal record and compares them with the index. Changes nothing.
    pub async fn verify(&self, progress: Progress) -> Result<VerifyReport, Error> {
        follower::catch_up_patiently(&self.inner).await?;
        jobs::verify(&self.inner, progress).await
    }

    /// Empties the index and fills it from the containers, the tombstones and the journal. Nothing may be received
    /// meanwhile: the data directory is locked against a running server.
    pub async fn rebuild_index(options: ArchiveOptions, progress: Progress) -> Result<u64, Error> {
        let inner = open(options).await?;
        let rebuilt = jobs::rebuild(&inner, &progress).await;
        Self { inner }.stop().await;
        rebuilt
    }

    /// Returns the process's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Returns all counters, brought up to date, in the OpenMetrics text format.
    pub fn encode_metrics(&self) -> String {
        jobs::refresh_metrics(&self.inner);
        self.inner.metrics.encode()
    }

    /// Returns sizes, counts and states for people and scripts.
    pub async fn status(&self) -> Status {
        jobs::status(&self.inner).await
    }
}

/// Takes the data directory for this process.
fn lock_data(data: &Path) -> Result<DirLock, Error> {
    let io = |doing| move |source| Error::Io { doing, source };
    std::fs::create_dir_all(data).map_err(io("create the data directory"))?;
    DirLock::take(data).map_err(|error| {
        let taken = error.kind() == std::io::ErrorKind::WouldBlock;
        if taken { Error::Locked } else { io("open the data directory's lock")(error) }
    })
}

/// Opens the parts in order: lock, journal, pools, index; nothing runs yet.
async fn open(options: ArchiveOptions) -> Result<Arc<Inner>, Error> {
    let lock = lock_data(&options.data)?;
    let used_pools = used_pools::read(&options.data)?;
    let store_options = tiering::StoreOptions { used_pools: used_pools.clone(), ..tiering::StoreOptions::default() };
    let (journal_options, pools) = (options.journal.clone(), options.pools.clone());
    let opened = tokio::task::spawn_blocking(move || -> Result<_, Error> {
        let store = tiering::Store::open(pools, store_options)?;
        let journal = Journal::open(journal_options)?;
        Ok((store, journal))
    });
    let (store, journal) = joined(opened.await)??;
    let link = IndexLink::open(&options).await?;
    let inner = Arc::new(Inner {
        applied: watch::Sender::new(None),
        options,
        metrics: Metrics::default(),
        replayed_up_to: journal.durable_end(),
        journal,
        store,
        link,
        presence: Arc::new(Presence::new()),
        tombstones: Tombstones::default(),
        sealed_series: SealedSeries::new(),
        layouts: Layouts::default(),
        hurry: Notify::new(),
        pack_wanted: Notify::new(),
        packing: tokio::sync::Mutex::default(),
        recheck: AtomicBool::new(false),
        unpackable: Mutex::default(),
        used_pools: Mutex::new(used_pools),
        parsing: Parsing::new(),
        held: Held::new(),
        large_writes: Semaphore::new(LARGE_WRITES_MAX),
        tasks: TaskTracker::new(),
        cancel: CancellationToken::new(),
        lock,
    });
    used_pools::remember(&inner).await?;
    jobs::recover(&inner).await?;
    Ok(inner)
}

impl Inner {
    /// Returns the sealed instance with these UIDs. An index that is away answers "none": the follower finds the
    /// duplicate later and keeps the first.
    pub(crate) async fn find_sealed(&self, identifiers: &Identifiers) -> Option<InstanceRef> {
        let Identifiers { study_instance_uid: study, series_instance_uid: series, .. } = identifiers;
        if self.sealed_series.must_ask(series) && self.sealed_series.rests() {
            return None;
        }
        let asked = self.sealed_instance(study, series, &identifiers.sop_instance_uid);
        let error = match tokio::time::timeout(SEALED_WAIT_MAX, asked).await {
            Ok(Ok(found)) => return found,
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        tracing::debug!(?error, "whether an instance is sealed is not known now");
        self.sealed_series.rest();
        None
    }
}
