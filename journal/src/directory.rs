//! A copy of the journal in a directory.
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
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use disk::files::{create_directories, replace, sync_directory};
use disk::{Aligned, CHUNK_BYTES, DirLock};
use uuid::Uuid;

use crate::direct_segment::DirectSegment;
use crate::identity::{ADOPT_FILE, Contents};
use crate::zeros::{self, allocate};

/// Released segments kept ready for use, so that a new segment costs a rename.
pub(crate) const FREE_SEGMENTS_MAX: usize = 2;
/// Ending of a segment's name while it is being made ready: after a kill it may have any length.
const UNFINISHED: &str = "unfinished";

/// The directory of one copy, locked.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    lock: DirLock,
    free: Mutex<Vec<PathBuf>>,
    /// Memory in which a write is put together.
    assembly: Mutex<Option<Aligned>>,
}

/// Looks at a directory without changing it.
pub(crate) fn look(path: &Path) -> Contents {
    match fs::read(path.join("journal.json")) {
        Ok(note) => Contents::Note(note),
        Err(error) if error.kind() == io::ErrorKind::NotFound => look_without_note(path),
        Err(error) => Contents::Unusable(format!("journal.json cannot be read: {error}")),
    }
}

fn look_without_note(path: &Path) -> Contents {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Contents::Empty { adopt: false };
        }
        Err(error) => return Contents::Unusable(format!("it cannot be listed: {error}")),
    };
    let mut adopt = false;
    for entry in entries {
        match entry {
            Ok(entry) if entry.file_name() == ADOPT_FILE => adopt = true,
            Ok(entry) if entry.file_name() == "segments" && has_entries(&entry.path()) => {
                return Contents::Unusable("it has segments but no journal.json".to_owned());
            }
            Ok(_) => {} // our empty subdirectories, or lost+found of a file system
            Err(error) => return Contents::Unusable(format!("it cannot be listed: {error}")),
        }
    }
    Contents::Empty { adopt }
}

fn has_entries(path: &Path) -> bool {
    fs::read_dir(path).map_or(true, |mut entries| entries.next().is_some())
}

impl Directory {
    /// Takes the lock of a directory and creates its subdirectories. `WouldBlock`: another server
    /// has it.
    pub(crate) fn lock(path: &Path) -> io::Result<Self> {
        create_directories(path)?;
        for sub in ["segments", "free", "large"] {
            // Data sets name patients: no other user may read them.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path.join(sub))?;
        }
        let lock = DirLock::take(path)?;
        sync_directory(path)?;
        let directory = Self { path: path.to_owned(), lock, free: Mutex::default(), assembly: Mutex::default() };
        directory.find_free()?;
        Ok(directory)
    }

    /// Releases the lock; the journal writes nothing here any more.
    pub(crate) fn unlock(&self) {
        self.lock.release();
    }

    /// Writes `journal.json` in one step: after a crash the old one is there or the new one.
    pub(crate) fn write_note(&self, note: &[u8]) -> io::Result<()> {
        replace(&self.path.join("journal.json"), |file| file.write_all(note))
    }

    /// Removes the operator's wish that the directory be filled, if there is one.
    pub(crate) fn remove_adopt_mark(&self) -> io::Result<()> {
        remove(&self.path.join(ADOPT_FILE))
    }

    /// Writes buffers one after the other from `offset` on.
    pub(crate) fn write(&self, file: &DirectSegment, offset: u64, buffers: &[Bytes]) -> io::Result<()> {
        let mut assembly = self.assembly.lock().unwrap_or_else(PoisonError::into_inner);
        file.write(offset, buffers, assembly.get_or_insert_with(|| Aligned::zeroed(CHUNK_BYTES)))
    }

