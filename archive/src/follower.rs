//! The follower: carries journal records into the index, in order, each batch with its last LSN in one transaction.
//!
//! It reads the records back from the journal, so replay after a crash and the normal way are the same code, and a
//! Postgres that is away costs no memory: the follower simply falls behind.

use std::sync::Arc;
use std::time::Duration;

use dicom_data::Limits;
use dicom_dictionary_std::tags;
use index::{Applied, Arrival, ArrivalHead, Index};
use journal::{Lsn, Record};
use tokio::time::timeout;

use crate::barrier::Barrier;
use crate::decisions::start::{Facts, begin};
use crate::jobs::{Adopter, JobControl, Progress, Scheduler};
use crate::link::IndexLink;
use crate::quarantine::Quarantine;
use crate::releaser::Releaser;
use crate::tasks::Tasks;
use crate::unsealed::Unsealed;
use crate::{Chain, Error, Metrics};

/// Instances in one transaction at most.
const BATCH_RECORDS_MAX: usize = 5_000;
/// About how much memory the attributes of one batch take at most: 5,000 of usual instances take half of it.
const BATCH_ATTRIBUTES_BYTES_MAX: usize = 32 << 20;
/// Journal bytes that one batch covers at most.
const BATCH_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// How long the follower waits for a fuller batch when no query waits and it is not behind. A query hurries it, so this only
/// weighs the price of a transaction against the length of the next one.
const BATCH_WAIT: Duration = Duration::from_millis(250);
/// Pause after a transaction failed.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Carries journal records into the index.
#[derive(Debug)]
pub(crate) struct Follower {
    unsealed: Arc<Unsealed>,
    barrier: Arc<Barrier>,
    link: Arc<IndexLink>,
    /// Brings the index up to the containers before the first record.
    adopter: Arc<Adopter>,
    /// Shows that adoption as a job.
    scheduler: Arc<Scheduler>,
    releaser: Arc<Releaser>,
    quarantine: Quarantine,
    metrics: Metrics,
    tasks: Tasks,
    /// Where the journal ended at the start: records before it may have rotted since they were written.
    replayed_up_to: Lsn,
}

impl Follower {
    pub(crate) fn new(
        (unsealed, barrier, link): (Arc<Unsealed>, Arc<Barrier>, Arc<IndexLink>),
        (adopter, scheduler): (Arc<Adopter>, Arc<Scheduler>),
        releaser: Arc<Releaser>,
        quarantine: Quarantine,
        (metrics, tasks): (Metrics, Tasks),
    ) -> Self {
        let replayed_up_to = unsealed.durable_end();
        Self { unsealed, barrier, link, adopter, scheduler, releaser, quarantine, metrics, tasks, replayed_up_to }
    }

