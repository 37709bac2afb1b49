//! One copy of the journal: a directory, its files and its lock. Every file operation that can fail passes here.
//!
//! ```text
//! journal.json         which journal this is a copy of
//! lock                 flock'd while a server has the journal open
//! segments/<n>.seg     segment n, 16 hexadecimal digits
//! free/<n>.seg         a segment that was released, to be used again under another number
//! free/<uuid>.seg      a segment that was made ready before it is needed
//! large/<uuid>.dcm     a payload that has a file of its own
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use disk::{Aligned, CHUNK_BYTES};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use uuid::Uuid;

use super::identity::Identity;
use super::prepare::Pace;
use super::segment_file::SegmentFile;
use super::zeros;
use disk::DirLock;

/// Released segments kept ready for use, so that a new segment costs a rename.
const FREE_SEGMENTS_MAX: usize = 2;
/// What a segment's name ends in while it is being made ready: after a kill it may be of any length.
const UNFINISHED: &str = "unfinished";
/// How often a copy that hangs on demand looks whether it still has to.
const HANG_LOOK: Duration = Duration::from_millis(5);

/// What a copy does wrong on demand, for tests of the journal and of what stands on it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every write fails with EIO.
    Write,
    /// Every flush fails with EIO.
    Flush,
    /// A new segment and every write to a large file find no space.
    NoSpace,
    /// Half of each write is done, then EIO.
    TornWrite,
    /// Every write waits until the fault is another one.
    Hang,
}

const FAULTS: [Fault; 6] = [Fault::None, Fault::Write, Fault::Flush, Fault::NoSpace, Fault::TornWrite, Fault::Hang];

/// One copy's directory.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    lock: Option<DirLock>,
    healthy: AtomicBool,
    free: Mutex<Vec<PathBuf>>,
    /// Where a write is put together.
    room: Mutex<Option<Aligned>>,
    fault: AtomicU8,
}

impl Disk {
    /// Takes the lock of a directory and makes its subdirectories. `WouldBlock`: somebody else has it.
    pub(super) fn lock(path: &Path) -> io::Result<Self> {
        create_dirs(path)?;
        for sub in ["segments", "free", "large"] {
            // Data sets name patients: nobody else may read them.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path.join(sub))?;
        }
        let lock = DirLock::take(path)?;
        sync_dir(path)?;
        let disk = Self { lock: Some(lock), healthy: AtomicBool::new(true), ..Self::absent(path) };
        disk.find_free()?;
        Ok(disk)
    }

