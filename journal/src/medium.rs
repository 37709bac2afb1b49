//! What a copy of the journal lies on: the only place that knows whether that is a directory or
//! memory.
//!
//! What an implementation owes, and `medium_suite.rs` and `tests/it/conformance.rs` check on each
//! of them:
//! - what was written before a `flush` that succeeded survives a crash; of anything else, any part
//!   may;
//! - a segment that was created, removed or released is so after a crash, and a note is the old one
//!   or the new one, whole;
//! - a released segment that is used again may hold any bytes of its former life;
//! - reading what is cached never waits, and may always refuse.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::Advice;
use uuid::Uuid;

use crate::direct_segment::{self, DirectSegment};
use crate::directory::{self, Directory};
use crate::fault::Faults;
use crate::format::len64;
use crate::identity::Contents;
use crate::memory::{MemoryDisk, MemoryHandle};
use crate::place::CopyPlace;

/// What one copy lies on, locked.
#[derive(Debug)]
pub(crate) enum Medium {
    Directory(Directory),
    Memory(MemoryDisk),
}

/// An open segment.
#[derive(Debug)]
pub(crate) enum SegmentFile {
    Directory(DirectSegment),
    Memory(MemoryHandle),
}

/// An open large file.
#[derive(Debug)]
pub(crate) enum LargeFile {
    Directory(File),
    Memory(MemoryHandle),
}

/// Looks at a place without changing it.
pub(crate) fn look(place: &CopyPlace) -> Contents {
    match place {
        CopyPlace::Directory(path) => directory::look(path),
        CopyPlace::Memory(copy) => copy.look(),
    }
}

/// Returns the faults that a place is to have: those of memory outlive a journal.
pub(crate) fn faults(place: &CopyPlace) -> Arc<Faults> {
    match place {
        CopyPlace::Directory(_) => Arc::default(),
        CopyPlace::Memory(copy) => copy.faults(),
    }
}

impl Medium {
    /// Takes the lock of a place and makes it ready to hold files. `WouldBlock`: another journal
    /// holds it.
    pub(crate) fn lock(place: &CopyPlace) -> io::Result<Self> {
        match place {
            CopyPlace::Directory(path) => Directory::lock(path).map(Self::Directory),
            CopyPlace::Memory(copy) => MemoryDisk::lock(copy).map(Self::Memory),
        }
    }

    /// Releases the lock; the journal writes nothing here any more.
    pub(crate) fn unlock(&self) {
        match self {
            Self::Directory(directory) => directory.unlock(),
            Self::Memory(memory) => memory.unlock(),
        }
    }

    /// Writes the note of which journal this is, in one step and durably.
    pub(crate) fn write_note(&self, note: &[u8]) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.write_note(note),
            Self::Memory(memory) => memory.write_note(note),
        }
    }

    /// Removes the operator's wish that the copy be filled, if there is one.
    pub(crate) fn remove_adopt_mark(&self) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.remove_adopt_mark(),
            Self::Memory(memory) => memory.remove_adopt_mark(),
        }
    }

    /// Writes buffers one after the other from `offset` on.
    pub(crate) fn write(&self, file: &SegmentFile, offset: u64, buffers: &[Bytes]) -> io::Result<()> {
        match (self, file) {
            (Self::Directory(directory), SegmentFile::Directory(file)) => directory.write(file, offset, buffers),
            (_, SegmentFile::Memory(handle)) => {
                let mut at = offset;
                for buffer in buffers {
                    handle.file()?.write(buffer, at)?;
                    at += len64(buffer.len());
                }
                Ok(())
            }
            (Self::Memory(_), SegmentFile::Directory(_)) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Creates segment `number`, from a released one if there is one, and tells whether it did.
    /// Durable on return; fails if it exists.
    pub(crate) fn create_segment(&self, number: u64, bytes: u64) -> io::Result<(SegmentFile, bool)> {
        match self {
            Self::Directory(directory) => {
                let (file, ready) = directory.create_segment(number, bytes)?;
                Ok((SegmentFile::Directory(file), ready))
            }
            Self::Memory(memory) => {
                let (file, ready) = memory.create_segment(number, bytes)?;
                Ok((SegmentFile::Memory(file), ready))
            }
        }
    }

    /// Tells whether a released segment waits for use.
    pub(crate) fn has_free(&self) -> bool {
        match self {
            Self::Directory(directory) => directory.has_free(),
            Self::Memory(memory) => memory.has_free(),
        }
    }

    /// Creates a segment full of zeros that waits for use. Before each piece it calls `wait` with
    /// the zeros written so far, and gives up when that returns `false`.
    pub(crate) fn prepare(&self, bytes: u64, wait: &dyn Fn(u64) -> bool) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.prepare(bytes, wait),
            Self::Memory(memory) => memory.prepare(bytes, wait),
        }
    }

    /// Opens segment `number`.
    pub(crate) fn open_segment(&self, number: u64) -> io::Result<SegmentFile> {
        match self {
            Self::Directory(directory) => directory.open_segment(number).map(SegmentFile::Directory),
            Self::Memory(memory) => memory.open_segment(number).map(SegmentFile::Memory),
        }
    }

    /// Lists the numbers of the segments in order.
    pub(crate) fn segments(&self) -> io::Result<Vec<u64>> {
        match self {
            Self::Directory(directory) => directory.segments(),
            Self::Memory(memory) => memory.segments(),
        }
    }

    /// Releases segment `number`: keeps the file for use if it has `bytes` and `keep` allows, else
    /// removes it. Durable; one that is not there is not an error.
    pub(crate) fn recycle(&self, number: u64, bytes: u64, keep: bool) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.recycle(number, bytes, keep),
            Self::Memory(memory) => memory.recycle(number, bytes, keep),
        }
    }

    /// Drops free segments of another length and keeps the others.
    pub(crate) fn trim_free(&self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.trim_free(bytes),
            Self::Memory(memory) => memory.trim_free(bytes),
        }
    }

    /// Creates an empty large file; its name is durable after [`Medium::sync_large_names`].
    pub(crate) fn create_large(&self, id: Uuid) -> io::Result<LargeFile> {
        match self {
            Self::Directory(directory) => directory.create_large(id).map(LargeFile::Directory),
            Self::Memory(memory) => memory.create_large(id).map(LargeFile::Memory),
        }
    }

    /// Opens a large file for reading.
    pub(crate) fn open_large(&self, id: Uuid) -> io::Result<LargeFile> {
        match self {
            Self::Directory(directory) => directory.open_large(id).map(LargeFile::Directory),
            Self::Memory(memory) => memory.open_large(id).map(LargeFile::Memory),
        }
    }

    /// Makes the names of the large files durable.
    pub(crate) fn sync_large_names(&self) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.sync_large_names(),
            Self::Memory(memory) => memory.sync_large_names(),
        }
    }

    /// Removes a large file, perhaps not durably; one that is gone already is not an error.
    pub(crate) fn remove_large(&self, id: Uuid) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.remove_large(id),
            Self::Memory(memory) => memory.remove_large(id),
        }
    }

    /// Lists the large files with their bytes.
    pub(crate) fn large_files(&self) -> io::Result<Vec<(Uuid, u64)>> {
        match self {
            Self::Directory(directory) => directory.large_files(),
            Self::Memory(memory) => memory.large_files(),
        }
    }
}

