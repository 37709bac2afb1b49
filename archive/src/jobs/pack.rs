//! Packing: takes unsealed instances out of the journal into a container, and seals it.
//!
//! Order of events, each durable before the next: shards written, fsynced, linked, read back and verified; one transaction with
//! container, segments and the end of the unsealed rows; the journal's space released. A crash before the transaction leaves a
//! container that the next start adopts; after it, only space to release.

mod fill;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dicom_data::Uid;
use futures_util::future::BoxFuture;
use index::{Index, UnsealedRow};
use journal::Lsn;
use tokio::time::timeout;

use super::adopt::Adopter;
use super::control::JobControl;
use super::job::{Job, Step};
use super::new_container;
use crate::barrier::Barrier;
use crate::containers::Containers;
use crate::decisions::seal::{Batch, Full, JournalFill, Month, Patience, batches, full_container, is_under_pressure};
use crate::link::IndexLink;
use crate::manifest_cache::ManifestCache;
use crate::releaser::Releaser;
use crate::tasks::Tasks;
use crate::unsealed::Unsealed;
use crate::{Clock, Error, Metrics, PackOptions};
use fill::{SeriesPart, write_container};

/// How often the packer looks for quiet studies at least, which reads all unsealed instances' rows.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(10);
/// The same when studies count as quiet after a second.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(500);
/// No time at all, in milliseconds: every study is quiet in it.
const NEVER: RangeInclusive<i64> = RangeInclusive::new(i64::MAX, i64::MIN);

/// What the packer reads and changes.
#[derive(Debug)]
pub(crate) struct PackParts {
    pub(crate) unsealed: Arc<Unsealed>,
    pub(crate) containers: Arc<Containers>,
    pub(crate) manifests: Arc<ManifestCache>,
    pub(crate) barrier: Arc<Barrier>,
    pub(crate) link: Arc<IndexLink>,
    pub(crate) adopter: Arc<Adopter>,
    pub(crate) releaser: Arc<Releaser>,
}

/// Packs unsealed instances into containers.
#[derive(Debug)]
pub(crate) struct Packer {
    unsealed: Arc<Unsealed>,
    containers: Arc<Containers>,
    manifests: Arc<ManifestCache>,
    barrier: Arc<Barrier>,
    link: Arc<IndexLink>,
    adopter: Arc<Adopter>,
    releaser: Arc<Releaser>,
    /// Records that no journal copy could give.
    unpackable: Mutex<BTreeSet<Lsn>>,
    options: PackOptions,
    clock: Clock,
    metrics: Metrics,
    tasks: Tasks,
}

impl Packer {
    pub(crate) fn new(
        parts: PackParts,
        options: PackOptions,
        (clock, metrics, tasks): (Clock, Metrics, Tasks),
    ) -> Self {
        let PackParts { unsealed, containers, manifests, barrier, link, adopter, releaser } = parts;
        let unpackable = Mutex::default();
        Self {
            unsealed,
            containers,
            manifests,
            barrier,
            link,
            adopter,
            releaser,
            unpackable,
            options,
            clock,
            metrics,
            tasks,
        }
    }

    /// Packs the studies that are due. Stops between containers when cancelled.
    async fn pack_due(&self, control: &JobControl) -> Result<(), Error> {
        let Ok(index) = self.link.get() else { return Ok(()) };
        // Until the index has every container, what looks unsealed may be sealed.
        if self.barrier.applied().is_none() {
            return Ok(());
        }
        self.adopter.adopt_if_in_doubt(&index, &|_, _| {}).await?;
        let options = &self.options;
        let now = self.clock.now().as_millisecond();
        let (busy, patience) = if self.is_under_pressure() {
            (NEVER, Patience::None)
        } else {
            // What seems to come from the future was received before the clock was set back: it does not wait for that day.
            let quiet = i64::try_from(options.quiet.as_millis()).unwrap_or(i64::MAX);
            (now.saturating_sub(quiet)..=now.saturating_add(quiet), Patience::Until(options.wait_max))
        };
        let studies = index.quiet_studies(busy).await?;
        let batches = batches(studies, self.full_at(), patience, now);
        let total = batches.iter().map(|batch| batch.instances).sum();
        let (mut done, mut failed) = (0, None);
        for batch in batches {
            control.report(done, total);
            control.checkpoint().await?;
            match self.pack_batch(&index, &batch).await {
                Ok(sealed) => done += sealed,
                Err(error @ Error::IndexAway(_)) => return Err(error),
                // One study that cannot be packed does not keep the others in the journal.
                Err(error) => failed = Some(error),
            }
        }
        control.report(done, total);
        failed.map_or(Ok(()), Err)
    }

