//! The archive as its adapters see it. This file only wires: it builds the parts from the bottom up, starts the tasks, and hands
//! each call to its part.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dicom_data::query::Query;
use dicom_data::{Attributes, BulkPath};
use disk::DirLock;
use index::{InstanceRef, Selector, Tombstone};
use journal::Journal;

use crate::barrier::Barrier;
use crate::budgets::{HeaderBudget, ReadBudget};
use crate::containers::Containers;
use crate::deletion::Deletion;
use crate::follower::Follower;
use crate::jobs::{self, AdoptJob, Adopter, PackJob, PackParts, Packer, ProbeJob, Progress, Scheduler, Verifier};
use crate::link::IndexLink;
use crate::manifest_cache::ManifestCache;
use crate::quarantine::Quarantine;
use crate::receive::{Intake, Origin, Receiver, StoreLimits};
use crate::releaser::Releaser;
use crate::retrieve::{self, FrameReader, Frames, InstanceBody, Locator, MetadataReader, Opened, Reader};
use crate::status::Gauges;
use crate::tasks::Tasks;
use crate::unsealed::Unsealed;
use crate::used_pools::{self, UsedPools};
use crate::{ArchiveOptions, Clock, Error, JobControl, JobStatus, Metrics, Results, Status, VerifyReport};

/// The archive: one store, one query and one retrieve service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Archive {
    services: Arc<Services>,
}

/// The services that adapters call, and what a stop needs. Only this file names it.
#[derive(Debug)]
struct Services {
    intake: Arc<Intake>,
    readers: Readers,
    deletion: Arc<Deletion>,
    workers: Workers,
    scheduler: Arc<Scheduler>,
    gauges: Arc<Gauges>,
    ground: Ground,
    barrier: Arc<Barrier>,
    metrics: Metrics,
    tasks: Tasks,
}

/// What lies lowest: opened in order, data directory first.
#[derive(Debug)]
struct Ground {
    lock: DirLock,
    unsealed: Arc<Unsealed>,
    containers: Arc<Containers>,
    link: Arc<IndexLink>,
}

/// The retrieve service.
#[derive(Debug)]
struct Readers {
    locator: Arc<Locator>,
    reader: Arc<Reader>,
    frames: FrameReader,
    metadata: Arc<MetadataReader>,
}

/// What works in the background.
#[derive(Debug)]
struct Workers {
    adopter: Arc<Adopter>,
    follower: Arc<Follower>,
    packer: Arc<Packer>,
    verifier: Arc<Verifier>,
}

impl Archive {
    /// Starts the archive: recovers the journal, opens the pools, connects the index, adopts containers that the index does
    /// not know, and starts the follower and the jobs.
    pub async fn start(options: ArchiveOptions) -> Result<Self, Error> {
        let services = Arc::new(open(options).await?);
        services.keep_link();
        let Services { workers, scheduler, ground, gauges, tasks, .. } = &*services;
        tasks.start(Arc::clone(&workers.follower).run());
        scheduler.start(PackJob::new(Arc::clone(&workers.packer)));
        scheduler.start(AdoptJob::new(Arc::clone(&workers.adopter), Arc::clone(&ground.link)));
        let (containers, link) = (Arc::clone(&ground.containers), Arc::clone(&ground.link));
        scheduler.start(ProbeJob::new(containers, link, Arc::clone(gauges)));
        Ok(Self { services })
    }

    /// Stops: ends the jobs and the follower, closes the journal and the index, and makes room for another archive on these
    /// directories. Peers must have been served before; readers that are still at work may go on.
    pub async fn stop(&self) {
        self.services.tasks.stop().await;
        self.services.ground.unsealed.close().await;
        self.services.ground.link.close().await;
        self.services.ground.lock.release();
    }

    /// Begins to take one instance in. Fails at once when its transfer syntax is not taken.
    pub fn receive(&self, origin: Origin) -> Result<Receiver, Error> {
        Receiver::new(Arc::clone(&self.services.intake), origin)
    }

    /// Searches; matches come as they are found, in stable order. Sees every instance acknowledged before the
    /// call. Dropping the stream stops the search.
    ///
    /// A match has all attributes the index keeps of its level and the levels above, with the counts
    /// (0020,1200..1209), Modalities in Study and SOP Classes in Study; adapters pick what was asked for.
    pub async fn search(&self, query: Query) -> Result<Results<Attributes>, Error> {
        self.services.barrier.catch_up().await?;
        let index = self.services.ground.link.get()?;
        let matches = index.search(&query).await?;
        Ok(Box::pin(futures_util::StreamExt::map(matches, |found| found.map_err(Error::from))))
    }

