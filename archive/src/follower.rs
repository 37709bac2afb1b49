//! The follower: carries journal records into the index, in order, each batch with its last LSN in one transaction.
//!
//! It reads the records back from the journal, so replay after a crash and the normal way are the same code, and a
//! Postgres that is away costs no memory: the follower simply falls behind.

use std::sync::Arc;
use std::time::Duration;

use dicom_dictionary_std::tags;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::archive::Inner;
use crate::jobs::{self, Progress};
use crate::receive::joined;
use crate::source::{head_source, record_source};
use crate::{Chain, Error, quarantine};
use dicom_data::Limits;
use index::{Applied, Arrival, ArrivalHead, Index};
use journal::{Lsn, Record};

/// Instances in one transaction at most.
const BATCH_RECORDS_MAX: usize = 5_000;
/// About how much memory the attributes of one batch take at most: 5,000 of usual instances take half of it.
const BATCH_ATTRIBUTES_BYTES_MAX: usize = 32 << 20;
/// Journal bytes that one batch covers at most.
const BATCH_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// How long a batch gathers when nobody waits for it and it is not behind: every query hurries it, so this is only the price
/// of a transaction against the length of the next one.
const GATHER: Duration = Duration::from_millis(250);
/// Pause after a transaction failed.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Waits until everything acknowledged so far is in the index (read your writes).
pub(crate) async fn catch_up(archive: &Inner) -> Result<(), Error> {
    catch_up_to(archive, archive.journal.durable_end()).await
}

async fn catch_up_to(archive: &Inner, target: Lsn) -> Result<(), Error> {
    let mut applied = archive.applied.subscribe();
    let reached = |at: &Option<Lsn>| at.is_some_and(|at| at >= target);
    if reached(&applied.borrow()) {
        return Ok(());
    }
    archive.hurry.notify_one();
    match timeout(archive.options.barrier_wait_max, applied.wait_for(reached)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Error::IndexAway(None)),
    }
}

/// Waits like `catch_up`, for as long as the index comes nearer: for work that takes its time anyway. What is acknowledged
/// meanwhile is not waited for: senders that are faster than the index would keep it for ever.
pub(crate) async fn catch_up_patiently(archive: &Inner) -> Result<(), Error> {
    let target = archive.journal.durable_end();
    loop {
        let before = *archive.applied.borrow();
        match catch_up_to(archive, target).await {
            Err(Error::IndexAway(_)) if *archive.applied.borrow() > before => {
                tracing::info!("the index is far behind the journal and comes nearer");
            }
            caught_up => return caught_up,
        }
    }
}

/// Follows the journal until cancelled.
pub(crate) async fn run(archive: Arc<Inner>, cancel: CancellationToken) {
    let follow = async {
        let mut at = start(&archive).await;
        archive.applied.send_replace(Some(at));
        let mut behind = true;
        loop {
            if !behind {
                gather(&archive, at).await;
            }
            (at, behind) = step(&archive, at).await;
            archive.journal.forget_recent(at);
            archive.applied.send_replace(Some(at));
        }
    };
    cancel.run_until_cancelled(follow).await;
}

