//! What the committer, the readers and the caller share: the copies, the table of segments and the account of bytes.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use disk::Buffers;
use tokio::sync::watch;
use uuid::Uuid;

use super::directory::{Disk, Fault, is_full};
use super::identity::Identity;
use super::prepare::Pace;
use super::recent::Recent;
use super::segment_file::SegmentFile;
use super::{Error, JournalOptions, Lsn, RecordRef};

/// Ranges of damage that are remembered for the status.
const DAMAGED_MAX: usize = 1000;

/// How one copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStatus {
    /// Its directory.
    pub path: PathBuf,
    /// Whether it is written.
    pub healthy: bool,
}

/// How the journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalStatus {
    /// The configured copies.
    pub copies: Vec<CopyStatus>,
    /// Copies without which nothing is acknowledged.
    pub copies_required: usize,
    /// Bytes of segments and large files on each copy.
    pub used_bytes: u64,
    /// Limit of the same.
    pub bytes_max: u64,
    /// Segments, with the one being written.
    pub segments: usize,
    /// Large files.
    pub large_files: usize,
    /// Places where a record could not be read on any copy, first 1,000.
    pub damaged: Vec<Lsn>,
}

/// One segment.
#[derive(Debug)]
pub(super) struct Segment {
    /// Offset behind its last durable record.
    pub(super) end: u64,
    /// Bytes of its file.
    pub(super) file_bytes: u64,
    /// Its file on each copy that has it.
    pub(super) files: Vec<Option<Arc<SegmentFile>>>,
    /// Large files of its records, with their bytes.
    pub(super) large: HashMap<Uuid, u64>,
}

/// The files of a new segment on each copy, and whether all of them were ready for use before.
pub(super) type CreatedSegment = (Vec<Option<Arc<SegmentFile>>>, bool);

/// Shared state of an open journal.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: JournalOptions,
    pub(super) disks: Vec<Disk>,
    identity: Mutex<Identity>,
    journal: Uuid,
    segments: RwLock<BTreeMap<u64, Segment>>,
    /// Bytes of large files, those being written included.
    large_bytes: AtomicU64,
    durable: watch::Sender<Lsn>,
    damaged: Mutex<Vec<Lsn>>,
    /// What was appended last.
    pub(super) recent: Recent,
    /// Where payloads are read into.
    pub(super) buffers: Arc<Buffers>,
}

impl Shared {
    /// `options.segment_bytes` must be the journal's own.
    pub(super) fn new(
        options: JournalOptions,
        disks: Vec<Disk>,
        identity: Identity,
        segments: BTreeMap<u64, Segment>,
        durable: Lsn,
    ) -> Self {
        let large_bytes = segments.values().flat_map(|segment| segment.large.values()).sum();
        Self {
            options,
            disks,
            journal: identity.journal,
            identity: Mutex::new(identity),
            segments: RwLock::new(segments),
            large_bytes: AtomicU64::new(large_bytes),
            durable: watch::Sender::new(durable),
            damaged: Mutex::default(),
            recent: Recent::default(),
            buffers: Arc::default(),
        }
    }

    pub(super) fn id(&self) -> Uuid {
        self.journal
    }

