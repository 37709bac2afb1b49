//! What a start does before anything new: learns the deletions, learns what the journal holds, and takes in containers
//! that the index does not know. Rebuilding an index is the same, after emptying it.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tiering::{ContainerId, ContainerPlaces, ManifestInstance, Toc};

use super::{Progress, describe, pack};
use crate::archive::Inner;
use crate::receive::joined;
use crate::source::verify_record;
use crate::{Error, follower, tombstones};
use dicom_data::Uid;
use index::{Index, Tombstone};
use journal::{Lsn, Record};

/// Containers that are taken in at a time where nothing was deleted; the table of contents of each is in memory.
const CONTAINERS_AT_ONCE: usize = 3;
/// Records read from the journal at a time.
const RECORDS_AT_ONCE: usize = 10_000;

/// Learns the deletions and what the journal holds. Needs no index.
pub(crate) async fn recover(archive: &Arc<Inner>) -> Result<(), Error> {
    let reader = Arc::clone(archive);
    let recovered = archive.tasks.spawn_blocking(move || {
        for tombstone in deletions(&reader)? {
            reader.tombstones.enter(&tombstone);
        }
        for_each_record(&reader, |record| {
            let head = &record.head;
            let (study, series) = (&head.study_instance_uid, &head.series_instance_uid);
            reader.presence.enter(study, series, &head.sop_instance_uid, record.at.clone());
        })
    });
    joined(recovered.await)??;
    tracing::info!(unsealed = archive.presence.len(), "journal read");
    Ok(())
}

fn deletions(archive: &Inner) -> Result<Vec<Tombstone>, Error> {
    let records = archive.store.tombstones()?;
    let readable = records.iter().filter_map(|record| {
        let tombstone = tombstones::decode(record);
        if tombstone.is_none() {
            tracing::error!(bytes = record.len(), "a tombstone cannot be read: what it deleted may come back");
        }
        tombstone
    });
    Ok(readable.collect())
}

fn for_each_record(archive: &Inner, mut visit: impl FnMut(&Record)) -> Result<(), Error> {
    let (mut at, end) = (archive.journal.first(), archive.journal.durable_end());
    while at < end {
        let records = archive.journal.read_from(at, RECORDS_AT_ONCE, u64::MAX)?;
        let Some(last) = records.last() else { return Ok(()) };
        at = last.end;
        records.iter().for_each(&mut visit);
    }
    Ok(())
}

/// Brings an index up to the containers and deletions on the devices. The index of yesterday's backup, an emptied one
/// and one that missed the end of a seal are all the same case.
pub(crate) async fn take_in(archive: &Arc<Inner>, index: &Index, progress: &Progress) -> Result<u64, Error> {
    let reader = Arc::clone(archive);
    let deleted = joined(archive.tasks.spawn_blocking(move || deletions(&reader)).await)??;
    let known: HashSet<_> = index.tombstones().await?.into_iter().map(|t| (t.study, t.series, t.instance)).collect();
    // Filing what was deleted removes studies and patients, which another container's transaction may just be using.
    let at_once = if deleted.is_empty() && known.is_empty() { CONTAINERS_AT_ONCE } else { 1 };
    for tombstone in deleted {
        if !known.contains(&(tombstone.study.clone(), tombstone.series.clone(), tombstone.instance.clone())) {
            index.add_tombstone(&tombstone).await?;
        }
    }
    let known: HashSet<ContainerId> = index.containers().await?.into_iter().map(|container| container.id).collect();
    let unknown: Vec<_> = archive.store.containers().into_iter().filter(|c| !known.contains(&c.id)).collect();
    let total = u64::try_from(unknown.len()).unwrap_or(u64::MAX);
    // Those of one study, or of new patients, wait for each other in the database; the rest of the work need not.
    let taken = stream::iter(unknown).map(|places| take_in_one(archive, index, places));
    let mut taken = pin!(taken.buffer_unordered(at_once));
    let (mut done, mut instances) = (0, 0);
    progress.report(done, total);
    while let Some(more) = taken.try_next().await? {
        done += 1;
        instances += more;
        progress.report(done, total);
    }
    archive.sealed_series.all_changed();
    if total > 0 {
        index.analyze_if_grown().await?;
    }
    Ok(instances)
}