    /// Returns how many matches there are after the query's offset, whatever its limit; `at_most` if there are more.
    /// `None` when only the search itself can tell.
    pub async fn count(&self, query: &Query, at_most: u64) -> Result<Option<u64>, Error> {
        self.services.barrier.catch_up().await?;
        Ok(self.services.ground.link.get()?.count(query, at_most).await?)
    }

    /// Finds instances; ordered by study, series number and instance number. Sees every instance acknowledged
    /// before the call.
    pub async fn locate(&self, selector: &Selector) -> Result<Vec<InstanceRef>, Error> {
        self.services.readers.locator.locate(selector).await
    }

    /// Tells whether something of the selection was there and was deleted (410 instead of 404).
    pub fn was_deleted(&self, selector: &Selector) -> bool {
        let uids = [&selector.studies, &selector.series, &selector.instances];
        uids.into_iter().flatten().any(|uid| self.services.ground.unsealed.was_deleted(uid))
    }

    /// Opens one instance for reading; the data set's bytes, verified.
    pub async fn open(&self, instance: &InstanceRef) -> Result<InstanceBody, Error> {
        retrieve::open(&self.services.readers.reader, instance).await
    }

    /// Opens instances one after the other, in order, reading ahead within a memory bound. An instance
    /// that cannot be read is an `Err` item, and the stream goes on.
    pub fn open_all(&self, instances: Vec<InstanceRef>) -> Opened {
        retrieve::open_all(Arc::clone(&self.services.readers.reader), instances)
    }

    /// Returns the metadata of instances as DICOM JSON objects, one item each, in order. Each occurrence of the byte
    /// 01H stands for the base URL of the DICOMweb service, without a trailing slash.
    pub fn metadata(&self, instances: Vec<InstanceRef>) -> Results<Bytes> {
        retrieve::metadata(Arc::clone(&self.services.readers.metadata), instances)
    }

    /// Returns frames (1-based numbers) of an instance as stored. `NotFound` for a number past the last.
    pub async fn frames(&self, instance: &InstanceRef, numbers: &[u32]) -> Result<Frames, Error> {
        retrieve::frames(&self.services.readers.frames, instance, numbers).await
    }

    /// Returns how many frames the instance's Pixel Data has; `NotFound` without Pixel Data.
    pub async fn frame_count(&self, instance: &InstanceRef) -> Result<u32, Error> {
        retrieve::frame_count(&self.services.readers.frames, instance).await
    }

    /// Returns one bulk value, little endian.
    pub async fn bulk_data(&self, instance: &InstanceRef, path: &BulkPath) -> Result<InstanceBody, Error> {
        retrieve::bulk_data(&self.services.readers.frames, instance, path).await
    }

    /// Deletes a study, series or instance for good: durable in the pools before it returns, and never brought back by
    /// a rebuilt index or a resend. The bytes stay in their container until it is rewritten.
    pub async fn delete(&self, tombstone: Tombstone) -> Result<(), Error> {
        let deletion = Arc::clone(&self.services.deletion);
        // In a task of its own: a caller that goes away does not leave half a deletion.
        self.services.tasks.finish(async move { deletion.delete(tombstone).await }).await?
    }

    /// Packs everything that is not sealed yet, without waiting for full containers. Returns the instances sealed. A dropped
    /// call goes on.
    pub async fn pack_now(&self, progress: Progress) -> Result<u64, Error> {
        self.services.barrier.catch_up_patiently().await?;
        let packer = Arc::clone(&self.services.workers.packer);
        let pack = |control: JobControl| async move { packer.pack_all(&control).await };
        self.services.scheduler.run(("pack-now", "instances"), progress, pack).await
    }

    /// Reads every shard and every journal record and compares them with the index. Changes nothing. Dropped, it stops.
    pub async fn verify(&self, progress: Progress) -> Result<VerifyReport, Error> {
        self.services.barrier.catch_up_patiently().await?;
        let verifier = Arc::clone(&self.services.workers.verifier);
        let verify = |control: JobControl| async move { verifier.verify(&control).await };
        self.services.scheduler.run_while_awaited(("verify", "containers"), progress, verify).await
    }

