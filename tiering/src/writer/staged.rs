//! One shard while it is written: staged, and removed again unless it is kept. All work on it is done on the device's
//! threads, so that a device that hangs in the middle fails the container and holds up no other.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::device::fault_point::Step;
use crate::device::io_threads::Heartbeat;
use crate::device::{Call, Device};
use crate::erasure::Erasure;
use crate::layout::Layout;
use crate::medium::ShardStage;
use crate::medium::name::ShardName;
use crate::shard::examine::is_as_written;
use crate::shard::footer::{Footer, Geometry};
use crate::shard::header::Header;
use crate::shard::{BLOCK_BYTES, HASH_BYTES, HEADER_BYTES};
use crate::{ContainerId, DeviceId, Error};
use disk::{CHUNK_BYTES, crc32c};

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
    pub(super) name: ShardName,
    device: Arc<Device>,
    stage: Option<ShardStage>,
    written_bytes: u64,
    /// CRC-32C of each block, taken before it was written.
    table: Vec<u8>,
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
    ) -> Self {
        let body = Body {
            name: ShardName::new(id, number),
            device: Arc::clone(&device),
            stage: None,
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
        step: impl FnOnce(&mut Body, &Heartbeat) -> Result<T, Error> + Send + 'static,
    ) -> Running<T> {
        let Some(mut body) = self.body.take() else { return Running(Err(io::ErrorKind::BrokenPipe.into())) };
        Running(self.device.begin(move |heartbeat| {
            let result = step(&mut body, heartbeat);
            (body, result)
        }))
    }

    /// Waits for a step; after an error of the device itself the shard can only be dropped.
    pub(super) fn end<T>(&mut self, running: Running<T>) -> Result<T, Error> {
        let ended = running.0.and_then(|call| call.wait(self.device.answer_max()));
        let (body, result) = ended.map_err(Error::io("write shard on", self.device.label()))?;
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
        let (done, removed) = mpsc::channel::<()>();
        self.device.later(move |_| {
            drop(body);
            drop(done);
        });
        if !self.device.lags() {
            removed.recv_timeout(REMOVED_MAX).err(); // what takes longer is removed all the same
        }
    }
}

impl Body {
    /// Stages the shard and writes its header.
    pub(super) fn open(&mut self, layout: &Layout, erasure: &Erasure, heartbeat: &Heartbeat) -> Result<(), Error> {
        let unit_bytes = u32::try_from(layout.unit_bytes()).expect("units are at most 64 MiB");
        let ShardName { container, generation, shard } = self.name;
        let header = Header { container, generation, shard, unit_bytes }.encode(erasure);
        let created = self.create(&header, heartbeat);
        self.stage = Some(self.noted("create shard on", created)?);
        self.written_bytes = HEADER_BYTES;
        self.hasher.update(&header);
        Ok(())
    }

    fn create(&self, header: &[u8], heartbeat: &Heartbeat) -> io::Result<ShardStage> {
        heartbeat.step(Step::Create)?;
        let mut stage = self.device.medium().stage(self.name)?;
        heartbeat.step(Step::Write)?;
        stage.write(header, 0)?;
        Ok(stage)
    }

    /// Appends a unit, whole blocks in aligned memory, and notes its checksums.
    pub(super) fn write_unit(&mut self, unit: &[u8], heartbeat: &Heartbeat) -> Result<(), Error> {
        for chunk in unit.chunks(CHUNK_BYTES) {
            let written = self.write_chunk(chunk, heartbeat);
            self.noted("write shard on", written)?;
        }
        Ok(())
    }

    fn write_chunk(&mut self, chunk: &[u8], heartbeat: &Heartbeat) -> io::Result<()> {
        for block in chunk.chunks(usize::try_from(BLOCK_BYTES).expect("64 KiB")) {
            self.table.extend_from_slice(&crc32c(block).to_le_bytes());
        }
        self.hasher.update(chunk);
        let stage = self.stage.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        heartbeat.step(Step::Write)?;
        stage.write_uncached(chunk, self.written_bytes)?;
        self.written_bytes += u64::try_from(chunk.len()).expect("a usize has at most 64 bits");
        Ok(())
    }

