//! One shard while it is written: a temporary file that removes itself unless it is kept. What is done with it is done on
//! the device's thread, so that a device that hangs in the middle fails the container and holds up nobody.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::device::calls::Pulse;
use crate::device::gate::Step;
use crate::device::{Call, Device};
use crate::layout::Layout;
use crate::shard::footer::{Footer, Geometry};
use crate::shard::header::Header;
use crate::shard::name::{self, CONTAINERS_DIRECTORY};
use crate::shard::{BLOCK_BYTES, FIRST_GENERATION, HASH_BYTES, HEADER_BYTES};
use crate::store::Inner;
use crate::{ContainerId, DeviceId, Error};
use disk::crc32c;
use disk::files::{publish, sync_directory};
use disk::{CHUNK_BYTES, Direct};

/// How long dropping a shard waits until what was written is removed; it is removed later where that takes longer.
const REMOVED_MAX: Duration = Duration::from_secs(5);

/// A shard being written.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) number: u8,
    pub(super) device: Arc<Device>,
    pub(super) device_id: DeviceId,
    reserved_bytes: u64,
    /// Absent while a call has it, and for good if that call does not come back.
    body: Option<Box<Body>>,
}

/// What the device's thread works with; always dropped there.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) number: u8,
    pub(super) path: PathBuf,
    device: Arc<Device>,
    errors_max: u32,
    tmp: PathBuf,
    id: ContainerId,
    file: Option<(File, Direct)>,
    written_bytes: u64,
    /// CRC-32C of each block, taken before it was written.
    pub(super) table: Vec<u8>,
    hasher: blake3::Hasher,
    published: bool,
    kept: bool,
}

/// What a step comes back with.
type Stepped<T> = (Box<Body>, Result<T, Error>);

/// A step that a device is taking.
pub(super) struct Running<T>(io::Result<Call<Stepped<T>>>);

impl Staged {
    /// Returns a shard that has no file yet; takes over the reservation of its device.
    pub(super) fn new(
        id: ContainerId,
        number: u8,
        device: Arc<Device>,
        device_id: DeviceId,
        reserved_bytes: u64,
        errors_max: u32,
    ) -> Self {
        let body = Body {
            number,
            path: name::path(device.path(), id, number),
            device: Arc::clone(&device),
            errors_max,
            tmp: name::tmp_path(device.path(), id, number),
            id,
            file: None,
            written_bytes: 0,
            table: Vec::new(),
            hasher: blake3::Hasher::new(),
            published: false,
            kept: false,
        };
        Self { number, device_id, reserved_bytes, body: Some(Box::new(body)), device }
    }

    /// Begins a step on the device's thread; [`Staged::end`] waits for it.
    pub(super) fn begin<T: Send + 'static>(
        &mut self,
        step: impl FnOnce(&mut Body, &Pulse) -> Result<T, Error> + Send + 'static,
    ) -> Running<T> {
        let Some(mut body) = self.body.take() else { return Running(Err(io::ErrorKind::BrokenPipe.into())) };
        Running(self.device.begin(move |pulse| {
            let result = step(&mut body, pulse);
            (body, result)
        }))
    }

    /// Waits for a step; after an error of the device itself the shard can only be dropped.
    pub(super) fn end<T>(&mut self, running: Running<T>) -> Result<T, Error> {
        let ended = running.0.and_then(|call| call.wait(self.device.answer_max()));
        let (body, result) = ended.map_err(Error::io("write shard on", self.device.path()))?;
        self.body = Some(body);
        result
    }

    /// Returns the hash of header and unit region.
    pub(super) fn hash(&self) -> [u8; HASH_BYTES] {
        self.body.as_ref().map(|body| *body.hasher.finalize().as_bytes()).unwrap_or_default()
    }

    /// Keeps the file when this is dropped.
    pub(super) fn keep(&mut self) {
        if let Some(body) = &mut self.body {
            body.kept = true;
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.device.release(self.reserved_bytes);
        let Some(body) = self.body.take() else { return };
        if body.kept {
            return;
        }
        if self.device.lags() {
            self.device.later(move |_| drop(body));
        } else if let Ok(call) = self.device.begin(move |_| drop(body)) {
            drop(call.wait(REMOVED_MAX)); // what takes longer is removed all the same
        }
    }
}

