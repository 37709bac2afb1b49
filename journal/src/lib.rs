//! The journal: what makes an acknowledgement durable.
//!
//! Instances are appended to segments of fixed length; a *log sequence number* ([`Lsn`]) is segment number x segment bytes +
//! offset, so a number is never used twice. The bytes of a record are in `record.rs`, the files of a copy in `disk.rs`.
//!
//! # What holds
//! - **Acknowledged is on every copy.** [`Journal::append`] returns after `fdatasync` on every healthy copy. When
//!   a copy is given up, the others note it in their `journal.json` before anything more is acknowledged.
//! - **A copy that failed once is not asked again** before a restart: after a failed `fsync` nobody knows what is on it.
//! - **Segments are flushed in order.** Segment n is durable before n+1 exists, so only the newest one can be torn. Each head
//!   says what was durable when it was written: only payloads behind that need their CRC checked at a start.
//! - **A record may be kept although it was never acknowledged** (the caller was dropped, or the machine stopped between
//!   write and answer). The sender sends again, and the index finds the duplicate.
//! - **After a start a new segment is begun**; what could not be read behind the last record is cut off first. So
//!   nothing that a torn write left can ever follow a new record.
//!
//! # Copies that differ at a start
//! Those that saw the last change of the set of copies are *current*; between them the union of the valid records
//! counts: what was acknowledged is on each of them, and what is on one only may be kept. A copy that is *behind*
//! holds nothing acknowledged that the current ones lack. All copies are then made equal, damaged heads included, before
//! the journal opens. A configured directory that is absent or empty beside used copies is left alone (its device is perhaps not
//! mounted, and writing below the mount point would look healthy): the journal opens without it if enough
//! copies remain, and says what to do.

mod committer;
mod copies;
mod directory;
mod identity;
mod in_order;
mod large;
mod prepare;
mod read;
mod recent;
mod record;
mod recovery;
mod scan;
mod segment_file;
mod segments;
mod worker;
mod zeros;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use uuid::Uuid;

use dicom_data::Uid;

#[doc(hidden)]
pub use directory::Fault;
pub use in_order::InOrder;
pub use large::{LargePayload, LargeWriter};
pub use segments::{CopyStatus, JournalStatus};

use committer::Committer;
use directory::Disk;
use segments::Shared;

/// Log sequence number: a byte position in the journal, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// Where one instance lies in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRef {
    /// Position of the record.
    pub lsn: Lsn,
    /// Bytes of the record before its payload.
    pub head_bytes: u32,
    /// Bytes of the data set.
    pub payload_bytes: u64,
    /// CRC-32C of the data set.
    pub crc32c: u32,
    /// Whether the payload lies in a file of its own beside the segments.
    pub large: bool,
}

/// What the journal keeps about an instance beside its data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHead {
    /// Study Instance UID.
    pub study_instance_uid: Uid,
    /// Series Instance UID.
    pub series_instance_uid: Uid,
    /// SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// SOP Class UID.
    pub sop_class_uid: Uid,
    /// Encoding of the data set.
    pub transfer_syntax_uid: Uid,
    /// Calling AE title, at most 64 bytes; empty for DICOMweb and import.
    pub calling_ae: String,
    /// Called AE title, at most 64 bytes; empty for DICOMweb and import.
    pub called_ae: String,
    /// Time of arrival in milliseconds since 1970.
    pub received_millis: i64,
}

/// The data set to append.
#[derive(Debug)]
pub enum Payload {
    /// In memory, in pieces; at most [`JournalOptions::inline_bytes_max`] together.
    Inline(Vec<Bytes>),
    /// Already on the disks.
    Large(LargePayload),
}

/// A record as [`Journal::read_from`] lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How its payload is read.
    pub at: RecordRef,
    /// What is known about the instance.
    pub head: RecordHead,
    /// Where to read on.
    pub end: Lsn,
}

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// Directory of each copy, one per failure domain.
    pub copies: Vec<PathBuf>,
    /// Copies without which nothing is acknowledged.
    pub copies_required: usize,
    /// Bytes of a segment: a multiple of 4096. Counts for a new journal; one that exists keeps its own.
    pub segment_bytes: u64,
    /// Limit of segments and large files together on each copy; at least two segments.
    pub bytes_max: u64,
    /// Limit of what waits in memory to be written.
    pub queue_bytes_max: u64,
    /// Longest payload in memory; a longer one is a large file.
    pub inline_bytes_max: u64,
    /// A copy that does not answer for so long, beside others, is given up.
    pub copy_wait_max: Duration,
}

