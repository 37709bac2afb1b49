//! Payloads that are too long for memory: a file of their own on every copy, written as they
//! arrive.

use std::io;
use std::sync::Arc;

use uuid::Uuid;

use crate::copies::Copies;
use crate::error::Error;
use crate::format::len64;
use crate::journal_copy::{JournalCopy, is_full};
use crate::medium;
use crate::space::Space;

/// Bytes after which a file is flushed while it is written. The kernel would hold gigabytes back,
/// and the next task that flushes anything on the same disk (the committer, Postgres) would wait
/// for all of it.
const FLUSH_EVERY_BYTES: u64 = 32 << 20;

/// Writes a large payload to every copy. Dropped before `finish`, it leaves nothing.
#[derive(Debug)]
pub struct LargeWriter {
    files: Vec<Option<medium::LargeFile>>,
    digest: disk::Crc32c,
    payload: LargePayload,
    /// Bytes since the last flush.
    unflushed_bytes: u64,
}

/// A large payload that is durable on every healthy copy. Dropped without being appended, its files
/// are unlinked.
#[derive(Debug)]
pub struct LargePayload {
    copies: Arc<Copies>,
    space: Arc<Space>,
    id: Uuid,
    bytes: u64,
    crc32c: u32,
    /// Whether a record names the files, or may.
    kept: bool,
}

/// The file of a large payload, open for reading.
#[derive(Debug)]
pub struct LargeFile(medium::LargeFile);

impl LargeFile {
    /// Reads exactly these bytes. Blocks.
    pub fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.0.read_up_to(out, offset)?;
        if read == out.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl LargeWriter {
    pub(crate) fn begin(copies: &Arc<Copies>, space: &Arc<Space>) -> Result<Self, Error> {
        copies.require()?;
        let id = copies.ids().next();
        let (copies, space) = (Arc::clone(copies), Arc::clone(space));
        let payload = LargePayload { copies, space, id, bytes: 0, crc32c: 0, kept: false };
        let mut files = Vec::new();
        for copy in payload.copies.all() {
            let file = match copy.is_healthy().then(|| copy.create_large(id)).transpose() {
                Ok(file) => file,
                Err(error) if is_full(&error) => {
                    return Err(payload.space.full());
                }
                Err(error) => {
                    copy.poison("create large file", &error);
                    None
                }
            };
            files.push(file);
        }
        payload.copies.require()?;
        Ok(Self { files, digest: disk::Crc32c::default(), payload, unflushed_bytes: 0 })
    }

    /// Writes the next bytes to every copy. Blocks. `Full`: the limit or a disk's end is reached,
    /// drop the writer.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let offset = self.payload.bytes;
        self.payload.space.reserve_large(len64(bytes.len()))?;
        self.payload.bytes += len64(bytes.len());
        for (copy, file) in self.payload.copies.all().iter().zip(&self.files) {
            let Some(file) = file.as_ref().filter(|_| copy.is_healthy()) else {
                continue;
            };
            match copy.write_large(file, offset, bytes) {
                Ok(()) => {}
                // The file is dropped, so it is not in doubt: the copy goes on.
                Err(error) if is_full(&error) => {
                    return Err(self.payload.space.full());
                }
                Err(error) => copy.poison("write large file", &error),
            }
        }
        self.digest.update(bytes);
        self.unflushed_bytes += len64(bytes.len());
        if self.unflushed_bytes >= FLUSH_EVERY_BYTES {
            self.unflushed_bytes = 0;
            self.on_each(JournalCopy::flush_large);
        }
        self.payload.copies.require().map(drop)
    }

    /// Makes the payload durable on every copy. Blocks.
    pub fn finish(mut self) -> Result<LargePayload, Error> {
        self.on_each(JournalCopy::finish_large);
        self.payload.copies.require()?;
        self.payload.crc32c = self.digest.finish();
        Ok(self.payload)
    }

    /// Flushes the file on every healthy copy; a copy that fails is given up.
    fn on_each(&self, flush: impl Fn(&JournalCopy, &medium::LargeFile) -> io::Result<()>) {
        for (copy, file) in self.payload.copies.all().iter().zip(&self.files) {
            if let Some(file) = file {
                copy.attempt("flush large file", || flush(copy, file));
            }
        }
    }
}

impl LargePayload {
    /// Opens the file on a healthy copy. Blocks.
    pub fn open(&self) -> io::Result<LargeFile> {
        let copy = self.copies.healthy().next().or(self.copies.all().first());
        copy.ok_or(io::ErrorKind::NotFound)?.open_large(self.id).map(LargeFile)
    }

    /// Returns the bytes of the payload.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the CRC-32C of the payload.
    pub fn crc32c(&self) -> u32 {
        self.crc32c
    }

    /// Returns the name of the files.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// Tells whether the files are in the journal of these copies.
    pub(crate) fn is_on(&self, copies: &Arc<Copies>) -> bool {
        Arc::ptr_eq(&self.copies, copies)
    }

    /// Leaves the files in place: a record names them, or may after a failed write.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for LargePayload {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        for copy in self.copies.healthy() {
            // What cannot be unlinked now is removed at the next start: no record names it.
            if let Err(error) = copy.remove_large(self.id) {
                tracing::warn!(path = %copy.path().display(), %error, "large file not removed");
            }
        }
        self.space.free_large(self.bytes);
    }
}