    /// Empties the index and fills it from the containers, the tombstones and the journal. Nothing may be received
    /// meanwhile: the data directory is locked against a running server.
    pub async fn rebuild_index(options: ArchiveOptions, progress: Progress) -> Result<u64, Error> {
        let services = Arc::new(open(options).await?);
        let of_job = Arc::clone(&services);
        let rebuild = |control: JobControl| async move {
            let Services { ground, workers: Workers { adopter, follower, .. }, barrier, tasks, .. } = &*of_job;
            jobs::rebuild(&ground.link, adopter, Arc::clone(follower), (barrier, tasks), &control).await
        };
        let rebuilt = services.scheduler.run(("rebuild-index", "containers"), progress, rebuild).await;
        Self { services }.stop().await;
        rebuilt
    }

    /// Runs work of a caller as a job that is shown, paused and cancelled like the archive's own. The work calls
    /// [`JobControl::checkpoint`] between pieces; when this call is dropped, the work is cancelled there.
    pub async fn run_job<T, E, W>(&self, (name, unit): (&str, &str), work: impl FnOnce(JobControl) -> W) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + std::fmt::Display + 'static,
        W: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.services.scheduler.run_while_awaited((name, unit), Progress::silent(), work).await
    }

    /// Returns how each job is: background jobs, jobs that run, and the last run of those that ended.
    pub fn jobs(&self) -> Vec<JobStatus> {
        self.services.scheduler.statuses()
    }

    /// Pauses the jobs of a name: they stop at their next checkpoint. Background jobs stay paused over a restart.
    pub async fn pause_job(&self, name: &str) -> Result<(), Error> {
        self.services.scheduler.pause(name).await
    }

    /// Resumes the jobs of a name.
    pub async fn resume_job(&self, name: &str) -> Result<(), Error> {
        self.services.scheduler.resume(name).await
    }

    /// Lets the jobs of a name work for this percentage of the time, 1 to 100. Survives a restart for background jobs.
    pub async fn throttle_job(&self, name: &str, percent: u8) -> Result<(), Error> {
        self.services.scheduler.throttle(name, percent).await
    }

    /// Cancels the jobs of a name that run once, at their next checkpoint.
    pub fn cancel_job(&self, name: &str) -> Result<(), Error> {
        self.services.scheduler.cancel(name)
    }

    /// Returns the process's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.services.metrics
    }

    /// Returns all counters, brought up to date, in the OpenMetrics text format.
    pub fn encode_metrics(&self) -> String {
        self.services.gauges.refresh();
        self.services.metrics.encode()
    }

    /// Returns sizes, counts and states for people and scripts.
    pub async fn status(&self) -> Status {
        self.services.gauges.status().await
    }
}

