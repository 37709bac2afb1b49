//! Where a device keeps its shards and notes. Everything is asked for by name, never by path, so that what lies above is the
//! same on a directory, in memory, and later on an object store.
//!
//! What every medium owes (one suite, `tests/it/conformance.rs`, runs on each):
//! - A shard is *staged*, appended to, flushed, *published* and its name flushed, in this order. Before it is published no
//!   reader and no listing sees it. After its name is flushed it survives a power cut, whole.
//! - Publishing never replaces: a name that is taken is an error, and what has the name stays as it is.
//! - A shard that is published is never written again; it is read in ranges, and removed.
//! - Removing or discarding what is not there succeeds. What was removed does not come back after a power cut.
//! - A note is durable when the call returns. [`Note::Identity`] is created once; creating it again is an error. An append
//!   that a power cut interrupts may leave a part of its bytes, never of others.
//! - What is not there is [`io::ErrorKind::NotFound`]; a range beyond the end is [`io::ErrorKind::UnexpectedEof`]; no room is
//!   [`io::ErrorKind::StorageFull`].
//! - A medium that is away answers everything with an error; it never makes itself anew. Only [`Medium::prepare`] does that.
//!
//! Every call blocks, except [`ShardReader::read_now`]. Calls are made on the I/O threads of the medium's device, dropping
//! an open shard included: closing a file can wait for a disk, too.

mod directory;
pub(crate) mod memory;
pub(crate) mod name;

use std::io;
use std::path::Path;

pub use directory::DirectoryMedium;
use memory::MemoryMedium;
use name::{Note, Presence, ShardName, Space};

/// Where one device keeps its shards and notes.
#[derive(Debug, Clone)]
pub enum Medium {
    /// A directory of the machine.
    Directory(DirectoryMedium),
    /// Memory that fails as it is told, for tests and simulations.
    Memory(MemoryMedium),
}

/// A published shard that is open.
#[derive(Debug)]
pub enum ShardReader {
    /// A file.
    Directory(directory::OpenFile),
    /// Bytes in memory.
    Memory(memory::OpenBytes),
}

/// A staged shard.
#[derive(Debug)]
pub enum ShardStage {
    /// A file.
    Directory(directory::StagedFile),
    /// Bytes in memory.
    Memory(memory::StagedBytes),
}

impl Medium {
    /// Returns what configuration, logs and status call it: the path of a directory, `memory://NAME` of memory.
    pub fn label(&self) -> &Path {
        match self {
            Self::Directory(directory) => directory.path(),
            Self::Memory(memory) => memory.label(),
        }
    }

    /// Tells whether it is there and has ever held shards.
    pub fn presence(&self) -> io::Result<Presence> {
        match self {
            Self::Directory(directory) => directory.presence(),
            Self::Memory(memory) => memory.presence(),
        }
    }

    /// Returns a number that media which fail together share, if it is known.
    pub fn failure_domain(&self) -> Option<u64> {
        match self {
            Self::Directory(directory) => directory.failure_domain(),
            Self::Memory(_) => None,
        }
    }

    /// Returns its room.
    pub fn space(&self) -> io::Result<Space> {
        match self {
            Self::Directory(directory) => directory.space(),
            Self::Memory(memory) => memory.space(),
        }
    }