    pub(super) fn durable_end(&self) -> Lsn {
        *self.durable.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Lsn> {
        self.durable.subscribe()
    }

    /// Publishes the end of the last durable record; `segment` is where it lies.
    pub(super) fn set_durable(&self, segment: u64, end: u64) {
        if let Some(found) = self.write_segments().get_mut(&segment) {
            found.end = end;
        }
        self.durable.send_replace(Lsn(segment * self.options.segment_bytes + end));
    }

    pub(super) fn first(&self) -> Lsn {
        let first = self.read_segments().keys().next().copied().unwrap_or_default();
        Lsn(first * self.options.segment_bytes)
    }

    pub(super) fn segment_of(&self, at: Lsn) -> u64 {
        at.0 / self.options.segment_bytes
    }

    pub(super) fn read_segments(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write_segments(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Segment>> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of healthy copies, or the error if they are too few.
    pub(super) fn require_copies(&self) -> Result<usize, Error> {
        let healthy = self.disks.iter().filter(|disk| disk.is_healthy()).count();
        let required = self.options.copies_required;
        if healthy < required { Err(Error::Poisoned { healthy, required }) } else { Ok(healthy) }
    }

    /// Notes on the remaining copies that the set of copies has changed. Nothing may be acknowledged before.
    pub(super) fn note_change(&self) -> Result<usize, Error> {
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let before = self.require_copies()?;
            identity.change();
            for disk in self.disks.iter().filter(|disk| disk.is_healthy()) {
                if let Err(error) = disk.write_identity(&identity) {
                    disk.poison("write journal.json", &error);
                }
            }
            if self.require_copies()? == before {
                return Ok(before);
            }
        }
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let segments: u64 = self.read_segments().values().map(|segment| segment.file_bytes).sum();
        segments + self.large_bytes.load(Ordering::Acquire)
    }

    pub(super) fn full(&self) -> Error {
        Error::Full { bytes_max: self.options.bytes_max }
    }

    /// Reserves room for a large file's next bytes.
    pub(super) fn reserve_large(&self, bytes: u64) -> Result<(), Error> {
        self.large_bytes.fetch_add(bytes, Ordering::AcqRel);
        if self.used_bytes() > self.options.bytes_max {
            self.free_large(bytes);
            return Err(self.full());
        }
        Ok(())
    }

    /// Gives the room of a large file back.
    pub(super) fn free_large(&self, bytes: u64) {
        self.large_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Makes segment `number` on every healthy copy and tells whether all were made ready before; nothing is left of it if
    /// one finds no space.
    pub(super) fn create_segment(&self, number: u64, freed_bytes: u64) -> Result<CreatedSegment, Error> {
        let bytes = self.options.segment_bytes;
        if self.used_bytes().saturating_sub(freed_bytes) + bytes > self.options.bytes_max {
            return Err(self.full());
        }
        let mut files = Vec::new();
        let mut ready = true;
        for disk in &self.disks {
            let created = if disk.is_healthy() { disk.create_segment(number, bytes).map(Some) } else { Ok(None) };
            match created {
                Ok(Some((file, its_ready))) => {
                    files.push(Some(Arc::new(file)));
                    ready &= its_ready;
                }
                Ok(None) => files.push(None),
                // Nothing was written, so nothing is in doubt: the same can succeed later.
                Err(error) if is_full(&error) => {
                    self.undo_create(number, files.len());
                    return Err(self.full());
                }
                Err(error) => {
                    disk.poison("create journal segment", &error);
                    files.push(None);
                }
            }
        }
        self.require_copies()?;
        let segment = Segment { end: 0, file_bytes: bytes, files: files.clone(), large: HashMap::new() };
        self.write_segments().insert(number, segment);
        Ok((files, ready))
    }

    /// Makes segments ready, one on each healthy copy that has none, within the limit.
    pub(super) fn prepare_segments(&self, pace: &Pace) {
        let bytes = self.options.segment_bytes;
        if self.used_bytes() + bytes > self.options.bytes_max {
            return;
        }
        for disk in self.disks.iter().filter(|disk| disk.is_healthy()) {
            // Nothing of the journal's is in doubt: the segment is made without, when it is needed.
            if let Err(error) = disk.prepare(bytes, pace) {
                tracing::debug!(path = %disk.path().display(), %error, "no journal segment was made ready");
            }
        }
    }

    /// Tells whether every healthy copy has a segment that waits for use.
    pub(super) fn have_free(&self) -> bool {
        self.disks.iter().filter(|disk| disk.is_healthy()).all(Disk::has_free)
    }

    fn undo_create(&self, number: u64, copies: usize) {
        for disk in self.disks.iter().take(copies).filter(|disk| disk.is_healthy()) {
            if let Err(error) = disk.recycle(number, self.options.segment_bytes, true) {
                disk.poison("remove journal segment", &error);
            }
        }
    }

    /// Cuts a segment that will not be written any more to its used bytes.
    pub(super) fn truncate(&self, number: u64) {
        let Some((end, files)) = self.read_segments().get(&number).map(|found| (found.end, found.files.clone())) else {
            return;
        };
        for (disk, file) in self.disks.iter().zip(&files) {
            if let Some(file) = file.as_ref().filter(|_| disk.is_healthy())
                && let Err(error) = disk.truncate(file.file(), end)
            {
                disk.poison("truncate journal segment", &error);
            }
        }
        if let Some(segment) = self.write_segments().get_mut(&number) {
            segment.file_bytes = end;
        }
    }

    pub(super) fn release(&self, keep: &dyn Fn(u64) -> bool, before: Lsn) -> Result<u64, Error> {
        let segment_bytes = self.options.segment_bytes;
        let ends: Vec<(u64, u64)> =
            self.read_segments().iter().map(|(&number, segment)| (number, segment.end)).collect();
        let current = ends.last().map_or(0, |&(number, _)| number);
        let mut freed = 0;
        for (number, end) in ends {
            if number == current || number * segment_bytes + end > before.0 || keep(number) {
                continue;
            }
            // Out of the table first: who reads the file while it is written anew finds out by the table.
            let Some(segment) = self.write_segments().remove(&number) else {
                continue;
            };
            freed += segment.file_bytes;
            self.recycle(number)?;
            for (large, bytes) in segment.large {
                self.remove_large(large, bytes)?;
                freed += bytes;
            }
        }
        Ok(freed)
    }

    fn recycle(&self, number: u64) -> Result<(), Error> {
        let bytes = self.options.segment_bytes;
        let keep = self.used_bytes() + bytes <= self.options.bytes_max;
        for disk in self.disks.iter().filter(|disk| disk.is_healthy()) {
            disk.recycle(number, bytes, keep).map_err(Error::io("release segment of journal copy", disk.path()))?;
        }
        Ok(())
    }

    pub(super) fn release_large(&self, at: &RecordRef) -> Result<(), Error> {
        let Some(id) = self.large_id(at)? else {
            return Err(Error::Refused { reason: "the record has no large file to release" });
        };
        let removed =
            self.write_segments().get_mut(&self.segment_of(at.lsn)).and_then(|segment| segment.large.remove(&id));
        match removed {
            Some(bytes) => self.remove_large(id, bytes),
            None => Ok(()),
        }
    }

    fn remove_large(&self, id: Uuid, bytes: u64) -> Result<(), Error> {
        for disk in self.disks.iter().filter(|disk| disk.is_healthy()) {
            disk.remove_large(id).map_err(Error::io("release large file of journal copy", disk.path()))?;
        }
        self.free_large(bytes);
        Ok(())
    }

    /// Remembers and logs a place that no copy can read.
    pub(super) fn report_damage(&self, at: Lsn) {
        let mut damaged: MutexGuard<'_, Vec<Lsn>> = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if !damaged.contains(&at) && damaged.len() < DAMAGED_MAX {
            damaged.push(at);
            tracing::error!(lsn = at.0, "journal record damaged on every copy");
        }
    }

    pub(super) fn status(&self) -> JournalStatus {
        let used_bytes = self.used_bytes();
        let segments = self.read_segments();
        JournalStatus {
            copies: self
                .disks
                .iter()
                .map(|disk| CopyStatus { path: disk.path().to_owned(), healthy: disk.is_healthy() })
                .collect(),
            copies_required: self.options.copies_required,
            used_bytes,
            bytes_max: self.options.bytes_max,
            segments: segments.len(),
            large_files: segments.values().map(|segment| segment.large.len()).sum(),
            damaged: self.damaged.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    pub(super) fn inject(&self, copy: usize, fault: Fault) {
        if let Some(disk) = self.disks.get(copy) {
            disk.inject(fault);
        }
    }
}