impl Services {
    /// Keeps the link to the index as long as the archive runs.
    fn keep_link(&self) {
        let (link, cancel) = (Arc::clone(&self.ground.link), self.tasks.cancel().clone());
        self.tasks.spawn(async move { link.keep(cancel).await });
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

/// Opens lock, pools, journal and index; learns the deletions and what the journal holds.
async fn open_ground(options: &ArchiveOptions, tasks: &Tasks) -> Result<Ground, Error> {
    let lock = lock_data(&options.data)?;
    let used = used_pools::read(&options.data)?;
    let store_options = tiering::StoreOptions { used_pools: used.clone(), ..tiering::StoreOptions::default() };
    let (journal_options, pools) = (options.journal.clone(), options.pools.clone());
    let opened = tasks.blocking(move || -> Result<_, Error> {
        let store = tiering::Store::open(pools, store_options)?;
        Ok((store, Journal::open(journal_options)?))
    });
    let (store, journal) = opened.await??;
    let link = Arc::new(IndexLink::open(options).await?);
    let unsealed = Arc::new(Unsealed::new(journal));
    let containers = Containers::new(store, UsedPools::new(options.data.clone(), used), &options.pools);
    containers.remember_pools().await?;
    let (store, learner) = (containers.store().clone(), Arc::clone(&unsealed));
    let learned = tasks.blocking(move || -> Result<(), Error> {
        jobs::deletions(&store)?.iter().for_each(|tombstone| learner.enter_tombstone(tombstone));
        learner.learn()
    });
    learned.await??;
    tracing::info!(unsealed = unsealed.len(), "journal read");
    Ok(Ground { lock, unsealed, containers: Arc::new(containers), link })
}

/// What every part may use: the time of day, the counters, and tasks that a stop waits for.
type Common = (Clock, Metrics, Tasks);

/// Opens what lies lowest and builds the parts on it, from the bottom up; nothing runs yet.
async fn open(options: ArchiveOptions) -> Result<Services, Error> {
    let (clock, metrics, tasks) = (options.clock.clone(), Metrics::default(), Tasks::default());
    let common = || (clock.clone(), metrics.clone(), tasks.clone());
    let ground = open_ground(&options, &tasks).await?;
    let Ground { unsealed, containers, link, .. } = &ground;
    let places = || (Arc::clone(unsealed), Arc::clone(containers));
    let barrier = Arc::new(Barrier::new(Arc::clone(unsealed), options.barrier_wait_max));
    let manifests = Arc::new(ManifestCache::new(Arc::clone(link)));
    let releaser = Arc::new(Releaser::new(Arc::clone(unsealed), Arc::clone(&barrier), tasks.clone()));
    let scheduler = Arc::new(Scheduler::new(Arc::clone(link), tasks.clone(), clock.clone(), metrics.clone()));
    let readers = readers(&ground, &manifests, &barrier);
    let limits = StoreLimits {
        instance_bytes_max: options.instance_bytes_max,
        inline_bytes_max: options.journal.inline_bytes_max,
    };
    let intake =
        Intake::new(Arc::clone(unsealed), Arc::clone(&manifests), Arc::clone(&readers.reader), limits, common());
    let workers = workers(&ground, (&manifests, &barrier, &releaser), &scheduler, &options, &common());
    let gauges = Gauges::new(
        places(),
        (Arc::clone(&barrier), Arc::clone(link)),
        Arc::clone(&scheduler),
        metrics.clone(),
        options.journal.copies_required,
    );
    let deletion = Deletion::new(places(), manifests, Arc::clone(link), Arc::clone(&barrier), releaser, clock.clone());
    Ok(Services {
        intake: Arc::new(intake),
        readers,
        deletion: Arc::new(deletion),
        workers,
        scheduler,
        gauges: Arc::new(gauges),
        ground,
        barrier,
        metrics,
        tasks,
    })
}

fn readers(ground: &Ground, manifests: &Arc<ManifestCache>, barrier: &Arc<Barrier>) -> Readers {
    let Ground { unsealed, containers, link, .. } = ground;
    let headers = HeaderBudget::new();
    let locator = Locator::new(Arc::clone(unsealed), Arc::clone(manifests), Arc::clone(barrier), Arc::clone(link));
    let locator = Arc::new(locator);
    let store = containers.store().clone();
    let reader = Arc::new(Reader::new(Arc::clone(unsealed), store, Arc::clone(&locator), ReadBudget::new()));
    let metadata = MetadataReader::new(Arc::clone(&reader), Arc::clone(manifests), headers.clone());
    let frames = FrameReader::new(Arc::clone(&reader), headers);
    Readers { locator, reader, frames, metadata: Arc::new(metadata) }
}

fn workers(
    ground: &Ground,
    (manifests, barrier, releaser): (&Arc<ManifestCache>, &Arc<Barrier>, &Arc<Releaser>),
    scheduler: &Arc<Scheduler>,
    options: &ArchiveOptions,
    common: &Common,
) -> Workers {
    let Ground { unsealed, containers, link, .. } = ground;
    let (clock, metrics, tasks) = common;
    let adopter = Arc::new(Adopter::new(
        (Arc::clone(unsealed), Arc::clone(containers)),
        Arc::clone(manifests),
        Arc::clone(barrier),
        Arc::clone(releaser),
        (clock.clone(), tasks.clone()),
    ));
    let follower = Follower::new(
        (Arc::clone(unsealed), Arc::clone(barrier), Arc::clone(link)),
        (Arc::clone(&adopter), Arc::clone(scheduler)),
        Arc::clone(releaser),
        Quarantine::new(&options.data),
        (metrics.clone(), tasks.clone()),
    );
    let parts = PackParts {
        unsealed: Arc::clone(unsealed),
        containers: Arc::clone(containers),
        manifests: Arc::clone(manifests),
        barrier: Arc::clone(barrier),
        link: Arc::clone(link),
        adopter: Arc::clone(&adopter),
        releaser: Arc::clone(releaser),
    };
    let packer = Packer::new(parts, options.pack.clone(), common.clone());
    let verifier = Verifier::new(Arc::clone(unsealed), Arc::clone(containers), Arc::clone(link));
    Workers { adopter, follower: Arc::new(follower), packer: Arc::new(packer), verifier: Arc::new(verifier) }
}