    /// Creates segment `number`, from a released one if there is one, and tells whether it did.
    /// Durable on return; fails if it exists.
    pub(crate) fn create_segment(&self, number: u64, bytes: u64) -> io::Result<(DirectSegment, bool)> {
        let path = self.segment_path(number);
        let free = self.free().pop();
        let ready = free.is_some();
        if let Some(free) = free {
            if path.exists() {
                return Err(io::ErrorKind::AlreadyExists.into()); // a rename would replace it
            }
            fs::rename(&free, &path)?;
            sync_directory(&self.path.join("free"))?;
        } else {
            let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            if let Err(error) = allocate(&file, bytes) {
                let removed = fs::remove_file(&path);
                tracing::debug!(?removed, "journal segment not allocated");
                return Err(error);
            }
            file.sync_all()?;
        }
        sync_directory(&self.path.join("segments"))?;
        Ok((DirectSegment::open(&path)?, ready))
    }

    /// Tells whether a released segment waits for use.
    pub(crate) fn has_free(&self) -> bool {
        !self.free().is_empty()
    }

    /// Creates a segment full of zeros that waits for use, at the pace of `wait` as in
    /// [`zeros::write_file`].
    pub(crate) fn prepare(&self, bytes: u64, wait: &dyn Fn(u64) -> bool) -> io::Result<()> {
        let path = self.path.join("free").join(format!("{}.seg", Uuid::new_v4()));
        let unfinished = path.with_extension(UNFINISHED);
        let filled = zeros::write_file(&unfinished, bytes, wait);
        if !matches!(filled, Ok(true)) {
            let removed = fs::remove_file(&unfinished);
            tracing::debug!(?removed, "journal segment not made ready");
            return filled.map(drop);
        }
        fs::rename(&unfinished, &path)?;
        self.free().push(path);
        Ok(())
    }

    /// Opens segment `number`.
    pub(crate) fn open_segment(&self, number: u64) -> io::Result<DirectSegment> {
        DirectSegment::open(&self.segment_path(number))
    }

    /// Lists the numbers of the segments in order.
    pub(crate) fn segments(&self) -> io::Result<Vec<u64>> {
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

    /// Releases segment `number`: keeps the file for use if it has `bytes` and `keep` allows, else
    /// unlinks it.
    pub(crate) fn recycle(&self, number: u64, bytes: u64, keep: bool) -> io::Result<()> {
        let path = self.segment_path(number);
        let whole = match fs::metadata(&path) {
            Ok(found) => found.len() == bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut free = self.free();
        if keep && whole && free.len() < FREE_SEGMENTS_MAX {
            let to = self.path.join("free").join(file_name(number));
            fs::rename(&path, &to)?;
            sync_directory(&self.path.join("free"))?;
            sync_directory(&self.path.join("segments"))?;
            free.push(to);
        } else {
            fs::remove_file(&path)?;
            sync_directory(&self.path.join("segments"))?;
        }
        Ok(())
    }

    /// Drops free segments of another length and keeps the others.
    pub(crate) fn trim_free(&self, bytes: u64) -> io::Result<()> {
        let mut free = self.free();
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
        let mut free = self.free();
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

    /// Creates an empty large file; its name is durable after `sync_large_names`.
    pub(crate) fn create_large(&self, id: Uuid) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(self.large_path(id))
    }

    /// Opens a large file for reading.
    pub(crate) fn open_large(&self, id: Uuid) -> io::Result<File> {
        File::open(self.large_path(id))
    }

    /// Makes the names of the large files durable.
    pub(crate) fn sync_large_names(&self) -> io::Result<()> {
        sync_directory(&self.path.join("large"))
    }

    /// Unlinks a large file; one that is gone already is not an error.
    pub(crate) fn remove_large(&self, id: Uuid) -> io::Result<()> {
        remove(&self.large_path(id))
    }

    /// Lists the large files with their bytes.
    pub(crate) fn large_files(&self) -> io::Result<Vec<(Uuid, u64)>> {
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

    fn free(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn large_path(&self, id: Uuid) -> PathBuf {
        self.path.join("large").join(format!("{id}.dcm"))
    }

    fn segment_path(&self, number: u64) -> PathBuf {
        self.path.join("segments").join(file_name(number))
    }
}

fn file_name(number: u64) -> String {
    format!("{number:016x}.seg")
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