    /// Makes it ready to become a device: the only call that makes a medium that is not there.
    pub fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.prepare(),
            Self::Memory(memory) => memory.prepare(),
        }
    }

    /// Lists the published shards without opening one; `sweep` removes what a crash left staged, which is only safe while
    /// no writer uses the medium. `go_on` is called often, and ends the listing with its error.
    pub fn list(&self, sweep: bool, go_on: impl FnMut() -> io::Result<()>) -> io::Result<Vec<ShardName>> {
        match self {
            Self::Directory(directory) => directory.list(sweep, go_on),
            Self::Memory(memory) => memory.list(sweep, go_on),
        }
    }

    /// Opens a published shard.
    pub fn open(&self, name: ShardName) -> io::Result<ShardReader> {
        match self {
            Self::Directory(directory) => directory.open(name).map(ShardReader::Directory),
            Self::Memory(memory) => memory.open(name).map(ShardReader::Memory),
        }
    }

    /// Opens a published shard whose bytes can also be read from the device itself, past what memory remembers of it.
    pub fn open_uncached(&self, name: ShardName) -> io::Result<ShardReader> {
        match self {
            Self::Directory(directory) => directory.open_uncached(name).map(ShardReader::Directory),
            Self::Memory(memory) => memory.open(name).map(ShardReader::Memory),
        }
    }

    /// Stages a shard; an error if it is staged already. Never makes the medium itself.
    pub fn stage(&self, name: ShardName) -> io::Result<ShardStage> {
        match self {
            Self::Directory(directory) => directory.stage(name).map(ShardStage::Directory),
            Self::Memory(memory) => memory.stage(name).map(ShardStage::Memory),
        }
    }

    /// Gives a staged shard its name; an error if the name is taken.
    pub fn publish(&self, name: ShardName) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.publish(name),
            Self::Memory(memory) => memory.publish(name),
        }
    }

    /// Makes the name of a published shard durable.
    pub fn flush_name(&self, name: ShardName) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.flush_name(name),
            Self::Memory(memory) => memory.flush_name(name),
        }
    }

    /// Removes a published shard, durably.
    pub fn remove(&self, name: ShardName) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.remove(name),
            Self::Memory(memory) => memory.remove(name),
        }
    }

    /// Removes a staged shard.
    pub fn discard(&self, name: ShardName) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.discard(name),
            Self::Memory(memory) => memory.discard(name),
        }
    }

    /// Reads a note whole; nothing if it was never written, an error if it is longer than `bytes_max`.
    pub fn read_note(&self, note: Note, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Directory(directory) => directory.read_note(note, bytes_max),
            Self::Memory(memory) => memory.read_note(note, bytes_max),
        }
    }

    /// Writes a note that must not be there yet.
    pub fn create_note(&self, note: Note, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.create_note(note, bytes),
            Self::Memory(memory) => memory.create_note(note, bytes),
        }
    }

    /// Adds to the end of a note, making it on first use.
    pub fn append_note(&self, note: Note, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Directory(directory) => directory.append_note(note, bytes),
            Self::Memory(memory) => memory.append_note(note, bytes),
        }
    }
}

impl ShardReader {
    /// Returns the length of the shard.
    pub fn bytes(&self) -> io::Result<u64> {
        match self {
            Self::Directory(file) => file.bytes(),
            Self::Memory(bytes) => bytes.bytes(),
        }
    }

    /// Reads a range, exactly.
    pub fn read(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Directory(file) => file.read(out, offset),
            Self::Memory(bytes) => bytes.read(out, offset),
        }
    }

    /// Reads a range if that waits for no device; `false` if it would, and `out` may hold anything then.
    pub fn read_now(&self, out: &mut [u8], offset: u64) -> bool {
        match self {
            Self::Directory(file) => file.read_now(out, offset),
            Self::Memory(bytes) => bytes.read(out, offset).is_ok(),
        }
    }

    /// Reads a range from the device where the shard was opened for it ([`Medium::open_uncached`]). Fast for whole,
    /// aligned blocks in aligned memory.
    pub fn read_uncached(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Directory(file) => file.read_uncached(out, offset),
            Self::Memory(bytes) => bytes.read(out, offset),
        }
    }

    /// Forgets what memory remembers of the shard, so that the next read comes from the device where the system can do so.
    pub fn forget_cached(&self) {
        match self {
            Self::Directory(file) => file.forget_cached(),
            Self::Memory(_) => {}
        }
    }
}

impl ShardStage {
    /// Writes at an offset.
    pub fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Directory(file) => file.write(bytes, offset),
            Self::Memory(staged) => staged.write(bytes, offset),
        }
    }

    /// Writes whole, aligned blocks in aligned memory, past what memory remembers.
    pub fn write_uncached(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Directory(file) => file.write_uncached(bytes, offset),
            Self::Memory(staged) => staged.write(bytes, offset),
        }
    }

    /// Waits until the device has what was written.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Directory(file) => file.flush(),
            Self::Memory(staged) => staged.flush(),
        }
    }
}