    /// Returns a copy that is not there: unhealthy for good.
    pub(super) fn absent(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            lock: None,
            healthy: AtomicBool::new(false),
            free: Mutex::default(),
            room: Mutex::default(),
            fault: AtomicU8::new(0),
        }
    }

    /// Lets another journal have the directory; nothing is written here any more.
    pub(super) fn unlock(&self) {
        if let Some(lock) = &self.lock {
            lock.give_back();
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Gives the copy up until the next start: after a failed write or flush nobody knows what is on it
    /// (a retried fsync reports success without having written).
    pub(super) fn poison(&self, doing: &'static str, error: &io::Error) {
        if self.healthy.swap(false, Ordering::AcqRel) {
            tracing::error!(path = %self.path.display(), doing, %error, "journal copy given up until restart");
        }
    }

    pub(super) fn inject(&self, fault: Fault) {
        let number = FAULTS.iter().position(|&known| known == fault).unwrap_or_default();
        self.fault.store(u8::try_from(number).unwrap_or_default(), Ordering::Release);
    }

    fn fault(&self) -> Fault {
        FAULTS.get(usize::from(self.fault.load(Ordering::Acquire))).copied().unwrap_or(Fault::None)
    }

    /// Writes buffers one after the other from `offset` on and makes them durable.
    pub(super) fn commit(&self, file: &SegmentFile, offset: u64, buffers: &[Bytes]) -> io::Result<()> {
        while self.fault() == Fault::Hang {
            std::thread::park_timeout(HANG_LOOK);
        }
        match self.fault() {
            Fault::Write => return Err(Errno::IO.into()),
            Fault::TornWrite => {
                self.write(file, offset, buffers.get(..buffers.len().div_ceil(2)).unwrap_or_default())?;
                return Err(Errno::IO.into());
            }
            Fault::None | Fault::Flush | Fault::NoSpace | Fault::Hang => {
                self.write(file, offset, buffers)?;
            }
        }
        self.flush(file.file())
    }

    fn write(&self, file: &SegmentFile, offset: u64, buffers: &[Bytes]) -> io::Result<()> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        file.write(offset, buffers, room.get_or_insert_with(|| Aligned::zeroed(CHUNK_BYTES)))
    }

    /// Makes a file's data durable.
    pub(super) fn flush(&self, file: &File) -> io::Result<()> {
        if self.fault() == Fault::Flush {
            return Err(Errno::IO.into());
        }
        file.sync_data()
    }

    /// Makes segment `number`, from a released one if there is one, which is told beside it. Durable when it returns;
    /// fails if it exists.
    pub(super) fn create_segment(&self, number: u64, bytes: u64) -> io::Result<(SegmentFile, bool)> {
        if self.fault() == Fault::NoSpace {
            return Err(Errno::NOSPC.into());
        }
        let path = self.segment_path(number);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let ready = free.is_some();
        if let Some(free) = free {
            if path.exists() {
                return Err(io::ErrorKind::AlreadyExists.into()); // a rename would replace it
            }
            fs::rename(&free, &path)?;
            sync_dir(&self.path.join("free"))?;
        } else {
            let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            if let Err(error) = allocate(&file, bytes) {
                let removed = fs::remove_file(&path);
                tracing::debug!(?removed, "journal segment not allocated");
                return Err(error);
            }
            file.sync_all()?;
        }
        sync_dir(&self.path.join("segments"))?;
        Ok((SegmentFile::open(&path)?, ready))
    }

    /// Tells whether a released segment waits for use.
    pub(super) fn has_free(&self) -> bool {
        !self.free.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Makes a segment full of zeros that waits for use, unless there is one that does.
    pub(super) fn prepare(&self, bytes: u64, pace: &Pace) -> io::Result<()> {
        if self.has_free() {
            return Ok(());
        }
        if self.fault() == Fault::NoSpace {
            return Err(Errno::NOSPC.into());
        }
        let path = self.path.join("free").join(format!("{}.seg", Uuid::new_v4()));
        let unfinished = path.with_extension(UNFINISHED);
        let filled = zeros::write_file(&unfinished, bytes, pace);
        if !matches!(filled, Ok(true)) {
            let removed = fs::remove_file(&unfinished);
            tracing::debug!(?removed, "journal segment not made ready");
            return filled.map(drop);
        }
        fs::rename(&unfinished, &path)?;
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(path);
        Ok(())
    }

    /// Opens segment `number`.
    pub(super) fn open_segment(&self, number: u64) -> io::Result<SegmentFile> {
        SegmentFile::open(&self.segment_path(number))
    }

    /// Lists the numbers of the segments.
    pub(super) fn segments(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.path.join("segments"))? {
            let name = entry?.file_name();
            match name.to_str().and_then(|name| name.strip_suffix(".seg")).map(|hex| u64::from_str_radix(hex, 16)) {
                Some(Ok(number)) => numbers.push(number),
                Some(Err(_)) | None => {
                    tracing::warn!(path = %self.path.display(), ?name, "unknown file among segments");
                }
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Cuts a segment that is not written any more to its used bytes.
    pub(super) fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)?;
        self.flush(file)
    }

    /// Releases segment `number`: keeps the file for use if it has `bytes` and `keep` allows, else unlinks it.
    pub(super) fn recycle(&self, number: u64, bytes: u64, keep: bool) -> io::Result<()> {
        let path = self.segment_path(number);
        let whole = match fs::metadata(&path) {
            Ok(found) => found.len() == bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if keep && whole && free.len() < FREE_SEGMENTS_MAX {
            let to = self.path.join("free").join(file_name(number));
            fs::rename(&path, &to)?;
            sync_dir(&self.path.join("free"))?;
            sync_dir(&self.path.join("segments"))?;
            free.push(to);
        } else {
            fs::remove_file(&path)?;
            sync_dir(&self.path.join("segments"))?;
        }
        Ok(())
    }

    /// Drops free segments of another length and keeps the others.
    pub(super) fn trim_free(&self, bytes: u64) -> io::Result<()> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Vec::new();
        for path in free.drain(..) {
            if kept.len() < FREE_SEGMENTS_MAX && fs::metadata(&path)?.len() == bytes {
                kept.push(path);
            } else {
                fs::remove_file(&path)?;
            }
        }
        *free = kept;
        Ok(())
    }

    fn find_free(&self) -> io::Result<()> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in fs::read_dir(self.path.join("free"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                fs::remove_file(&path)?;
            } else {
                free.push(path);
            }
        }
        Ok(())
    }

    /// Makes an empty large file; its name is durable after `sync_large`.
    pub(super) fn create_large(&self, id: Uuid) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(self.large_path(id))
    }

    /// Writes the next bytes of a large file.
    pub(super) fn write_large(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self.fault() {
            Fault::Write | Fault::TornWrite => Err(Errno::IO.into()),
            Fault::NoSpace => Err(Errno::NOSPC.into()),
            Fault::None | Fault::Flush | Fault::Hang => file.write_all_at(bytes, offset),
        }
    }

    /// Makes a large file and its name durable.
    pub(super) fn sync_large(&self, file: &File) -> io::Result<()> {
        self.flush(file)?;
        sync_dir(&self.path.join("large"))
    }

    /// Unlinks a large file; one that is gone already is no error.
    pub(super) fn remove_large(&self, id: Uuid) -> io::Result<()> {
        match fs::remove_file(self.large_path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Lists the large files with their bytes.
    pub(super) fn large_files(&self) -> io::Result<Vec<(Uuid, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.path.join("large"))? {
            let entry = entry?;
            let name = entry.file_name();
            match name.to_str().and_then(|name| name.strip_suffix(".dcm")).map(Uuid::parse_str) {
                Some(Ok(id)) => files.push((id, entry.metadata()?.len())),
                Some(Err(_)) | None => {
                    tracing::warn!(path = %self.path.display(), ?name, "unknown file among large files");
                }
            }
        }
        Ok(files)
    }

    pub(super) fn large_path(&self, id: Uuid) -> PathBuf {
        self.path.join("large").join(format!("{id}.dcm"))
    }

    fn segment_path(&self, number: u64) -> PathBuf {
        self.path.join("segments").join(file_name(number))
    }

    /// Writes `journal.json` in one step: the old one or the new one is there after a crash.
    pub(super) fn write_identity(&self, identity: &Identity) -> io::Result<()> {
        let fault = self.fault();
        if fault == Fault::Write || fault == Fault::Flush || fault == Fault::TornWrite {
            return Err(Errno::IO.into());
        }
        let tmp = self.path.join("journal.json.tmp");
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&tmp)?;
        file.write_all_at(&serde_json::to_vec_pretty(identity)?, 0)?;
        file.sync_all()?;
        fs::rename(&tmp, self.path.join("journal.json"))?;
        sync_dir(&self.path)
    }
}

/// Tells whether an error says that there is no room, which can come back.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn file_name(number: u64) -> String {
    format!("{number:016x}.seg")
}

/// Makes a directory and those above it; all their names are durable when it returns.
fn create_dirs(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists());
    let missing: Vec<&Path> = missing.collect();
    fs::create_dir_all(path)?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
    }
    Ok(())
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Reserves the space of a file.
pub(super) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        // Some file systems cannot; the segment then grows as it is written, and a full disk shows later.
        Err(Errno::OPNOTSUPP) => file.set_len(bytes),
        Err(error) => Err(error.into()),
    }
}