    /// Appends all that follows the unit region and waits until the device has the file.
    pub(super) fn finish(
        &mut self,
        geometry: &Geometry,
        hashes: &[u8],
        toc: &[u8],
        heartbeat: &Heartbeat,
    ) -> Result<(), Error> {
        let mut tail = self.table.clone();
        tail.extend_from_slice(hashes);
        if geometry.code.carries_toc(self.name.shard) {
            tail.extend_from_slice(toc);
        }
        let footer = Footer { shard: self.name.shard, table_crc: crc32c(&self.table), geometry: *geometry };
        tail.extend_from_slice(&footer.encode());
        let synced = self.append_and_sync(&tail, heartbeat);
        self.stage = None;
        self.noted("sync shard on", synced)
    }

    fn append_and_sync(&mut self, tail: &[u8], heartbeat: &Heartbeat) -> io::Result<()> {
        let stage = self.stage.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        heartbeat.step(Step::Write)?;
        stage.write(tail, self.written_bytes)?;
        heartbeat.step(Step::Flush)?;
        stage.flush()
    }

    /// Gives the shard its name and makes the name durable.
    pub(super) fn publish(&mut self, heartbeat: &Heartbeat) -> Result<(), Error> {
        let published = self.publish_and_flush(heartbeat);
        published.map_err(Error::io("publish shard on", self.device.label()))
    }

    fn publish_and_flush(&mut self, heartbeat: &Heartbeat) -> io::Result<()> {
        heartbeat.step(Step::Publish)?;
        self.device.medium().publish(self.name)?;
        self.published = true;
        heartbeat.step(Step::Flush)?;
        self.device.medium().flush_name(self.name)
    }

    /// Reads the shard from its device and returns whether it is what was meant to be written.
    pub(super) fn reads_back(&self, erasure: &Erasure, geometry: &Geometry, heartbeat: &Heartbeat) -> bool {
        let same = is_as_written(self.device.medium(), self.name, erasure, geometry, &self.table, heartbeat);
        same.unwrap_or(false)
    }

    /// Lets the device know of an error, so that the next container avoids it.
    fn noted<T>(&self, action: &'static str, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|source| {
            if source.kind() != io::ErrorKind::StorageFull {
                self.device.note_error(&source);
                self.device.note_not_found_here();
            }
            Error::Io { action, path: self.device.label().to_owned(), source }
        })
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.kept {
            let medium = self.device.medium();
            // What cannot be removed now is swept at the next start, or listed as a container that nothing refers to.
            let removed = if self.published { medium.remove(self.name) } else { medium.discard(self.name) };
            removed.err();
        }
    }
}

/// Does one step on all shards at once, each on its own device; the first error counts.
pub(super) fn on_all<T: Send + 'static, S: FnOnce(&mut Body, &Heartbeat) -> Result<T, Error> + Send + 'static>(
    shards: &mut [Staged],
    step: impl FnMut(&Staged) -> S,
) -> Result<Vec<T>, Error> {
    on_each(shards.iter_mut().collect(), step)
}

/// Does one step on some shards at once, as [`on_all`] does.
pub(super) fn on_each<T: Send + 'static, S: FnOnce(&mut Body, &Heartbeat) -> Result<T, Error> + Send + 'static>(
    mut shards: Vec<&mut Staged>,
    mut step: impl FnMut(&Staged) -> S,
) -> Result<Vec<T>, Error> {
    let mut running = Vec::with_capacity(shards.len());
    for shard in &mut shards {
        let step = step(shard);
        running.push(shard.begin(step));
    }
    // All are waited for, also after an error: what comes back is removed with its shard.
    let ended: Vec<_> = shards.iter_mut().zip(running).map(|(shard, running)| shard.end(running)).collect();
    ended.into_iter().collect()
}
