//! What is not sealed yet: the journal, the set of instances that it holds, and the deletions that keep instances out.
//!
//! Only this part gives journal space back, so one file shows when a record may go.

mod payload;
mod set;
mod tombstones;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dicom_data::{Identifiers, Uid};
use index::{InstanceRef, Location, Tombstone};
use journal::{InOrder, Journal, JournalStatus, LargeWriter, Lsn, Payload, Record, RecordHead, RecordRef};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::Error;
use crate::windowed::{Fetch, Windowed};

pub(crate) use set::{Reservation, Reserved};
pub(crate) use tombstones::{decode, encode};

/// Records read from the journal at a time.
const RECORDS_AT_ONCE: usize = 10_000;

/// The unsealed instances.
#[derive(Debug)]
pub(crate) struct Unsealed {
    journal: Journal,
    set: Arc<set::UnsealedSet>,
    tombstones: tombstones::Tombstones,
    /// The journal refused an instance: packing may give it room.
    refused: Notify,
}

impl Unsealed {
    /// Returns the unsealed instances of a journal, none of which is known before [`Unsealed::learn`].
    pub(crate) fn new(journal: Journal) -> Self {
        let set = Arc::new(set::UnsealedSet::new());
        Self { journal, set, tombstones: tombstones::Tombstones::default(), refused: Notify::new() }
    }

    /// Learns which instances the journal holds. Blocks.
    pub(crate) fn learn(&self) -> Result<(), Error> {
        self.for_each_record(|record| {
            let head = &record.head;
            let (study, series) = (&head.study_instance_uid, &head.series_instance_uid);
            self.set.enter(study, series, &head.sop_instance_uid, record.at.clone());
        })
    }

    /// Returns how many instances are unsealed.
    pub(crate) fn len(&self) -> usize {
        self.set.len()
    }

    /// Writes what is queued and closes the journal.
    pub(crate) async fn close(&self) {
        self.journal.close().await;
    }
}

/// Storing.
impl Unsealed {
    /// Reserves an instance; waits while another sender holds the reservation. Cancel safe.
    pub(crate) async fn reserve(&self, study: &Uid, series: &Uid, instance: &Uid) -> Reserved {
        self.set.reserve(study, series, instance).await
    }

    /// Appends one instance; returns when it is durable on every healthy journal copy.
    pub(crate) async fn append(
        &self,
        head: RecordHead,
        payload: Payload,
        reservation: Reservation,
    ) -> Result<(), Error> {
        let record = self.journal.append(head, payload).await.map_err(|error| self.refusal(&error))?;
        reservation.confirm(record);
        Ok(())
    }

    /// Begins a payload that is too long for memory. Blocks.
    pub(crate) fn begin_large(&self) -> Result<LargeWriter, journal::Error> {
        self.journal.begin_large()
    }

    /// Turns a refusal of the journal into an error that the sender may answer by trying again, and wakes the packer.
    pub(crate) fn refusal(&self, error: &journal::Error) -> Error {
        self.refused.notify_one();
        Error::from_journal_write(error)
    }

    /// Waits until the journal refuses an instance.
    pub(crate) async fn refused(&self) {
        self.refused.notified().await;
    }
}

/// Finding and reading.
impl Unsealed {
    /// Returns where the journal has an instance.
    pub(crate) fn find(&self, study: &Uid, series: &Uid, instance: &Uid) -> Option<RecordRef> {
        self.set.find(study, series, instance)
    }

    /// Returns what the head of a record says of its instance if it is in memory; never waits for a disk.
    pub(crate) fn described_now(&self, record: RecordRef) -> Option<InstanceRef> {
        let head = self.journal.read_head_now(&record)?;
        Some(InstanceRef {
            study_instance_uid: head.study_instance_uid,
            series_instance_uid: head.series_instance_uid,
            sop_instance_uid: head.sop_instance_uid,
            sop_class_uid: head.sop_class_uid,
            transfer_syntax_uid: head.transfer_syntax_uid,
            bytes: record.payload_bytes,
            location: Location::Journal(record),
        })
    }

    /// Reads a range of a payload. Blocks.
    pub(crate) fn read(&self, record: &RecordRef, range: Range<u64>) -> Result<Bytes, journal::Error> {
        self.journal.read_payload(record, range)
    }

    /// Reads a range of a payload if it is in memory; never waits for a disk.
    pub(crate) fn read_now(&self, record: &RecordRef, range: Range<u64>) -> Option<Bytes> {
        self.journal.read_payload_now(record, range)
    }

    /// Reads a whole payload and compares it with its CRC, in bounded memory. Blocks.
    pub(crate) fn verify(&self, record: &RecordRef) -> Result<(), journal::Error> {
        payload::verify(&self.journal, record)
    }

