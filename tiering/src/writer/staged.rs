//! One shard while it is written: a temporary file that removes itself unless it is kept.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::checksum::crc32c;
use crate::device::Device;
use crate::direct::{Aligned, CHUNK_BYTES, Direct};
use crate::erasure::Erasure;
use crate::files::{publish, sync_directory};
use crate::layout::Layout;
use crate::shard::footer::{Footer, Geometry};
use crate::shard::header::Header;
use crate::shard::name::{self, CONTAINERS_DIRECTORY};
use crate::shard::{BLOCK_BYTES, FIRST_GENERATION, HASH_BYTES, HEADER_BYTES};
use crate::{ContainerId, DeviceId, Error};

/// A shard being written.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) number: u8,
    pub(super) device: Arc<Device>,
    pub(super) device_id: DeviceId,
    pub(super) path: PathBuf,
    tmp: PathBuf,
    id: ContainerId,
    reserved_bytes: u64,
    file: Option<(File, Direct)>,
    written_bytes: u64,
    table: Vec<u8>,
    hasher: blake3::Hasher,
    published: bool,
    kept: bool,
}

impl Staged {
    /// Returns a shard that has no file yet; takes over the reservation of its device.
    pub(super) fn new(
        id: ContainerId,
        number: u8,
        device: Arc<Device>,
        device_id: DeviceId,
        reserved_bytes: u64,
    ) -> Self {
        Self {
            number,
            device_id,
            path: name::path(device.path(), id, number),
            tmp: name::tmp_path(device.path(), id, number),
            id,
            reserved_bytes,
            file: None,
            written_bytes: 0,
            table: Vec::new(),
            hasher: blake3::Hasher::new(),
            published: false,
            kept: false,
            device,
        }
    }

    /// Makes the temporary file and writes the header.
    pub(super) fn open(mut self, layout: &Layout, erasure: &Erasure, errors_max: u32) -> Result<Self, Error> {
        let unit_bytes = u32::try_from(layout.unit_bytes()).expect("units are at most 64 MiB");
        let header = Header { container: self.id, generation: FIRST_GENERATION, shard: self.number, unit_bytes };
        let header = header.encode(erasure);
        let opened =
            self.make_directory().and_then(|()| OpenOptions::new().write(true).create_new(true).open(&self.tmp));
        let written = opened.and_then(|file| {
            file.write_all_at(&header, 0)?;
            Ok((file, Direct::writer(&self.tmp)))
        });
        self.file = Some(self.noted("create shard on", written, errors_max)?);
        self.written_bytes = HEADER_BYTES;
        self.hasher.update(&header);
        Ok(self)
    }

    /// Appends a unit, whole blocks, and notes its checksums.
    pub(super) fn write_unit(&mut self, unit: &[u8], bounce: &mut Aligned, errors_max: u32) -> Result<(), Error> {
        for chunk in unit.chunks(CHUNK_BYTES) {
            let aligned = bounce.first_mut(chunk.len());
            aligned.copy_from_slice(chunk);
            for block in aligned.chunks(usize::try_from(BLOCK_BYTES).expect("64 KiB")) {
                self.table.extend_from_slice(&crc32c(block).to_le_bytes());
            }
            self.hasher.update(aligned);
            let written = self.write(|file, direct, offset| direct.write(file, aligned, offset), aligned.len());
            self.noted("write shard on", written, errors_max)?;
        }
        Ok(())
    }

    /// Returns the hash of header and unit region.
    pub(super) fn hash(&self) -> [u8; HASH_BYTES] {
        *self.hasher.finalize().as_bytes()
    }

    /// Appends all that follows the unit region and waits until the device has the file.
    pub(super) fn finish(
        &mut self,
        geometry: &Geometry,
        hashes: &[u8],
        toc: &[u8],
        errors_max: u32,
    ) -> Result<(), Error> {
        let mut tail = self.table.clone();
        tail.extend_from_slice(hashes);
        if geometry.code.carries_toc(self.number) {
            tail.extend_from_slice(toc);
        }
        let footer = Footer { shard: self.number, table_crc: crc32c(&self.table), geometry: *geometry };
        tail.extend_from_slice(&footer.encode());
        let written = self.write(|file, _, offset| file.write_all_at(&tail, offset), tail.len());
        let synced = written.and_then(|()| self.file.as_ref().map_or(Ok(()), |(file, _)| file.sync_all()));
        self.file = None;
        self.noted("sync shard on", synced, errors_max)
    }

    /// Gives the file its name and makes the name durable.
    pub(super) fn publish(&mut self) -> Result<(), Error> {
        publish(&self.tmp, &self.path)?;
        self.published = true;
        self.path.parent().map_or(Ok(()), sync_directory)
    }

    /// Keeps the file when this is dropped.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    /// Makes the shard's directory, but never the device's: a vanished disk must not be written to its mount point.
    fn make_directory(&self) -> io::Result<()> {
        let directory = name::directory(self.device.path(), self.id);
        match fs::create_dir(&directory) {
            Ok(()) => File::open(self.device.path().join(CONTAINERS_DIRECTORY))?.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, write: impl FnOnce(&File, &Direct, u64) -> io::Result<()>, bytes: usize) -> io::Result<()> {
        let (file, direct) = self.file.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        write(file, direct, self.written_bytes)?;
        self.written_bytes += u64::try_from(bytes).expect("a usize has at most 64 bits");
        Ok(())
    }

    /// Lets the device know of an error, so that the next container avoids it.
    fn noted<T>(&self, action: &'static str, result: io::Result<T>, errors_max: u32) -> Result<T, Error> {
        result.map_err(|source| {
            if source.kind() != io::ErrorKind::StorageFull {
                self.device.note_error(&source, errors_max);
                self.device.note_not_found();
            }
            Error::Io { action, path: self.device.path().to_owned(), source }
        })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.device.release(self.reserved_bytes);
        if !self.kept {
            let leftover = if self.published { &self.path } else { &self.tmp };
            // What cannot be removed now is swept at the next start, or listed as a container nobody refers to.
            drop(fs::remove_file(leftover));
        }
    }
}
