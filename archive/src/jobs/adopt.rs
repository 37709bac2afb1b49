//! Adopting: brings the index up to the deletions and containers on the devices. A start, an index of yesterday's backup, an
//! emptied one and one that missed the end of a seal are all the same case.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dicom_data::Uid;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use index::{Index, Tombstone};
use tiering::{ContainerId, ContainerPlaces, ManifestInstance, Store, Toc};

use super::control::JobControl;
use super::job::{Job, Step};
use super::new_container;
use crate::barrier::Barrier;
use crate::containers::Containers;
use crate::decisions::adopt::{self, Facts};
use crate::link::IndexLink;
use crate::manifest_cache::ManifestCache;
use crate::releaser::Releaser;
use crate::tasks::Tasks;
use crate::unsealed::{Unsealed, decode};
use crate::{Clock, Error};

/// Containers that are adopted at a time where nothing was deleted; the table of contents of each is in memory.
const CONTAINERS_AT_ONCE: usize = 3;

/// Takes what is done and the total, in containers.
pub(crate) type Report<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// Adopts containers that the index does not know.
#[derive(Debug)]
pub(crate) struct Adopter {
    unsealed: Arc<Unsealed>,
    containers: Arc<Containers>,
    manifests: Arc<ManifestCache>,
    barrier: Arc<Barrier>,
    releaser: Arc<Releaser>,
    clock: Clock,
    tasks: Tasks,
}

impl Adopter {
    pub(crate) fn new(
        (unsealed, containers): (Arc<Unsealed>, Arc<Containers>),
        manifests: Arc<ManifestCache>,
        barrier: Arc<Barrier>,
        releaser: Arc<Releaser>,
        (clock, tasks): (Clock, Tasks),
    ) -> Self {
        Self { unsealed, containers, manifests, barrier, releaser, clock, tasks }
    }

    /// Brings the index up to the containers and deletions on the devices; returns how many instances were adopted. Calls
    /// `report` with the containers done and their total.
    pub(crate) async fn adopt(&self, index: &Index, report: Report<'_>) -> Result<u64, Error> {
        let store = self.containers.store().clone();
        let deleted = self.tasks.blocking(move || deletions(&store)).await??;
        let known: HashSet<_> =
            index.tombstones().await?.into_iter().map(|t| (t.study, t.series, t.instance)).collect();
        // Filing what was deleted removes studies and patients, which another container's transaction may just be using.
        let at_once = if deleted.is_empty() && known.is_empty() { CONTAINERS_AT_ONCE } else { 1 };
        for tombstone in deleted {
            if !known.contains(&(tombstone.study.clone(), tombstone.series.clone(), tombstone.instance.clone())) {
                index.add_tombstone(&tombstone).await?;
            }
        }
        let known: HashSet<ContainerId> = index.containers().await?.into_iter().map(|container| container.id).collect();
        let unknown: Vec<_> =
            self.containers.store().containers().into_iter().filter(|c| !known.contains(&c.id)).collect();
        let total = u64::try_from(unknown.len()).unwrap_or(u64::MAX);
        // Transactions of one study, or of new patients, wait for each other in the database; the rest of the work need not.
        let adopted = stream::iter(unknown).map(|places| self.adopt_one(index, places));
        let mut adopted = pin!(adopted.buffer_unordered(at_once));
        let (mut done, mut instances) = (0, 0);
        report(done, total);
        while let Some(more) = adopted.try_next().await? {
            done += 1;
            instances += more;
            report(done, total);
        }
        self.manifests.all_changed();
        if total > 0 {
            index.analyze_if_grown().await?;
        }
        Ok(instances)
    }

    async fn adopt_one(&self, index: &Index, places: ContainerPlaces) -> Result<u64, Error> {
        let toc = match self.containers.store().toc(places.id).await {
            Ok(toc) => toc,
            Err(error) => {
                tracing::error!(container = %places.id, shards = places.places.len(), %error,
                    "a container that the index does not know cannot be read, it is left alone");
                return Ok(0);
            }
        };
        let mut facts = Facts {
            shards: places.places.len(),
            shards_wanted: usize::from(places.code.shards()),
            is_beside_journal: self.is_beside_journal(&toc),
            ..Facts::default()
        };
        loop {
            match adopt::decide(&facts) {
                adopt::Step::ReadBack => facts.is_healthy = Some(self.is_healthy(places.id).await?),
                adopt::Step::LookElsewhere => facts.is_all_elsewhere = Some(self.all_elsewhere(index, &toc).await?),
                adopt::Step::Restore => return self.restore(index, &places, toc).await,
                adopt::Step::Remove => {
                    self.remove(&places).await?;
                    return Ok(0);
                }
            }
        }
    }

    /// Tells whether the journal has any of a container's instances.
    fn is_beside_journal(&self, toc: &Toc) -> bool {
        // Beside an empty journal, as a rebuilt index often is, there is nothing to compare.
        self.unsealed.len() > 0
            && instances(toc).any(|(uids, _)| uids.is_some_and(|(t, s, i)| self.unsealed.find(&t, &s, &i).is_some()))
    }