async fn take_in_one(archive: &Arc<Inner>, index: &Index, places: ContainerPlaces) -> Result<u64, Error> {
    let toc = match archive.store.toc(places.id).await {
        Ok(toc) => toc,
        Err(error) => {
            tracing::error!(container = %places.id, shards = places.places.len(), %error,
                "a container that the index does not know cannot be read, it is left alone");
            return Ok(0);
        }
    };
    if !is_sound(archive, &places, &toc).await? && all_elsewhere(archive, index, &toc).await? {
        // A crash while it was sealed: the journal still has every instance.
        tracing::warn!(container = %places.id, shards = places.places.len(), "a container that was not finished is removed");
        let (remover, id) = (Arc::clone(archive), places.id);
        joined(archive.tasks.spawn_blocking(move || remover.store.remove(id)).await)??;
        return Ok(0);
    }
    let container = describe::found(archive, &places, toc)?;
    index.restore(&container).await?;
    let instances = container.segments.iter().map(|segment| segment.manifest.instances.len()).sum::<usize>();
    tracing::info!(container = %places.id, instances, "container taken into the index");
    Ok(u64::try_from(instances).unwrap_or(u64::MAX))
}

/// Whether a container may take the place of what the journal has. If the journal has any of its instances, a crash may
/// have come before it was read back: that is done now. Others were sealed long ago.
async fn is_sound(archive: &Arc<Inner>, places: &ContainerPlaces, toc: &Toc) -> Result<bool, Error> {
    if places.places.len() < usize::from(places.code.shards()) {
        return Ok(false);
    }
    // Beside an empty journal, as a rebuilt index often is, there is nothing to compare.
    let in_journal = archive.presence.len() > 0
        && instances(toc).any(|(uids, _)| uids.is_some_and(|(t, s, i)| archive.presence.find(&t, &s, &i).is_some()));
    if !in_journal {
        return Ok(true);
    }
    let (reader, id) = (Arc::clone(archive), places.id);
    let verified = joined(archive.tasks.spawn_blocking(move || reader.store.verify(id)).await)??;
    Ok(verified.is_healthy())
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

/// Whether every instance of a container can be had without it: undamaged from the journal, or from another container.
async fn all_elsewhere(archive: &Arc<Inner>, index: &Index, toc: &Toc) -> Result<bool, Error> {
    for (uids, instance) in instances(toc) {
        let Some((study, series, sop)) = uids else { return Ok(false) };
        let elsewhere = match archive.presence.find(&study, &series, &sop) {
            Some(record) if (record.crc32c, record.payload_bytes) == (instance.crc32c, instance.bytes) => {
                let reader = Arc::clone(archive);
                let read = archive.tasks.spawn_blocking(move || verify_record(&reader.journal, &record).is_ok());
                joined(read.await)?
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

/// Brings the index up to the containers again, if a seal failed of which it may have heard or not, or devices came back.
pub(super) async fn recheck(archive: &Arc<Inner>, index: &Index) -> Result<(), Error> {
    let Some(applied) = *archive.applied.borrow() else { return Ok(()) };
    if !archive.recheck.swap(false, Ordering::Relaxed) {
        return Ok(());
    }
    let _no_packer = archive.packing.lock().await;
    let rechecked = match take_in(archive, index, &Progress::silent()).await {
        Ok(_) => give_back(archive, index, applied).await,
        Err(error) => Err(error),
    };
    if rechecked.is_err() {
        archive.recheck.store(true, Ordering::Relaxed);
    }
    rechecked
}

/// Gives back what the journal still holds of instances that were sealed before a crash.
pub(crate) async fn give_back(archive: &Arc<Inner>, index: &Index, applied: Lsn) -> Result<(), Error> {
    let unsealed: HashSet<u64> = index.hot_lsns(archive.journal.id()).await?.into_iter().collect();
    let reader = Arc::clone(archive);
    let forgotten = archive.tasks.spawn_blocking(move || {
        for_each_record(&reader, |record| {
            if record.at.lsn >= applied || unsealed.contains(&record.at.lsn.0) {
                return;
            }
            reader.presence.forget(record);
            if record.at.large
                && let Err(error) = reader.journal.release_large(&record.at)
            {
                tracing::debug!(%error, "a large payload was given back before");
            }
        })
    });
    joined(forgotten.await)??;
    pack::release(archive, index, Some(applied)).await
}

/// Empties the index and fills it again; returns the instances it then has.
pub(crate) async fn rebuild(archive: &Arc<Inner>, progress: &Progress) -> Result<u64, Error> {
    let index = archive.link.get()?;
    index.clear().await?;
    take_in(archive, &index, progress).await?;
    let cancel = archive.cancel.clone();
    archive.tasks.spawn(follower::run(Arc::clone(archive), cancel));
    follower::catch_up_patiently(archive).await?;
    index.analyze_if_grown().await?;
    Ok(index.counts().await?.instances)
}
