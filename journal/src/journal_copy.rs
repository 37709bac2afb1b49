//! One copy of the journal: whether it is used, and every operation on it. Each one that can fail
//! passes through this file, so that a planned fault meets it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::io::Errno;
use uuid::Uuid;

use crate::fault::{Extent, Fault, Faults, Step};
use crate::medium::{self, LargeFile, Medium, SegmentFile};
use crate::place::CopyPlace;

/// One copy.
#[derive(Debug)]
pub(crate) struct JournalCopy {
    path: PathBuf,
    healthy: AtomicBool,
    faults: Arc<Faults>,
    /// `None` if the copy was absent when the journal opened.
    medium: Option<Medium>,
}

impl JournalCopy {
    /// Takes the lock of a place. `WouldBlock`: another journal holds it.
    pub(crate) fn lock(place: &CopyPlace) -> io::Result<Self> {
        let medium = Medium::lock(place)?;
        Ok(Self { healthy: AtomicBool::new(true), medium: Some(medium), ..Self::absent(place) })
    }

    /// Returns a copy that is not there: unhealthy for good.
    pub(crate) fn absent(place: &CopyPlace) -> Self {
        Self {
            path: place.path().to_owned(),
            healthy: AtomicBool::new(false),
            faults: medium::faults(place),
            medium: None,
        }
    }

    /// Releases the lock; the journal writes nothing here any more.
    pub(crate) fn unlock(&self) {
        self.medium.iter().for_each(Medium::unlock);
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Gives the copy up until the next start: after a failed write or flush its contents are
    /// unknown (a retried fsync reports success without having written).
    pub(crate) fn poison(&self, doing: &'static str, error: &io::Error) {
        if self.healthy.swap(false, Ordering::AcqRel) {
            tracing::error!(path = %self.path.display(), doing, %error, "journal copy given up until restart");
        }
    }

    /// Runs an operation on a healthy copy; a failure gives the copy up.
    pub(crate) fn attempt<T>(&self, doing: &'static str, operation: impl FnOnce() -> io::Result<T>) -> Option<T> {
        if !self.is_healthy() {
            return None;
        }
        operation().map_err(|error| self.poison(doing, &error)).ok()
    }

    pub(crate) fn inject(&self, fault: Fault) {
        self.faults.set(fault);
    }

    fn medium(&self) -> io::Result<&Medium> {
        self.medium.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Writes buffers one after the other from `offset` on and makes them durable.
    pub(crate) fn commit(&self, file: &SegmentFile, offset: u64, buffers: &[Bytes]) -> io::Result<()> {
        let medium = self.medium()?;
        if self.faults.before(Step::Write)? == Extent::Half {
            medium.write(file, offset, buffers.get(..buffers.len().div_ceil(2)).unwrap_or_default())?;
            return Err(Errno::IO.into());
        }
        medium.write(file, offset, buffers)?;
        self.faults.before(Step::Flush)?;
        file.flush()
    }

    /// Creates segment `number`, from a released one if there is one, and tells whether it did.
    /// Durable on return; fails if it exists.
    pub(crate) fn create_segment(&self, number: u64, bytes: u64) -> io::Result<(SegmentFile, bool)> {
        self.faults.before(Step::CreateSegment)?;
        self.medium()?.create_segment(number, bytes)
    }

    /// Tells whether a released segment waits for use.
    pub(crate) fn has_free(&self) -> bool {
        self.medium.as_ref().is_some_and(Medium::has_free)
    }

    /// Creates a segment full of zeros that waits for use, unless there is one that does, at the
    /// pace of `wait`.
    pub(crate) fn prepare(&self, bytes: u64, wait: &dyn Fn(u64) -> bool) -> io::Result<()> {
        if self.has_free() {
            return Ok(());
        }
        self.faults.before(Step::CreateSegment)?;
        self.medium()?.prepare(bytes, wait)
    }

    /// Opens segment `number`.
    pub(crate) fn open_segment(&self, number: u64) -> io::Result<SegmentFile> {
        self.medium()?.open_segment(number)
    }

    /// Lists the numbers of the segments in order.
    pub(crate) fn segments(&self) -> io::Result<Vec<u64>> {
        self.medium()?.segments()
    }

    /// Cuts a segment that is not written any more to its used bytes.
    pub(crate) fn cut(&self, file: &SegmentFile, bytes: u64) -> io::Result<()> {
        self.faults.before(Step::ChangeNames)?;
        file.set_len(bytes)?;
        self.faults.before(Step::Flush)?;
        file.flush()
    }

    /// Releases segment `number`: keeps the file for use if it has `bytes` and `keep` allows, else
    /// removes it.
    pub(crate) fn recycle(&self, number: u64, bytes: u64, keep: bool) -> io::Result<()> {
        self.faults.before(Step::ChangeNames)?;
        self.medium()?.recycle(number, bytes, keep)
    }

    /// Drops free segments of another length and keeps the others.
    pub(crate) fn trim_free(&self, bytes: u64) -> io::Result<()> {
        self.medium()?.trim_free(bytes)
    }

    /// Creates an empty large file; its name is durable after [`JournalCopy::finish_large`].
    pub(crate) fn create_large(&self, id: Uuid) -> io::Result<LargeFile> {
        self.faults.before(Step::ChangeNames)?;
        self.medium()?.create_large(id)
    }

    /// Opens a large file for reading.
    pub(crate) fn open_large(&self, id: Uuid) -> io::Result<LargeFile> {
        self.medium()?.open_large(id)
    }

    /// Writes the next bytes of a large file.
    pub(crate) fn write_large(&self, file: &LargeFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.faults.before(Step::WriteLarge)?;
        file.write(bytes, offset)
    }

    /// Makes the bytes of a large file durable.
    pub(crate) fn flush_large(&self, file: &LargeFile) -> io::Result<()> {
        self.faults.before(Step::Flush)?;
        file.flush()
    }

    /// Makes a large file and its name durable.
    pub(crate) fn finish_large(&self, file: &LargeFile) -> io::Result<()> {
        self.flush_large(file)?;
        self.medium()?.sync_large_names()
    }

    /// Removes a large file; one that is gone already is not an error.
    pub(crate) fn remove_large(&self, id: Uuid) -> io::Result<()> {
        self.faults.before(Step::ChangeNames)?;
        self.medium()?.remove_large(id)
    }

    /// Lists the large files with their bytes.
    pub(crate) fn large_files(&self) -> io::Result<Vec<(Uuid, u64)>> {
        self.medium()?.large_files()
    }

    /// Writes `journal.json` in one step: after a crash the old one is there or the new one.
    pub(crate) fn write_note(&self, note: &[u8]) -> io::Result<()> {
        self.faults.before(Step::WriteNote)?;
        self.medium()?.write_note(note)
    }

    /// Removes the operator's wish that the copy be filled, if there is one.
    pub(crate) fn remove_adopt_mark(&self) -> io::Result<()> {
        self.medium()?.remove_adopt_mark()
    }
}

/// Tells whether an error says that the disk is full, which can pass.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
