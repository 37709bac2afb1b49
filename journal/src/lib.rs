//! The journal: what makes an acknowledgement durable.
//!
//! Instances are appended to segments of fixed length; a *log sequence number* ([`Lsn`]) is segment
//! number x segment bytes + offset, so a number is never used twice.
//!
//! # Where to look
//! | part | its one job |
//! |---|---|
//! | `format.rs` | the bytes of a record; pure |
//! | `identity.rs` | which copies are current, behind, foreign; pure |
//! | `decide.rs` | what a start does with the records it finds; pure |
//! | `medium.rs` | what a copy lies on: `directory.rs`, or `memory.rs` for simulations |
//! | `journal_copy.rs`, `copies.rs` | whether one copy is used; the set of them |
//! | `segments.rs`, `space.rs`, `durable.rs`, `damage.rs`, `recent.rs` | table of segments, account of bytes, durable position, known damage, what was appended last |
//! | `commit.rs` | what is written when, and when a caller is told; without threads |
//! | `committer.rs`, `workers.rs`, `prepare.rs` | the threads that drive it |
//! | `provision.rs`, `release.rs`, `read.rs`, `large.rs` | create and cut segments; release them; read; large payloads |
//! | `opening.rs`, `recovery.rs` | what a start does |
//!
//! # What holds
//! - **Acknowledged is on every copy.** [`Journal::append`] returns after `fdatasync` on every
//!   healthy copy. When a copy is given up, the others note it in their `journal.json` before
//!   anything more is acknowledged.
//! - **A copy that failed once is not used again** before a restart: after a failed `fsync` its
//!   contents are unknown.
//! - **Segments are flushed in order.** Segment n is durable before n+1 exists, so only the newest
//!   one can be torn. Each head says what was durable when it was written: only payloads behind
//!   that need their CRC checked at a start.
//! - **A record may be kept although it was never acknowledged** (the caller was dropped, or the
//!   machine stopped between write and answer). The sender sends again, and the index finds the
//!   duplicate.
//! - **A start begins a new segment**, after it has cut off what could not be read behind the last
//!   record. So nothing that a torn write left can ever follow a new record.
//! - **A start makes durable what it reads.** It writes the last records of each copy's newest
//!   segment again: the server may have been killed before it flushed them, or a copy given up
//!   because it could not, and what can still be read may then never have reached the disk.
//!
//! # Copies that differ at a start
//! Those that saw the last change of the set of copies are *current*; between them the union of the
//! valid records counts: what was acknowledged is on each of them, and what is on one only may be
//! kept. A copy that is *behind* holds nothing acknowledged that the current ones lack. All copies
//! are then made equal, damaged heads included, before the journal opens. A configured directory
//! that is absent or empty beside used copies is left alone (its device is perhaps not mounted, and
//! writing below the mount point would look healthy): the journal opens without it if enough copies
//! remain, and says what to do.

mod batch;
mod commit;
mod committer;
mod copies;
mod damage;
mod decide;
mod direct_segment;
mod directory;
mod durable;
mod error;
mod fault;
mod format;
mod identity;
mod in_order;
mod journal_copy;
mod large;
mod medium;
#[cfg(test)]
mod medium_suite;
mod memory;
mod memory_file;
mod opening;
mod options;
mod payload;
mod place;
mod prepare;
mod provision;
mod queue;
mod random;
mod read;
mod recent;
mod record;
mod recovery;
mod release;
mod scan;
mod segments;
mod space;
mod status;
mod threads;
mod workers;
mod zeros;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use uuid::Uuid;

pub use copies::CopyStatus;
pub use error::Error;
#[doc(hidden)]
pub use fault::Fault;
pub use in_order::InOrder;
pub use large::{LargeFile, LargePayload, LargeWriter};
#[doc(hidden)]
pub use memory::MemoryCopy;
pub use options::JournalOptions;
pub use payload::Payload;
pub use place::CopyPlace;
pub use random::Ids;
pub use record::{Lsn, Record, RecordHead, RecordRef};
pub use status::JournalStatus;

use commit::{CommitParts, Current};
use committer::Committer;
use copies::Copies;
use damage::Damage;
use durable::DurableEnd;
use provision::Provision;
use read::Reader;
use recent::Recent;
use recovery::Recovered;
use release::Release;
use segments::Segments;
use space::Space;