    /// Returns the data set of a record, checked as far as it is read whole.
    pub(crate) fn source(&self, record: &RecordRef) -> Windowed<Fetch> {
        payload::source(&self.journal, record)
    }

    /// Returns the data set of a record that this process wrote moments ago, for reading its header: in short pieces and
    /// without a check.
    pub(crate) fn header_source(&self, record: &RecordRef) -> Windowed<Fetch> {
        payload::header_source(&self.journal, record)
    }

    /// Reads whole payloads that will not be read again soon, in the order in which these records come.
    pub(crate) fn in_order(&self, records: impl Iterator<Item = RecordRef>) -> InOrder<'_> {
        self.journal.in_order(records)
    }
}

/// Following the journal.
impl Unsealed {
    /// Returns the id of the journal.
    pub(crate) fn journal_id(&self) -> Uuid {
        self.journal.id()
    }

    /// Returns the start of the first segment still there.
    pub(crate) fn first(&self) -> Lsn {
        self.journal.first()
    }

    /// Returns the end of the last durable record.
    pub(crate) fn durable_end(&self) -> Lsn {
        self.journal.durable_end()
    }

    /// Returns a receiver that is told the end of the last durable record.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Lsn> {
        self.journal.subscribe()
    }

    /// Lists durable records in order from a position on. Blocks.
    pub(crate) fn records_from(&self, at: Lsn, records_max: usize, bytes_max: u64) -> Result<Vec<Record>, Error> {
        Ok(self.journal.read_from(at, records_max, bytes_max)?)
    }

    /// Visits every durable record in order. Blocks.
    fn for_each_record(&self, mut visit: impl FnMut(&Record)) -> Result<(), Error> {
        let (mut at, end) = (self.first(), self.durable_end());
        while at < end {
            let records = self.records_from(at, RECORDS_AT_ONCE, u64::MAX)?;
            let Some(last) = records.last() else { return Ok(()) };
            at = last.end;
            records.iter().for_each(&mut visit);
        }
        Ok(())
    }

    /// Drops the beginnings of records before a position from memory: the follower has read them.
    pub(crate) fn forget_recent(&self, before: Lsn) {
        self.journal.forget_recent(before);
    }

    /// Tells how the journal is.
    pub(crate) fn status(&self) -> JournalStatus {
        self.journal.status()
    }

    /// Returns the length of the journal's segments in bytes.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.journal.segment_bytes()
    }
}

/// Deletions.
impl Unsealed {
    /// Remembers a deletion: the instances it covers are refused from now on.
    pub(crate) fn enter_tombstone(&self, tombstone: &Tombstone) {
        self.tombstones.enter(tombstone);
    }

    /// Refuses an instance that was deleted, alone or with its series or study.
    pub(crate) fn check_deleted(&self, identifiers: &Identifiers) -> Result<(), Error> {
        self.tombstones.check(identifiers)
    }

    /// Tells whether a study, series or instance of this UID was deleted.
    pub(crate) fn was_deleted(&self, uid: &Uid) -> bool {
        self.tombstones.has(uid)
    }
}

/// Giving journal space back.
impl Unsealed {
    /// Forgets an instance if this record is what is known of it.
    pub(crate) fn forget(&self, study: &Uid, series: &Uid, instance: &Uid, record: &RecordRef) {
        self.set.forget(study, series, instance, record);
    }

    /// Releases a record that the index does not serve from the journal. Blocks. After a crash before it, the next start
    /// does it.
    pub(crate) fn release_record(&self, record: &Record) {
        let head = &record.head;
        self.forget(&head.study_instance_uid, &head.series_instance_uid, &head.sop_instance_uid, &record.at);
        self.release_large(&record.at);
    }

    /// Unlinks the large file of a record, if it has one. Blocks.
    pub(crate) fn release_large(&self, record: &RecordRef) {
        if record.large
            && let Err(error) = self.journal.release_large(record)
        {
            tracing::warn!(%error, "a large payload that is not needed stays behind until the next start");
        }
    }

    /// Releases every record except those that `keep` names: what an earlier run sealed or dropped and did not release.
    /// Blocks.
    pub(crate) fn release_leftovers(&self, keep: &dyn Fn(Lsn) -> bool) -> Result<(), Error> {
        self.for_each_record(|record| {
            if keep(record.at.lsn) {
                return;
            }
            let head = &record.head;
            self.forget(&head.study_instance_uid, &head.series_instance_uid, &head.sop_instance_uid, &record.at);
            if record.at.large
                && let Err(error) = self.journal.release_large(&record.at)
            {
                tracing::debug!(%error, "a large payload was released before");
            }
        })
    }

    /// Recycles the segments before `applied` except those that `in_use` names. Blocks.
    pub(crate) fn release_segments(&self, applied: Lsn, in_use: &dyn Fn(u64) -> bool) -> Result<(), Error> {
        self.journal.release(in_use, applied)?;
        Ok(())
    }
}