    /// Reads a container back.
    async fn is_healthy(&self, id: ContainerId) -> Result<bool, Error> {
        let store = self.containers.store().clone();
        let verified = self.tasks.blocking(move || store.verify(id)).await??;
        Ok(verified.is_healthy())
    }

    /// Files a container in the index; returns how many instances it has.
    async fn restore(&self, index: &Index, places: &ContainerPlaces, toc: Toc) -> Result<u64, Error> {
        let container = new_container::found(&self.containers, places, toc, self.clock.now())?;
        index.adopt(&container).await?;
        let instances = container.segments.iter().map(|segment| segment.manifest.instances.len()).sum::<usize>();
        tracing::info!(container = %places.id, instances, "container taken into the index");
        Ok(u64::try_from(instances).unwrap_or(u64::MAX))
    }

    /// Removes what a crash left of a seal: every instance of it can be read elsewhere.
    async fn remove(&self, places: &ContainerPlaces) -> Result<(), Error> {
        tracing::warn!(container = %places.id, shards = places.places.len(), "a container that was not finished is removed");
        let (store, id) = (self.containers.store().clone(), places.id);
        Ok(self.tasks.blocking(move || store.remove(id)).await??)
    }

    /// Tells whether every instance of a container can be read without it: undamaged from the journal, or from another container.
    async fn all_elsewhere(&self, index: &Index, toc: &Toc) -> Result<bool, Error> {
        for (uids, instance) in instances(toc) {
            let Some((study, series, sop)) = uids else { return Ok(false) };
            let elsewhere = match self.unsealed.find(&study, &series, &sop) {
                Some(record) if (record.crc32c, record.payload_bytes) == (instance.crc32c, instance.bytes) => {
                    let unsealed = Arc::clone(&self.unsealed);
                    self.tasks.blocking(move || unsealed.verify(&record).is_ok()).await?
                }
                Some(_) | None => index.series_segments(&series).await?.iter().any(|segment| {
                    segment.study == study && segment.find(&sop).is_some_and(|found| found.crc32c == instance.crc32c)
                }),
            };
            if !elsewhere {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Brings the index up to the containers again, if a seal ended without an answer from the index, or devices came back.
    pub(crate) async fn adopt_if_in_doubt(&self, index: &Index, report: Report<'_>) -> Result<(), Error> {
        let Some(applied) = self.barrier.applied() else { return Ok(()) };
        if !self.containers.take_doubt() {
            return Ok(());
        }
        let _others_wait = self.containers.lock_changes().await;
        let adopted = match self.adopt(index, report).await {
            Ok(_) => self.releaser.release_leftovers(index, applied).await,
            Err(error) => Err(error),
        };
        if adopted.is_err() {
            self.containers.doubt_index();
        }
        adopted
    }
}

/// Returns the deletions that the pools keep. Blocks.
pub(crate) fn deletions(store: &Store) -> Result<Vec<Tombstone>, Error> {
    let records = store.tombstones()?;
    let readable = records.iter().filter_map(|record| {
        let tombstone = decode(record);
        if tombstone.is_none() {
            tracing::error!(bytes = record.len(), "a tombstone cannot be read: what it deleted may come back");
        }
        tombstone
    });
    Ok(readable.collect())
}

type Uids = (Uid, Uid, Uid);

/// Returns the instances of a container with their UIDs, where those can be read.
fn instances(toc: &Toc) -> impl Iterator<Item = (Option<Uids>, &ManifestInstance)> {
    toc.segments.iter().flat_map(|segment| {
        let (study, series) = (segment.study_instance_uid.parse().ok(), segment.series_instance_uid.parse().ok());
        segment.manifest.instances.iter().map(move |instance| {
            let uids = study.clone().zip(series.clone()).zip(instance.sop_instance_uid.parse().ok());
            (uids.map(|((study, series), sop)| (study, series, sop)), instance)
        })
    })
}

/// The job `adopt`: adopts what came back with its device, or whose seal ended without an answer.
pub(crate) struct AdoptJob {
    adopter: Arc<Adopter>,
    link: Arc<IndexLink>,
}

impl AdoptJob {
    pub(crate) fn new(adopter: Arc<Adopter>, link: Arc<IndexLink>) -> Self {
        Self { adopter, link }
    }
}

impl Job for AdoptJob {
    fn name(&self) -> &'static str {
        "adopt"
    }

    fn unit(&self) -> &'static str {
        "containers"
    }

    fn wait_max(&self) -> Option<Duration> {
        None
    }

    fn wait(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.adopter.containers.in_doubt())
    }

    fn step<'a>(&'a mut self, control: &'a JobControl) -> BoxFuture<'a, Result<Step, Error>> {
        Box::pin(async {
            let index = self.link.get()?;
            self.adopter.adopt_if_in_doubt(&index, &|done, total| control.report(done, total)).await?;
            Ok(Step::Wait)
        })
    }
}