/// A journal that is open. Cheap to clone. Dropping the last clone writes what is queued, and
/// blocks meanwhile: [`Journal::close`] first where that matters.
#[derive(Clone)]
pub struct Journal(Arc<Parts>);

/// The parts of an open journal.
struct Parts {
    // Declared first: the committer ends before the locks are released.
    committer: Committer,
    copies: Arc<Copies>,
    segments: Arc<Segments>,
    space: Arc<Space>,
    durable: Arc<DurableEnd>,
    recent: Arc<Recent>,
    damage: Arc<Damage>,
    reader: Reader,
    release: Release,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Parts {
    /// Recovers a journal and wires its parts; `start` creates the committer.
    fn new(
        options: JournalOptions,
        start: impl FnOnce(CommitParts, Current, &JournalOptions) -> Result<Committer, Error>,
    ) -> Result<Self, Error> {
        let Recovered { options, copies, segments, durable, damaged, current } = recovery::open(options)?;
        let large_bytes = segments.values().flat_map(|segment| segment.large.values()).sum();
        let segments = Arc::new(Segments::new(copies.journal(), options.segment_bytes, segments));
        let copies = Arc::new(copies);
        let space = Arc::new(Space::new(Arc::clone(&segments), large_bytes, options.bytes_max));
        let durable = Arc::new(DurableEnd::new(durable));
        let (recent, damage) = (Arc::new(Recent::default()), Arc::new(Damage::default()));
        for at in damaged {
            damage.report(at);
        }
        let provision = Provision::new(Arc::clone(&copies), Arc::clone(&segments), Arc::clone(&space));
        let current = if let Some(current) = current {
            current
        } else {
            let (files, ready) = provision.create(0, 0)?;
            Current::begun(0, 0, files, ready)
        };
        let parts = CommitParts {
            copies: Arc::clone(&copies),
            segments: Arc::clone(&segments),
            provision: Arc::new(provision),
            durable: Arc::clone(&durable),
            recent: Arc::clone(&recent),
        };
        Ok(Self {
            committer: start(parts, current, &options)?,
            reader: Reader::new(Arc::clone(&copies), Arc::clone(&segments), Arc::clone(&recent), Arc::clone(&damage)),
            release: Release::new(Arc::clone(&copies), Arc::clone(&segments), Arc::clone(&space)),
            copies,
            segments,
            space,
            durable,
            recent,
            damage,
        })
    }
}

impl Journal {
    /// Opens a journal, recovers it, and creates it if every place is absent or empty. Blocks:
    /// reads every head.
    pub fn open(options: JournalOptions) -> Result<Self, Error> {
        Parts::new(options, Committer::start).map(|parts| Self(Arc::new(parts)))
    }

    /// Opens a journal that has no threads: nothing is written before [`Journal::step`]. For
    /// simulations.
    #[doc(hidden)]
    pub fn open_stepped(options: JournalOptions) -> Result<Self, Error> {
        Parts::new(options, Committer::stepped).map(|parts| Self(Arc::new(parts)))
    }

    /// Carries out what is queued in a journal without threads, and returns how many appends and
    /// seals that were.
    #[doc(hidden)]
    pub fn step(&self) -> usize {
        self.0.committer.step()
    }

    /// Returns the id of the journal.
    pub fn id(&self) -> Uuid {
        self.0.copies.journal()
    }

    /// Appends one instance; returns when it is durable on every healthy copy. Waits while the
    /// queue is full.
    ///
    /// A dropped call has written nothing or the whole record; it may be found by
    /// [`Journal::read_from`] either way.
    pub async fn append(&self, head: RecordHead, payload: Payload) -> Result<RecordRef, Error> {
        self.0.committer.append(head, payload).await
    }

    /// Begins a payload that is too long for memory. Blocks: creates a file on every copy.
    pub fn begin_large(&self) -> Result<LargeWriter, Error> {
        LargeWriter::begin(&self.0.copies, &self.0.space)
    }

    /// Returns the end of the last durable record that was there at the start or was appended
    /// since; 0 if none.
    ///
    /// After everything was released and the journal opened anew, it may lie below a position that
    /// was reached before.
    pub fn durable_end(&self) -> Lsn {
        self.0.durable.get()
    }

    /// Returns a receiver that is told the end of the last durable record.
    pub fn subscribe(&self) -> watch::Receiver<Lsn> {
        self.0.durable.subscribe()
    }

