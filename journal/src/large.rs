//! Payloads that are too long for memory: a file of their own on every copy, written as they arrive.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use super::Error;
use super::directory::is_full;
use super::record::len64;
use super::segments::Shared;

/// Bytes after which a file is flushed while it is written. The kernel would hold gigabytes back, and whoever flushes
/// anything on the same disk next (the committer, Postgres) would wait for all of it.
const FLUSH_EVERY_BYTES: u64 = 32 << 20;

/// Writes a large payload to every copy. Dropped before `finish`, it leaves nothing.
#[derive(Debug)]
pub struct LargeWriter {
    files: Vec<Option<File>>,
    digest: disk::Crc32c,
    payload: LargePayload,
    /// Bytes since the last flush.
    unflushed_bytes: u64,
}

/// A large payload that is durable on every healthy copy. Dropped without being appended, its files are unlinked.
#[derive(Debug)]
pub struct LargePayload {
    shared: Arc<Shared>,
    pub(super) id: Uuid,
    pub(super) bytes: u64,
    pub(super) crc32c: u32,
    /// Whether a record names the files, or may.
    kept: bool,
}

impl LargeWriter {
    pub(super) fn begin(shared: &Arc<Shared>) -> Result<Self, Error> {
        shared.require_copies()?;
        let id = Uuid::new_v4();
        let payload = LargePayload { shared: Arc::clone(shared), id, bytes: 0, crc32c: 0, kept: false };
        let mut files = Vec::new();
        for disk in &shared.disks {
            let file = match disk.is_healthy().then(|| disk.create_large(id)).transpose() {
                Ok(file) => file,
                Err(error) if is_full(&error) => {
                    return Err(shared.full());
                }
                Err(error) => {
                    disk.poison("create large file", &error);
                    None
                }
            };
            files.push(file);
        }
        shared.require_copies()?;
        Ok(Self { files, digest: disk::Crc32c::default(), payload, unflushed_bytes: 0 })
    }

    /// Writes the next bytes to every copy. Blocks. `Full`: the limit or a disk's end is reached, drop the writer.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let shared = Arc::clone(&self.payload.shared);
        let offset = self.payload.bytes;
        shared.reserve_large(len64(bytes.len()))?;
        self.payload.bytes += len64(bytes.len());
        for (disk, file) in shared.disks.iter().zip(&self.files) {
            let Some(file) = file.as_ref().filter(|_| disk.is_healthy()) else {
                continue;
            };
            match disk.write_large(file, offset, bytes) {
                Ok(()) => {}
                // The file is dropped, so it is not in doubt: the copy goes on.
                Err(error) if is_full(&error) => {
                    return Err(shared.full());
                }
                Err(error) => disk.poison("write large file", &error),
            }
        }
        self.digest.update(bytes);
        self.unflushed_bytes += len64(bytes.len());
        if self.unflushed_bytes >= FLUSH_EVERY_BYTES {
            self.flush();
        }
        shared.require_copies().map(drop)
    }

    /// Writes what the kernel holds back to the disks.
    fn flush(&mut self) {
        self.unflushed_bytes = 0;
        for (disk, file) in self.payload.shared.disks.iter().zip(&self.files) {
            if let Some(file) = file.as_ref().filter(|_| disk.is_healthy())
                && let Err(error) = disk.flush(file)
            {
                disk.poison("flush large file", &error);
            }
        }
    }

    /// Makes the payload durable on every copy. Blocks.
    pub fn finish(mut self) -> Result<LargePayload, Error> {
        for (disk, file) in self.payload.shared.disks.iter().zip(&self.files) {
            if let Some(file) = file.as_ref().filter(|_| disk.is_healthy())
                && let Err(error) = disk.sync_large(file)
            {
                disk.poison("flush large file", &error);
            }
        }
        self.payload.shared.require_copies()?;
        self.payload.crc32c = self.digest.finish();
        Ok(self.payload)
    }
}

impl LargePayload {
    /// Returns the file on a healthy copy, for reading.
    pub fn path(&self) -> PathBuf {
        let disks = &self.shared.disks;
        let disk = disks.iter().find(|disk| disk.is_healthy()).or(disks.first());
        disk.map(|disk| disk.large_path(self.id)).unwrap_or_default()
    }

    /// Returns the bytes of the payload.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the CRC-32C of the payload.
    pub fn crc32c(&self) -> u32 {
        self.crc32c
    }

    /// Tells whether the files are in this journal.
    pub(super) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// Leaves the files in place: a record names them, or may after a failed write.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for LargePayload {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        for disk in self.shared.disks.iter().filter(|disk| disk.is_healthy()) {
            // What cannot be unlinked now is removed at the next start: no record names it.
            if let Err(error) = disk.remove_large(self.id) {
                tracing::warn!(path = %disk.path().display(), %error, "large file not removed");
            }
        }
        self.shared.free_large(self.bytes);
    }
}