impl JournalOptions {
    /// Returns the defaults for these copies, all of them required.
    pub fn new(copies: Vec<PathBuf>) -> Self {
        Self {
            copies_required: copies.len(),
            copies,
            segment_bytes: 256 << 20,
            bytes_max: 16 << 30,
            queue_bytes_max: 64 << 20,
            inline_bytes_max: 1 << 20,
            copy_wait_max: Duration::from_secs(30),
        }
    }
}

/// An error of the journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The record is not there any more: its segment was recycled.
    #[error("read journal record: its segment was recycled")]
    Gone,
    /// No copy has the record's bytes as they were written.
    #[error("read journal record {}: no copy has it undamaged; restore the copy or have the instance sent again", .0.0)]
    Damaged(Lsn),
    /// The journal has reached its limit or the disk is full; room comes back as studies are packed.
    #[error("append to journal: it is full; it gives room back as studies are packed (limit {bytes_max} bytes)")]
    Full {
        /// The configured limit.
        bytes_max: u64,
    },
    /// Too few copies work; only a restart helps, with the failed devices replaced.
    #[error("use journal: {healthy} of {required} required copies work; replace the device and restart")]
    Poisoned {
        /// Copies that still work.
        healthy: usize,
        /// Copies that must.
        required: usize,
    },
    /// The journal was closed.
    #[error("append to journal: it is closed")]
    Closed,
    /// What was asked cannot be done with this record, ever.
    #[error("use journal: {reason}")]
    Refused {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The options contradict themselves.
    #[error("open journal: {reason}")]
    Options {
        /// What is wrong and what to set.
        reason: &'static str,
    },
    /// Another server uses the directory.
    #[error("open journal copy {}: another server has it open; stop that one or configure another directory", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The directories belong to two journals.
    #[error("open journal copy {}: it belongs to another journal than {}; configure copies of one journal", path.display(), other.display())]
    Foreign {
        /// One directory.
        path: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// Each directory holds what the other has not.
    #[error(
        "open journal copy {}: it and {} were each used without the other; configure one of them alone, and import the other one's instances from its segments",
        path.display(), other.display()
    )]
    Forked {
        /// One directory.
        path: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// A directory cannot be used as a copy.
    #[error("open journal copy {}: {reason}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A file operation failed.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file or copy.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

/// A journal that is open. Cheap to clone. Dropping the last clone writes what is queued, and blocks meanwhile:
/// [`Journal::close`] first where that matters.
#[derive(Clone)]
pub struct Journal {
    // Declared first: the committer ends before the locks are given back.
    committer: Arc<Committer>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("id", &self.shared.id()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens a journal, recovers it, and makes it if every directory is absent or empty. Blocks: reads every head.
    pub fn open(options: JournalOptions) -> Result<Self, Error> {
        let (shared, current) = recovery::open(options)?;
        let shared = Arc::new(shared);
        let committer = Arc::new(Committer::start(Arc::clone(&shared), current)?);
        Ok(Self { committer, shared })
    }

    /// Returns the id of the journal.
    pub fn id(&self) -> Uuid {
        self.shared.id()
    }

    /// Appends one instance; returns when it is durable on every healthy copy. Waits while the queue is full.
    ///
    /// A dropped call has written nothing or the whole record; it may be found by [`Journal::read_from`] either way.
    pub async fn append(&self, head: RecordHead, payload: Payload) -> Result<RecordRef, Error> {
        self.committer.append(head, payload).await
    }

    /// Begins a payload that is too long for memory. Blocks: makes a file on every copy.
    pub fn begin_large(&self) -> Result<LargeWriter, Error> {
        LargeWriter::begin(&self.shared)
    }

    /// Returns the end of the last durable record that was there at the start or was appended since; 0 if none.
    ///
    /// So it may lie below a position that was reached before everything was released and the journal opened anew.
    pub fn durable_end(&self) -> Lsn {
        self.shared.durable_end()
    }

    /// Returns a receiver that is told the end of the last durable record.
    pub fn subscribe(&self) -> watch::Receiver<Lsn> {
        self.shared.subscribe()
    }

    /// Returns the start of the first segment still there.
    pub fn first(&self) -> Lsn {
        self.shared.first()
    }

    /// Returns the length of this journal's segments, which is fixed when it is made.
    pub fn segment_bytes(&self) -> u64 {
        self.shared.options.segment_bytes
    }

    /// Returns the number of the segment a record lies in.
    pub fn segment_of(&self, at: Lsn) -> u64 {
        self.shared.segment_of(at)
    }

    /// Lists durable records in order from `from` on: at most `records_max`, and payloads of at most `bytes_max` together but at
    /// least one. Skips released segments and damage; empty at the end. Blocks.
    ///
    /// `from` is the end of a record, or a position below [`Journal::first`].
    pub fn read_from(&self, from: Lsn, records_max: usize, bytes_max: u64) -> Result<Vec<Record>, Error> {
        self.shared.read_from(from, records_max, bytes_max)
    }

    /// Reads a range of a record's payload from any copy that has it. Blocks.
    ///
    /// The whole payload is checked against its CRC, and the next copy is asked if it fails; part of one is not checked.
    /// The range is held in memory: ask for as much as may be.
    pub fn read_payload(&self, at: &RecordRef, range: Range<u64>) -> Result<Bytes, Error> {
        self.shared.read_payload(at, range)
    }

    /// Reads whole payloads that will not be read again soon, in the order in which these records come.
    pub fn in_order(&self, records: impl Iterator<Item = RecordRef>) -> InOrder<'_> {
        InOrder::new(&self.shared, records)
    }

    /// Reads like [`Journal::read_payload`], but only what is in memory, so without waiting for a disk.
    ///
    /// Nothing: use [`Journal::read_payload`] where blocking is allowed; so always for large files.
    pub fn read_payload_now(&self, at: &RecordRef, range: Range<u64>) -> Option<Bytes> {
        self.shared.read_payload_now(at, range)
    }

    /// Returns what was said about a record's instance if it is in memory; never waits for a disk.
    ///
    /// Nothing also when the record is not there any more.
    pub fn read_head_now(&self, at: &RecordRef) -> Option<RecordHead> {
        self.shared.read_head_now(at)
    }

    /// Gives back the memory that holds the beginnings of the records before a position: whoever follows the journal has
    /// read them.
    pub fn forget_recent(&self, before: Lsn) {
        self.shared.recent.forget(before);
    }

    /// Releases the segments that end at or below `before`, are not being written, and that `keep` gives up, with the
    /// large files of their records; returns the bytes freed on each copy. Blocks.
    pub fn release(&self, keep: &dyn Fn(u64) -> bool, before: Lsn) -> Result<u64, Error> {
        self.shared.release(keep, before)
    }

    /// Unlinks the large file of a record, whose payload is then `Gone`. Blocks.
    pub fn release_large(&self, at: &RecordRef) -> Result<(), Error> {
        self.shared.release_large(at)
    }

    /// Begins a new segment so that the present one can be released. Blocks; does nothing if the present one is empty.
    pub fn seal_current(&self) -> Result<(), Error> {
        self.committer.seal_current()
    }

    /// Tells how the journal is.
    pub fn status(&self) -> JournalStatus {
        self.shared.status()
    }

    /// Writes what is queued, stops, and gives the locks back. Appends fail with `Closed` from now on; reading goes on. A dropped call is
    /// still carried out.
    pub async fn close(&self) {
        self.committer.close().await;
        self.shared.disks.iter().for_each(Disk::unlock);
    }

    /// Makes a copy fail, for tests.
    #[doc(hidden)]
    pub fn inject(&self, copy: usize, fault: Fault) {
        self.shared.inject(copy, fault);
    }
}