    /// Returns the start of the first segment still there.
    pub fn first(&self) -> Lsn {
        self.0.segments.first()
    }

    /// Returns the bytes of a segment, which are fixed when the journal is created.
    pub fn segment_bytes(&self) -> u64 {
        self.0.segments.segment_bytes()
    }

    /// Returns the number of the segment a record lies in.
    pub fn segment_of(&self, at: Lsn) -> u64 {
        self.0.segments.segment_of(at)
    }

    /// Lists durable records in order from `from` on: at most `records_max`, and payloads of at
    /// most `bytes_max` together but at least one. Skips released segments and damage; empty at the
    /// end. Blocks.
    ///
    /// `from` is the end of a record, or a position below [`Journal::first`].
    pub fn read_from(&self, from: Lsn, records_max: usize, bytes_max: u64) -> Result<Vec<Record>, Error> {
        self.0.reader.read_from(from, records_max, bytes_max)
    }

    /// Reads a range of a record's payload from any copy that has it. Blocks.
    ///
    /// A whole payload is checked against its CRC; if that fails, the next copy is read. Part of a
    /// payload is not checked. The range is returned in memory: ask for no more than fits.
    pub fn read_payload(&self, at: &RecordRef, range: Range<u64>) -> Result<Bytes, Error> {
        self.0.reader.read_payload(at, range)
    }

    /// Reads whole payloads that will not be read again soon, in the order in which these records
    /// come.
    pub fn in_order(&self, records: impl Iterator<Item = RecordRef>) -> InOrder<'_> {
        InOrder::new(&self.0.reader, records)
    }

    /// Reads like [`Journal::read_payload`], but only from memory, so it never waits for a disk.
    ///
    /// `None`: use [`Journal::read_payload`] where blocking is allowed. Always `None` for large
    /// files.
    pub fn read_payload_now(&self, at: &RecordRef, range: Range<u64>) -> Option<Bytes> {
        self.0.reader.read_payload_now(at, range)
    }

    /// Returns a record's head if it is in memory; never waits for a disk.
    ///
    /// `None` also if the record is not there any more.
    pub fn read_head_now(&self, at: &RecordRef) -> Option<RecordHead> {
        self.0.reader.read_head_now(at)
    }

    /// Frees the memory that holds the beginnings of the records before a position: the follower
    /// has read them.
    pub fn forget_recent(&self, before: Lsn) {
        self.0.recent.forget(before);
    }

    /// Releases the segments that end at or below `before`, are not being written, and for which
    /// `keep` returns `false`, with the large files of their records; returns the bytes freed on
    /// each copy. Blocks.
    pub fn release(&self, keep: &dyn Fn(u64) -> bool, before: Lsn) -> Result<u64, Error> {
        self.0.release.segments(keep, before)
    }

    /// Unlinks the large file of a record, whose payload is then `Gone`. Blocks.
    pub fn release_large(&self, at: &RecordRef) -> Result<(), Error> {
        let Some(id) = self.0.reader.large_id(at)? else {
            return Err(Error::Refused { reason: "the record has no large file to release" });
        };
        self.0.release.large(self.0.segments.segment_of(at.lsn), id)
    }

    /// Begins a new segment so that the present one can be released. Blocks; does nothing if the
    /// present one is empty.
    pub fn seal_current(&self) -> Result<(), Error> {
        self.0.committer.seal_current()
    }

    /// Returns the state of the journal.
    pub fn status(&self) -> JournalStatus {
        let (segments, large_files) = self.0.segments.counts();
        JournalStatus {
            copies: self.0.copies.status(),
            copies_required: self.0.copies.required(),
            used_bytes: self.0.space.used_bytes(),
            bytes_max: self.0.space.bytes_max(),
            segments,
            large_files,
            damaged: self.0.damage.places(),
        }
    }

    /// Writes what is queued, stops, and releases the locks. From then on appends fail with
    /// `Closed`; reading goes on. A dropped call still stops the journal, but releases the locks
    /// only when the last clone is dropped.
    pub async fn close(&self) {
        self.0.committer.close().await;
        self.0.copies.unlock();
    }

    /// Makes a copy fail, for tests.
    #[doc(hidden)]
    pub fn inject(&self, copy: usize, fault: Fault) {
        if let Some(copy) = self.0.copies.get(copy) {
            copy.inject(fault);
        }
    }
}