    /// Packs everything that is not sealed; returns how many instances were sealed.
    pub(crate) async fn pack_all(&self, control: &JobControl) -> Result<u64, Error> {
        let index = self.link.get()?;
        // An administrator asks: perhaps devices were just mounted, and perhaps a journal copy was mended.
        self.containers.probe().await?;
        self.adopter.adopt_if_in_doubt(&index, &|_, _| {}).await?;
        self.unpackable().clear();
        let studies = index.quiet_studies(NEVER).await?;
        let total = studies.iter().map(|study| study.instances).sum();
        let mut done = 0;
        control.report(done, total);
        let now = self.clock.now().as_millisecond();
        let mut failed = None;
        for batch in batches(studies, self.full_at(), Patience::None, now) {
            control.checkpoint().await?;
            match self.pack_batch(&index, &batch).await {
                Ok(sealed) => done += sealed,
                Err(error @ Error::IndexAway(_)) => return Err(error),
                Err(error) => failed = Some(error),
            }
            control.report(done, total);
        }
        failed.map_or(Ok(done), Err)
    }

    /// Packs one batch into as many containers as it needs.
    async fn pack_batch(&self, index: &Index, batch: &Batch) -> Result<u64, Error> {
        let _others_wait = self.containers.lock_changes().await;
        let studies: Vec<Uid> =
            batch.studies.iter().map(|study| study.parse().expect("the index keeps valid UIDs")).collect();
        let full_at = self.full_at();
        let most = usize::try_from(full_at.instances).unwrap_or(usize::MAX);
        let mut sealed = 0;
        loop {
            let left_out: Vec<Lsn> = self.unpackable().iter().copied().collect();
            let mut rest = index.unsealed_instances(&studies, &left_out, most).await?;
            // There may be more: what does not fill a container is listed again with it.
            let cut = rest.len() == most;
            while !rest.is_empty() {
                let full = full_container(&rest, full_at.bytes);
                if cut && full == rest.len() && full < most {
                    break;
                }
                let later = rest.split_off(full);
                sealed += self.pack_container(index, batch.month, rest).await?;
                rest = later;
            }
            // What came since the batch was planned is for the next.
            if !cut || sealed >= batch.instances {
                return Ok(sealed);
            }
        }
    }