impl Body {
    /// Makes the temporary file and writes the header.
    pub(super) fn open(&mut self, layout: &Layout, store: &Inner, pool: usize, pulse: &Pulse) -> Result<(), Error> {
        let unit_bytes = u32::try_from(layout.unit_bytes()).expect("units are at most 64 MiB");
        let header = Header { container: self.id, generation: FIRST_GENERATION, shard: self.number, unit_bytes };
        let pool = store.pools.get(pool).ok_or(Error::Missing { container: self.id })?;
        let header = header.encode(&pool.erasure);
        let created = self.create(&header, pulse);
        self.file = Some(self.noted("create shard on", created)?);
        self.written_bytes = HEADER_BYTES;
        self.hasher.update(&header);
        Ok(())
    }

    fn create(&self, header: &[u8], pulse: &Pulse) -> io::Result<(File, Direct)> {
        pulse.step(Step::Create)?;
        self.make_directory()?;
        let file = OpenOptions::new().write(true).create_new(true).open(&self.tmp)?;
        pulse.step(Step::Write)?;
        file.write_all_at(header, 0)?;
        Ok((file, Direct::writer(&self.tmp)))
    }

    /// Appends a unit, whole blocks in aligned memory, and notes its checksums.
    pub(super) fn write_unit(&mut self, unit: &[u8], pulse: &Pulse) -> Result<(), Error> {
        for chunk in unit.chunks(CHUNK_BYTES) {
            let written = self.write_chunk(chunk, pulse);
            self.noted("write shard on", written)?;
        }
        Ok(())
    }

    fn write_chunk(&mut self, chunk: &[u8], pulse: &Pulse) -> io::Result<()> {
        for block in chunk.chunks(usize::try_from(BLOCK_BYTES).expect("64 KiB")) {
            self.table.extend_from_slice(&crc32c(block).to_le_bytes());
        }
        self.hasher.update(chunk);
        let (file, direct) = self.file.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        pulse.step(Step::Write)?;
        direct.write(file, chunk, self.written_bytes)?;
        self.written_bytes += u64::try_from(chunk.len()).expect("a usize has at most 64 bits");
        Ok(())
    }

    /// Appends all that follows the unit region and waits until the device has the file.
    pub(super) fn finish(
        &mut self,
        geometry: &Geometry,
        hashes: &[u8],
        toc: &[u8],
        pulse: &Pulse,
    ) -> Result<(), Error> {
        let mut tail = self.table.clone();
        tail.extend_from_slice(hashes);
        if geometry.code.carries_toc(self.number) {
            tail.extend_from_slice(toc);
        }
        let footer = Footer { shard: self.number, table_crc: crc32c(&self.table), geometry: *geometry };
        tail.extend_from_slice(&footer.encode());
        let synced = self.append_and_sync(&tail, pulse);
        self.file = None;
        self.noted("sync shard on", synced)
    }

    fn append_and_sync(&self, tail: &[u8], pulse: &Pulse) -> io::Result<()> {
        let (file, _) = self.file.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        pulse.step(Step::Write)?;
        file.write_all_at(tail, self.written_bytes)?;
        pulse.step(Step::Flush)?;
        file.sync_all()
    }

    /// Gives the file its name and makes the name durable.
    pub(super) fn publish(&mut self, pulse: &Pulse) -> Result<(), Error> {
        pulse.step(Step::Publish).map_err(Error::io("publish", &self.path))?;
        publish(&self.tmp, &self.path).map_err(Error::io("publish", &self.path))?;
        self.published = true;
        pulse.step(Step::Flush).map_err(Error::io("publish", &self.path))?;
        let parent = self.path.parent().unwrap_or(Path::new(""));
        sync_directory(parent).map_err(Error::io("sync directory", parent))
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

    /// Lets the device know of an error, so that the next container avoids it.
    fn noted<T>(&self, action: &'static str, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|source| {
            if source.kind() != io::ErrorKind::StorageFull {
                self.device.note_error(&source, self.errors_max);
                self.device.note_not_found_here();
            }
            Error::Io { action, path: self.device.path().to_owned(), source }
        })
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.kept {
            let leftover = if self.published { &self.path } else { &self.tmp };
            // What cannot be removed now is swept at the next start, or listed as a container nobody refers to.
            drop(fs::remove_file(leftover));
        }
    }
}
