//! Packing: takes unsealed instances out of the journal into a container, and seals it.
//!
//! Order of events, each durable before the next: shards written, fsynced, linked, read back and verified; one
//! transaction with container, segments and the end of the hot rows; the journal's space given back. A crash before
//! the transaction leaves a container that the next start takes in (`recover`); after it, only space to give back.

mod fill;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::plan::{Batch, Full, Month, Patience, batches};
use super::recover::recheck;
use super::{Progress, describe};
use crate::archive::Inner;
use crate::receive::joined;
use crate::{Error, used_pools};
use dicom_data::Uid;
use fill::{SeriesPart, write_container};
use index::{Hot, Index};
use journal::Lsn;

/// No time at all, in milliseconds: every study is quiet in it.
pub(super) const NEVER: RangeInclusive<i64> = RangeInclusive::new(i64::MAX, i64::MIN);

/// Packs the studies that are due. Stops between containers when cancelled.
pub(crate) async fn pack_due(archive: &Arc<Inner>, cancel: &CancellationToken) -> Result<(), Error> {
    let Ok(index) = archive.link.get() else { return Ok(()) };
    // Until the index has every container, what looks unsealed may be sealed.
    if archive.applied.borrow().is_none() {
        return Ok(());
    }
    recheck(archive, &index).await?;
    let options = &archive.options.pack;
    let now = archive.options.clock.now().as_millisecond();
    let (busy, patience) = if archive.under_pressure() {
        (NEVER, Patience::None)
    } else {
        // What seems to come from the future was received before the clock was set back: it need not wait for that day.
        let quiet = i64::try_from(options.quiet.as_millis()).unwrap_or(i64::MAX);
        (now.saturating_sub(quiet)..=now.saturating_add(quiet), Patience::Until(options.wait_max))
    };
    let studies = index.quiet_studies(busy).await?;
    let mut failed = None;
    for batch in batches(studies, full_at(archive), patience, now) {
        if cancel.is_cancelled() {
            break;
        }
        match pack_batch(archive, &index, &batch).await {
            Ok(_) => {}
            Err(error @ Error::IndexAway(_)) => return Err(error),
            // One study that cannot be packed does not keep the others in the journal.
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Packs everything that is not sealed; returns how many instances were sealed.
pub(crate) async fn pack_all(archive: &Arc<Inner>, progress: &Progress) -> Result<u64, Error> {
    let index = archive.link.get()?;
    // Somebody asks: perhaps devices were just mounted.
    super::probe_devices(archive).await;
    recheck(archive, &index).await?;
    // And perhaps a journal copy was mended.
    archive.unpackable().clear();
    let studies = index.quiet_studies(NEVER).await?;
    let total = studies.iter().map(|study| study.instances).sum();
    let mut done = 0;
    progress.report(done, total);
    let now = archive.options.clock.now().as_millisecond();
    let mut failed = None;
    for batch in batches(studies, full_at(archive), Patience::None, now) {
        match pack_batch(archive, &index, &batch).await {
            Ok(sealed) => done += sealed,
            Err(error @ Error::IndexAway(_)) => return Err(error),
            Err(error) => failed = Some(error),
        }
        progress.report(done, total);
    }
    failed.map_or(Ok(done), Err)
}

/// Packs one batch into as many containers as it needs.
async fn pack_batch(archive: &Arc<Inner>, index: &Index, batch: &Batch) -> Result<u64, Error> {
    let _one_packer = archive.packing.lock().await;
    let studies: Vec<Uid> =
        batch.studies.iter().map(|study| study.parse().expect("the index keeps valid UIDs")).collect();
    let full_at = full_at(archive);
    let most = usize::try_from(full_at.instances).unwrap_or(usize::MAX);
    let mut sealed = 0;
    loop {
        let left_out: Vec<Lsn> = archive.unpackable().iter().copied().collect();
        let mut rest = index.hot_instances(&studies, &left_out, most).await?;
        // There may be more: what does not fill a container is listed again with it.
        let cut = rest.len() == most;
        while !rest.is_empty() {
            let full = full_container(&rest, full_at.bytes);
            if cut && full == rest.len() && full < most {
                break;
            }
            let later = rest.split_off(full);
            sealed += pack_container(archive, index, batch.month, rest).await?;
            rest = later;
        }
        // What came since the batch was planned is for the next.
        if !cut || sealed >= batch.instances {
            return Ok(sealed);
        }
    }
}

fn full_at(archive: &Inner) -> Full {
    let options = &archive.options.pack;
    Full { bytes: options.container_bytes, instances: options.container_instances_max.max(1) }
}

/// Returns how many of the instances, at least one, fill one container.
fn full_container(instances: &[Hot], container_bytes: u64) -> usize {
    let mut bytes = 0_u64;
    for (count, hot) in instances.iter().enumerate() {
        bytes = bytes.saturating_add(hot.record.payload_bytes);
        if bytes > container_bytes {
            return count.max(1);
        }
    }
    instances.len()
}

async fn pack_container(archive: &Arc<Inner>, index: &Index, month: Month, instances: Vec<Hot>) -> Result<u64, Error> {
    let series = series_parts(index, instances).await?;
    let writer = Arc::clone(archive);
    let written = joined(archive.tasks.spawn_blocking(move || write_container(&writer, series)).await)??;
    leave_out(archive, &written.lost);
    let Some((sealed, toc)) = written.sealed else { return Ok(0) };
    let container = describe::sealed(archive, &sealed, month, toc)?;
    let recorded = match used_pools::remember(archive).await {
        Ok(()) => index.seal(&container).await.map_err(Error::from),
        Err(error) => Err(error),
    };
    if recorded.is_err() {
        // Whether the index has it is not known: the next pack first looks at what the devices have.
        archive.recheck.store(true, Ordering::Relaxed);
    }
    recorded?;
    let count = settle(archive, index, &written.series).await?;
    tracing::info!(container = %sealed.id, pool = sealed.pool, instances = count, bytes = sealed.logical_bytes, "container sealed");
    archive.metrics.instances("sealed", count);
    Ok(count)
}

/// Sorts instances, which come series by series, into parts.
async fn series_parts(index: &Index, instances: Vec<Hot>) -> Result<Vec<SeriesPart>, Error> {
    let mut parts: Vec<SeriesPart> = Vec::new();
    for hot in instances {
        let (study, series) = (&hot.study_instance_uid, &hot.series_instance_uid);
        match parts.last_mut() {
            Some(part) if part.study == *study && part.series == *series => part.instances.push(hot),
            Some(_) | None => {
                let (study, series) = (study.clone(), series.clone());
                parts.push(SeriesPart { study, series, summary: Bytes::new(), instances: vec![hot] });
            }
        }
    }
    let named: Vec<(Uid, Uid)> = parts.iter().map(|part| (part.study.clone(), part.series.clone())).collect();
    for (part, summary) in parts.iter_mut().zip(index.series_summaries(&named).await?) {
        part.summary = summary;
    }
    Ok(parts)
}

/// Leaves instances that the journal lost where they are, so that they do not hold up all others, and says so.
fn leave_out(archive: &Inner, lost: &[Hot]) {
    let Some(first) = lost.first() else { return };
    tracing::error!(
        instances = lost.len(),
        sop_instance_uid = %first.sop_instance_uid,
        "instances that no journal copy has undamaged are not packed: mend a copy or delete them and have them sent again"
    );
    archive.unpackable().extend(lost.iter().map(|hot| hot.record.lsn));
}

/// Gives back what the journal held of sealed instances.
async fn settle(archive: &Arc<Inner>, index: &Index, series: &[SeriesPart]) -> Result<u64, Error> {
    let mut count = 0;
    for part in series {
        archive.sealed_series.changed(&part.series);
        for hot in &part.instances {
            archive.presence.forget_record(&part.study, &part.series, &hot.sop_instance_uid, &hot.record);
            count += 1;
            if hot.record.large
                && let Err(error) = archive.journal.release_large(&hot.record)
            {
                tracing::warn!(%error, "a large payload that is sealed stays behind until the next start");
            }
        }
    }
    let applied = *archive.applied.borrow();
    release(archive, index, applied).await?;
    Ok(count)
}

/// Recycles the journal segments before `applied` that hold no unsealed instance.
pub(super) async fn release(archive: &Arc<Inner>, index: &Index, applied: Option<Lsn>) -> Result<(), Error> {
    let Some(before) = applied else { return Ok(()) };
    let held = index.hot_segments(archive.journal.id(), archive.journal.segment_bytes()).await?;
    let releaser = Arc::clone(archive);
    let released =
        archive.tasks.spawn_blocking(move || releaser.journal.release(&|segment| held.contains(&segment), before));
    joined(released.await)??;
    Ok(())
}

impl Inner {
    /// Whether the journal is so full that studies are packed without waiting. The segment being written counts for
    /// nothing: no packing gives it back.
    fn under_pressure(&self) -> bool {
        let status = self.journal.status();
        let used = status.used_bytes.saturating_sub(self.journal.segment_bytes());
        let percent = u64::from(self.options.pack.pressure_percent);
        u128::from(used) * 100 >= u128::from(status.bytes_max) * u128::from(percent)
    }

    /// Returns the records that could not be packed, so that they are tried and reported only once.
    fn unpackable(&self) -> std::sync::MutexGuard<'_, BTreeSet<Lsn>> {
        self.unpackable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