    async fn pack_container(&self, index: &Index, month: Month, instances: Vec<UnsealedRow>) -> Result<u64, Error> {
        let series = series_parts(index, instances).await?;
        let (unsealed, store) = (Arc::clone(&self.unsealed), self.containers.store().clone());
        let written = self.tasks.blocking(move || write_container(&unsealed, &store, series)).await??;
        self.leave_out(&written.lost);
        let Some((sealed, toc)) = written.sealed else { return Ok(0) };
        let container = new_container::sealed(&self.containers, &sealed, month, toc, self.clock.now())?;
        let recorded = match self.containers.remember_pools().await {
            Ok(()) => index.seal(&container).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        if recorded.is_err() {
            // Whether the index has it is not known: the next pack first adopts what the devices have.
            self.containers.doubt_index();
        }
        recorded?;
        let count = self.release(index, written.series).await?;
        tracing::info!(container = %sealed.id, pool = sealed.pool, instances = count, bytes = sealed.logical_bytes, "container sealed");
        self.metrics.instances("sealed", count);
        Ok(count)
    }

    /// Leaves instances that the journal lost where they are, so that they do not hold up all others, and says so.
    fn leave_out(&self, lost: &[UnsealedRow]) {
        let Some(first) = lost.first() else { return };
        tracing::error!(
            instances = lost.len(),
            sop_instance_uid = %first.sop_instance_uid,
            "instances that no journal copy has undamaged are not packed: mend a copy or delete them and have them sent again"
        );
        self.unpackable().extend(lost.iter().map(|row| row.record.lsn));
    }

    /// Releases what the journal held of sealed instances; returns how many they are.
    async fn release(&self, index: &Index, series: Vec<SeriesPart>) -> Result<u64, Error> {
        let (unsealed, manifests) = (Arc::clone(&self.unsealed), Arc::clone(&self.manifests));
        let released = self.tasks.blocking(move || {
            let mut count = 0;
            for part in &series {
                manifests.changed(&part.series);
                for row in &part.instances {
                    unsealed.forget(&part.study, &part.series, &row.sop_instance_uid, &row.record);
                    unsealed.release_large(&row.record);
                    count += 1;
                }
            }
            count
        });
        let count = released.await?;
        self.releaser.release(index).await?;
        Ok(count)
    }

    fn full_at(&self) -> Full {
        Full { bytes: self.options.container_bytes, instances: self.options.container_instances_max.max(1) }
    }

    fn is_under_pressure(&self) -> bool {
        let status = self.unsealed.status();
        let journal = JournalFill {
            used_bytes: status.used_bytes,
            bytes_max: status.bytes_max,
            segment_bytes: self.unsealed.segment_bytes(),
        };
        is_under_pressure(journal, self.options.pressure_percent)
    }

    /// Returns the records that could not be packed, so that they are tried and reported only once.
    fn unpackable(&self) -> MutexGuard<'_, BTreeSet<Lsn>> {
        self.unpackable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sorts instances, which come series by series, into parts.
async fn series_parts(index: &Index, instances: Vec<UnsealedRow>) -> Result<Vec<SeriesPart>, Error> {
    let mut parts: Vec<SeriesPart> = Vec::new();
    for row in instances {
        let (study, series) = (&row.study_instance_uid, &row.series_instance_uid);
        match parts.last_mut() {
            Some(part) if part.study == *study && part.series == *series => part.instances.push(row),
            Some(_) | None => {
                let (study, series) = (study.clone(), series.clone());
                parts.push(SeriesPart { study, series, summary: Bytes::new(), instances: vec![row] });
            }
        }
    }
    let named: Vec<(Uid, Uid)> = parts.iter().map(|part| (part.study.clone(), part.series.clone())).collect();
    for (part, summary) in parts.iter_mut().zip(index.series_summaries(&named).await?) {
        part.summary = summary;
    }
    Ok(parts)
}

/// The job `pack`: packs studies when they have been quiet long enough, and at once when the journal fills up.
pub(crate) struct PackJob {
    packer: Arc<Packer>,
}

impl PackJob {
    pub(crate) fn new(packer: Arc<Packer>) -> Self {
        Self { packer }
    }

    fn look_every(&self) -> Duration {
        (self.packer.options.quiet / 2).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX)
    }
}

impl Job for PackJob {
    fn name(&self) -> &'static str {
        "pack"
    }

    fn unit(&self) -> &'static str {
        "instances"
    }

    fn wait_max(&self) -> Option<Duration> {
        Some(self.look_every())
    }

    fn wait(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let refused = timeout(self.look_every(), self.packer.unsealed.refused()).await;
            tracing::trace!(refused = refused.is_ok(), "the packer looks for quiet studies");
        })
    }

    fn step<'a>(&'a mut self, control: &'a JobControl) -> BoxFuture<'a, Result<Step, Error>> {
        Box::pin(async {
            self.packer.pack_due(control).await?;
            Ok(Step::Wait)
        })
    }
}
