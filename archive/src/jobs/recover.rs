//! What a start does before anything new: learns the deletions, learns what the journal holds, and takes in containers
//! that the index does not know. Rebuilding an index is the same, after emptying it.

use std::collections::HashSet;
use std::sync::Arc;

use tiering::{ContainerId, ContainerPlaces, Toc};

use super::{Progress, describe, pack};
use crate::archive::Inner;
use crate::index::{Index, Tombstone};
use crate::journal::{Lsn, Record};
use crate::receive::joined;
use crate::{Error, follower, tombstones};

/// Records read from the journal at a time.
const RECORDS_AT_ONCE: usize = 10_000;

/// Learns the deletions and what the journal holds. Needs no index.
pub(crate) async fn recover(archive: &Arc<Inner>) -> Result<(), Error> {
    let reader = Arc::clone(archive);
    let recovered = tokio::task::spawn_blocking(move || {
        for tombstone in deletions(&reader)? {
            reader.tombstones.enter(&tombstone);
        }
        for_each_record(&reader, |record| {
            let head = &record.head;
            reader.presence.enter(&head.series_instance_uid, &head.sop_instance_uid, record.at.clone());
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
    let deleted = joined(tokio::task::spawn_blocking(move || deletions(&reader)).await)??;
    for tombstone in &deleted {
        index.add_tombstone(tombstone).await?;
    }
    let known: HashSet<ContainerId> = index.containers().await?.into_iter().map(|container| container.id).collect();
    let unknown: Vec<_> = archive.store.containers().into_iter().filter(|c| !known.contains(&c.id)).collect();
    let total = u64::try_from(unknown.len()).unwrap_or(u64::MAX);
    let mut instances = 0;
    for (done, places) in (0..).zip(&unknown) {
        progress.report(done, total);
        instances += take_in_one(archive, index, places).await?;
    }
    progress.report(total, total);
    archive.sealed_series.all_changed();
    if total > 0 {
        index.analyze_if_grown().await?;
    }
    Ok(instances)
}

async fn take_in_one(archive: &Arc<Inner>, index: &Index, places: &ContainerPlaces) -> Result<u64, Error> {
    let toc = match archive.store.toc(places.id).await {
        Ok(toc) => toc,
        Err(error) => {
            tracing::error!(container = %places.id, shards = places.places.len(), %error,
                "a container that the index does not know cannot be read, it is left alone");
            return Ok(0);
        }
    };
    let whole = places.places.len() == usize::from(places.code.shards());
    if !whole && all_elsewhere(index, &toc).await? {
        // A crash while the shards were linked: the journal still has every instance.
        tracing::warn!(container = %places.id, shards = places.places.len(), "a container that was not finished is removed");
        let (remover, id) = (Arc::clone(archive), places.id);
        joined(tokio::task::spawn_blocking(move || remover.store.remove(id)).await)??;
        return Ok(0);
    }
    let container = describe::found(archive, places, &toc)?;
    index.restore(&container).await?;
    let instances = toc.segments.iter().map(|segment| segment.manifest.instances.len()).sum::<usize>();
    tracing::info!(container = %places.id, instances, "container taken into the index");
    Ok(u64::try_from(instances).unwrap_or(u64::MAX))
}

/// Whether the index knows every instance of a container without it.
async fn all_elsewhere(index: &Index, toc: &Toc) -> Result<bool, Error> {
    for segment in &toc.segments {
        let Ok(series) = segment.series_instance_uid.parse() else { return Ok(false) };
        for instance in &segment.manifest.instances {
            let Ok(sop) = instance.sop_instance_uid.parse() else { return Ok(false) };
            if index.find_instance(&series, &sop).await?.is_none() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Gives back what the journal still holds of instances that were sealed before a crash.
pub(crate) async fn give_back(archive: &Arc<Inner>, index: &Index, applied: Lsn) -> Result<(), Error> {
    let unsealed: HashSet<u64> = index.hot_lsns(archive.journal.id()).await?.into_iter().collect();
    let reader = Arc::clone(archive);
    let forgotten = tokio::task::spawn_blocking(move || {
        for_each_record(&reader, |record| {
            if record.at.lsn >= applied || unsealed.contains(&record.at.lsn.0) {
                return;
            }
            let head = &record.head;
            reader.presence.forget_record(&head.series_instance_uid, &head.sop_instance_uid, &record.at);
            if record.at.large
                && let Err(error) = reader.journal.release_large(&record.at)
            {
                tracing::debug!(%error, "a large payload was given back before");
            }
        })
    });
    joined(forgotten.await)??;
    pack::release(archive, index).await
}

/// Empties the index and fills it again; returns the instances it then has.
pub(crate) async fn rebuild(archive: &Arc<Inner>, progress: &Progress) -> Result<u64, Error> {
    let index = archive.link.get()?;
    index.clear().await?;
    take_in(archive, &index, progress).await?;
    let cancel = archive.cancel.clone();
    archive.tasks.spawn(follower::run(Arc::clone(archive), cancel));
    follower::catch_up(archive).await?;
    index.analyze_if_grown().await?;
    Ok(index.counts().await?.instances)
}