impl SegmentFile {
    /// Makes what was written durable.
    pub(crate) fn flush(&self) -> io::Result<()> {
        match self {
            Self::Directory(segment) => segment.file().sync_data(),
            Self::Memory(handle) => handle.file().map(crate::memory_file::MemoryFile::flush),
        }
    }

    /// Cuts the segment.
    pub(crate) fn set_len(&self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Directory(segment) => segment.file().set_len(bytes),
            Self::Memory(handle) => handle.file()?.set_len(bytes),
        }
    }

    /// Returns the bytes of the file.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        match self {
            Self::Directory(segment) => Ok(segment.file().metadata()?.len()),
            Self::Memory(handle) => Ok(handle.file()?.len()),
        }
    }

    /// Reads until `out` is full or the file ends; returns the bytes read.
    pub(crate) fn read_up_to(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Directory(segment) => segment.read_up_to(out, offset),
            Self::Memory(handle) => handle.file()?.read(out, offset),
        }
    }

    /// Reads exactly these bytes, beside the page cache if offset and length are of whole pages.
    pub(crate) fn read_pages(&self, offset: u64, pages: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Directory(segment) => segment.read_pages(offset, pages),
            Self::Memory(handle) => whole(pages.len(), handle.file()?.read(pages, offset)?),
        }
    }

    /// Fills all buffers, one after the other, if that needs no waiting; `false` if it would, or
    /// fails.
    pub(crate) fn read_now(&self, buffers: &mut [&mut [u8]], offset: u64) -> bool {
        match self {
            Self::Directory(segment) => {
                let mut slices: Vec<IoSliceMut<'_>> =
                    buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
                disk::files::read_now(segment.file(), &mut slices, offset)
            }
            Self::Memory(handle) => {
                let mut at = offset;
                buffers.iter_mut().all(|buffer| {
                    let read = handle.file().and_then(|file| file.read(buffer, at));
                    at += len64(buffer.len());
                    read.is_ok_and(|read| read == buffer.len())
                })
            }
        }
    }

    /// Has the kernel read these bytes soon, without waiting for it.
    pub(crate) fn read_ahead(&self, offset: u64, bytes: u64) -> io::Result<()> {
        match self {
            Self::Directory(segment) => {
                let advised = rustix::fs::fadvise(segment.file(), offset, NonZeroU64::new(bytes), Advice::WillNeed);
                advised.map_err(io::Error::from)
            }
            Self::Memory(_) => Ok(()),
        }
    }
}

impl LargeFile {
    /// Writes bytes.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Directory(file) => file.write_all_at(bytes, offset),
            Self::Memory(handle) => handle.file()?.write(bytes, offset),
        }
    }

    /// Makes what was written durable.
    pub(crate) fn flush(&self) -> io::Result<()> {
        match self {
            Self::Directory(file) => file.sync_data(),
            Self::Memory(handle) => handle.file().map(crate::memory_file::MemoryFile::flush),
        }
    }

    /// Reads until `out` is full or the file ends; returns the bytes read.
    pub(crate) fn read_up_to(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Directory(file) => direct_segment::read_up_to(file, out, offset),
            Self::Memory(handle) => handle.file()?.read(out, offset),
        }
    }
}

fn whole(wanted: usize, read: usize) -> io::Result<()> {
    if read == wanted { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