/// Brings the index up to the containers, again and again until it is; returns where in the journal to begin.
async fn start(archive: &Arc<Inner>) -> Lsn {
    loop {
        let index = archive.link.wait().await;
        match try_start(archive, &index).await {
            Ok(at) => return at,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the index is not up to the containers yet");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// Begins after the last record the index has, within what the journal still holds.
async fn try_start(archive: &Arc<Inner>, index: &Index) -> Result<Lsn, Error> {
    jobs::take_in(archive, index, &Progress::silent()).await?;
    let first = archive.journal.first();
    let applied = index.applied(archive.journal.id()).await?.unwrap_or(first);
    let at = applied.clamp(first, archive.journal.durable_end().max(first));
    jobs::give_back(archive, index, at).await?;
    Ok(at)
}

/// Waits for records, then a little for more of them unless somebody waits for the index.
async fn gather(archive: &Inner, at: Lsn) {
    let mut durable = archive.journal.subscribe();
    if durable.wait_for(|end| *end > at).await.is_err() {
        std::future::pending::<()>().await; // the journal was closed: nothing comes any more
    }
    let hurried = timeout(GATHER, archive.hurry.notified()).await;
    tracing::trace!(hurried = hurried.is_ok(), "records gathered");
}

/// Applies one batch, again and again until it is in; returns where it ends, and whether more was there when it began.
async fn step(archive: &Arc<Inner>, at: Lsn) -> (Lsn, bool) {
    loop {
        let durable = archive.journal.durable_end();
        match apply_batch(archive, at).await {
            Ok(end) => return (end, end < durable),
            Err(error) => {
                tracing::warn!(
                    error = %Chain(&error),
                    "records are not in the index yet, trying again"
                );
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

async fn apply_batch(archive: &Arc<Inner>, at: Lsn) -> Result<Lsn, Error> {
    // Before the look: what comes during it is for the next batch.
    let durable = archive.journal.durable_end();
    let reader = Arc::clone(archive);
    let read = archive.tasks.spawn_blocking(move || read_batch(&reader, at));
    let records = joined(read.await)??;
    let Some(end) = records.last().map(|(record, _)| record.end) else {
        // Nothing but segment ends and released segments up to there.
        return Ok(durable.max(at));
    };
    let (records, arrivals): (Vec<_>, Vec<_>) = records.into_iter().unzip();
    let index = archive.link.get()?;
    let applied = apply(archive, &index, &records, arrivals, end).await?;
    let settler = Arc::clone(archive);
    joined(archive.tasks.spawn_blocking(move || settle(&settler, &records, &applied)).await)?;
    Ok(end)
}

/// Applies a batch; if Postgres refuses it for good, applies its records one by one, so that one odd instance does not
/// keep all later ones out of the index.
async fn apply(
    archive: &Arc<Inner>,
    index: &Index,
    records: &[Record],
    arrivals: Vec<Arrival>,
    end: Lsn,
) -> Result<Vec<Applied>, Error> {
    match apply_together(archive, index, records, &arrivals, end).await {
        Err(error @ Error::Index(_)) => {
            tracing::error!(error = %Chain(&error), "a batch is applied record by record");
        }
        result => return result,
    }
    let mut applied = Vec::with_capacity(arrivals.len());
    for (record, mut arrival) in records.iter().zip(arrivals) {
        let (one, its) = (std::slice::from_mut(&mut arrival), std::slice::from_ref(record));
        let outcome = match apply_together(archive, index, its, one, record.end).await {
            Err(error @ Error::Index(_)) => {
                tracing::error!(
                    sop_instance_uid = %record.head.sop_instance_uid,
                    error = %Chain(&error),
                    "an instance is indexed by its UIDs only"
                );
                one.iter_mut().for_each(Arrival::strip);
                apply_together(archive, index, its, one, record.end).await?
            }
            result => result?,
        };
        applied.extend(outcome);
    }
    Ok(applied)
}

/// Applies records in one transaction. Other bytes under a stored UID are put aside before it commits: after it, the
/// record counts as applied, and a crash would forget them.
async fn apply_together(
    archive: &Arc<Inner>,
    index: &Index,
    records: &[Record],
    arrivals: &[Arrival],
    end: Lsn,
) -> Result<Vec<Applied>, Error> {
    let prepared = index.prepare(archive.journal.id(), arrivals, end).await?;
    let outcomes = records.iter().zip(prepared.outcomes());
    let other: Vec<Record> =
        outcomes.filter(|(_, applied)| matches!(applied, Applied::Different(_))).map(|(r, _)| r.clone()).collect();
    if !other.is_empty() {
        let keeper = Arc::clone(archive);
        let kept = archive
            .tasks
            .spawn_blocking(move || other.iter().try_for_each(|record| quarantine::put_aside(&keeper, record)));
        joined(kept.await)??;
    }
    Ok(prepared.commit().await?)
}

fn read_batch(archive: &Inner, at: Lsn) -> Result<Vec<(Record, Arrival)>, Error> {
    let records = archive.journal.read_from(at, BATCH_RECORDS_MAX, BATCH_BYTES_MAX)?;
    let (mut batch, mut bytes) = (Vec::with_capacity(records.len()), 0);
    for record in records {
        let (arrival, its_bytes) = arrival(archive, &record);
        batch.push((record, arrival));
        bytes += its_bytes;
        if bytes > BATCH_ATTRIBUTES_BYTES_MAX {
            break;
        }
    }
    Ok(batch)
}

/// Reads what the index keeps of one instance. Parts that cannot be read stay empty: the instance is acknowledged and
/// must be found by its UIDs at least. Also returns about how much memory it takes.
fn arrival(archive: &Inner, record: &Record) -> (Arrival, usize) {
    let all = dicom_data::transfer_syntax(record.head.transfer_syntax_uid.as_str())
        .and_then(|syntax| {
            let limits = Limits::default();
            if record.at.lsn < archive.replayed_up_to {
                return dicom_data::read_levels(&record_source(&archive.journal, &record.at), syntax, &limits).ok();
            }
            dicom_data::read_levels(&head_source(&archive.journal, &record.at), syntax, &limits).ok()
        })
        .unwrap_or_default();
    let levels = dicom_data::level_attributes(&all);
    let mut detail = Vec::new();
    dicom_data::write_json(&levels.instance, &|_| String::new(), &mut detail);
    let head = &record.head;
    let arrival = Arrival {
        record: record.at.clone(),
        head: ArrivalHead {
            study_instance_uid: head.study_instance_uid.clone(),
            series_instance_uid: head.series_instance_uid.clone(),
            sop_instance_uid: head.sop_instance_uid.clone(),
            sop_class_uid: head.sop_class_uid.clone(),
            transfer_syntax_uid: head.transfer_syntax_uid.clone(),
            calling_ae: head.calling_ae.clone(),
            received_millis: head.received_millis,
        },
        instance_number: all.integer(tags::INSTANCE_NUMBER).and_then(|number| i32::try_from(number).ok()),
        detail: detail.into(),
        patient: levels.patient,
        study: levels.study,
        series: levels.series,
    };
    (arrival, levels.bytes)
}

/// Gives back what the index does not serve from the journal. A crash before it leaves that to the next start.
fn settle(archive: &Inner, records: &[Record], applied: &[Applied]) {
    for (record, applied) in records.iter().zip(applied) {
        match applied {
            Applied::New | Applied::Known => {}
            Applied::Same(_) | Applied::Deleted => drop_record(archive, record),
            Applied::Different(_) => {
                archive.metrics.instances("conflict", 1);
                drop_record(archive, record);
            }
        }
    }
}

fn drop_record(archive: &Inner, record: &Record) {
    archive.presence.forget(record);
    if record.at.large
        && let Err(error) = archive.journal.release_large(&record.at)
    {
        tracing::warn!(%error, "a large payload that is not needed stays behind");
    }
}