    /// Follows the journal. Cancel safe: a batch that is not committed is applied again by the next start.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut at = self.start().await;
        self.barrier.advance(at);
        let mut behind = true;
        loop {
            if !behind {
                self.wait_for_batch(at).await;
            }
            (at, behind) = self.step(at).await;
            self.unsealed.forget_recent(at);
            self.barrier.advance(at);
        }
    }

    /// Brings the index up to the containers, again and again until it is; returns where in the journal to begin.
    async fn start(&self) -> Lsn {
        loop {
            let index = self.link.wait().await;
            match self.try_start(index).await {
                Ok(at) => return at,
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "the index is not up to the containers yet");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// Begins after the last record the index has, within what the journal still holds.
    async fn try_start(&self, index: Arc<Index>) -> Result<Lsn, Error> {
        let (adopter, adopted_into) = (Arc::clone(&self.adopter), Arc::clone(&index));
        let adopt = |control: JobControl| async move {
            adopter.adopt(&adopted_into, &|done, total| control.report(done, total)).await
        };
        self.scheduler.run(("adopt-at-start", "containers"), Progress::silent(), adopt).await?;
        let facts = Facts {
            applied: index.applied(self.unsealed.journal_id()).await?,
            first: self.unsealed.first(),
            durable_end: self.unsealed.durable_end(),
        };
        let at = begin(&facts);
        self.releaser.release_leftovers(&index, at).await?;
        Ok(at)
    }

    /// Waits for records, then a little for more of them unless a query waits for the index.
    async fn wait_for_batch(&self, at: Lsn) {
        let mut durable = self.unsealed.subscribe();
        if durable.wait_for(|end| *end > at).await.is_err() {
            std::future::pending::<()>().await; // the journal was closed: no record comes any more
        }
        let hurried = timeout(BATCH_WAIT, self.barrier.hurried()).await;
        tracing::trace!(hurried = hurried.is_ok(), "records gathered");
    }

    /// Applies one batch, again and again until it is in; returns where it ends, and whether more was there when it began.
    async fn step(self: &Arc<Self>, at: Lsn) -> (Lsn, bool) {
        loop {
            let durable = self.unsealed.durable_end();
            match self.apply_batch(at).await {
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

    async fn apply_batch(self: &Arc<Self>, at: Lsn) -> Result<Lsn, Error> {
        // Before the look: what comes during it is for the next batch.
        let durable = self.unsealed.durable_end();
        let reader = Arc::clone(self);
        let records = self.tasks.blocking(move || reader.read_batch(at)).await??;
        let Some(end) = records.last().map(|(record, _)| record.end) else {
            // Nothing but segment ends and released segments up to there.
            return Ok(durable.max(at));
        };
        let (records, arrivals): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        let index = self.link.get()?;
        let applied = self.apply(&index, &records, arrivals, end).await?;
        let releaser = Arc::clone(self);
        self.tasks.blocking(move || releaser.release(&records, &applied)).await?;
        Ok(end)
    }

    /// Applies a batch; if Postgres refuses it for good, applies its records one by one, so that one odd instance does not
    /// keep all later ones out of the index.
    async fn apply(
        self: &Arc<Self>,
        index: &Index,
        records: &[Record],
        arrivals: Vec<Arrival>,
        end: Lsn,
    ) -> Result<Vec<Applied>, Error> {
        match self.apply_together(index, records, &arrivals, end).await {
            Err(error @ Error::Index(_)) => {
                tracing::error!(error = %Chain(&error), "a batch is applied record by record");
            }
            result => return result,
        }
        let mut applied = Vec::with_capacity(arrivals.len());
        for (record, mut arrival) in records.iter().zip(arrivals) {
            let (one, its) = (std::slice::from_mut(&mut arrival), std::slice::from_ref(record));
            let outcome = match self.apply_together(index, its, one, record.end).await {
                Err(error @ Error::Index(_)) => {
                    tracing::error!(
                        sop_instance_uid = %record.head.sop_instance_uid,
                        error = %Chain(&error),
                        "an instance is indexed by its UIDs only"
                    );
                    one.iter_mut().for_each(Arrival::strip);
                    self.apply_together(index, its, one, record.end).await?
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
        self: &Arc<Self>,
        index: &Index,
        records: &[Record],
        arrivals: &[Arrival],
        end: Lsn,
    ) -> Result<Vec<Applied>, Error> {
        let prepared = index.prepare(self.unsealed.journal_id(), arrivals, end).await?;
        let outcomes = records.iter().zip(prepared.outcomes());
        let other: Vec<Record> =
            outcomes.filter(|(_, applied)| matches!(applied, Applied::Different(_))).map(|(r, _)| r.clone()).collect();
        if !other.is_empty() {
            let (unsealed, quarantine) = (Arc::clone(&self.unsealed), self.quarantine.clone());
            let kept = self
                .tasks
                .blocking(move || other.iter().try_for_each(|record| quarantine.put_aside(&unsealed, record)));
            kept.await??;
        }
        Ok(prepared.commit().await?)
    }

    fn read_batch(&self, at: Lsn) -> Result<Vec<(Record, Arrival)>, Error> {
        let records = self.unsealed.records_from(at, BATCH_RECORDS_MAX, BATCH_BYTES_MAX)?;
        let (mut batch, mut bytes) = (Vec::with_capacity(records.len()), 0);
        for record in records {
            let (arrival, its_bytes) = self.arrival(&record);
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
    fn arrival(&self, record: &Record) -> (Arrival, usize) {
        let all = dicom_data::transfer_syntax(record.head.transfer_syntax_uid.as_str())
            .and_then(|syntax| {
                let limits = Limits::default();
                if record.at.lsn < self.replayed_up_to {
                    return dicom_data::read_levels(&self.unsealed.source(&record.at), syntax, &limits).ok();
                }
                dicom_data::read_levels(&self.unsealed.header_source(&record.at), syntax, &limits).ok()
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

    /// Releases the records that the index does not serve from the journal. A crash before it leaves that to the next start.
    fn release(&self, records: &[Record], applied: &[Applied]) {
        for (record, applied) in records.iter().zip(applied) {
            match applied {
                Applied::New | Applied::Known => {}
                Applied::Same(_) | Applied::Deleted => self.unsealed.release_record(record),
                Applied::Different(_) => {
                    self.metrics.instances("conflict", 1);
                    self.unsealed.release_record(record);
                }
            }
        }
    }
}
