//! Writing a container: bytes in order, coded row by row, sealed once.

mod seal;
mod staged;
mod unit;

use std::io::{self, Read};
use std::sync::Arc;

use crate::device::Device;
use crate::device::calls::Pulse;
use crate::layout::Layout;
use crate::store::Inner;
use crate::{CodeProfile, ContainerId, DeviceId, Error, Tier, Toc};
use staged::{Body, Staged};
use unit::Unit;

/// Bytes taken from a source at one time.
const SOURCE_CHUNK_BYTES: usize = 64 * 1024;

/// A container being written; needs memory for one row, k+m units. Dropping it removes what was written.
#[derive(Debug)]
pub struct ContainerWriter {
    store: Arc<Inner>,
    id: ContainerId,
    pool: usize,
    code: CodeProfile,
    layout: Layout,
    shards: Vec<Staged>,
    /// The k units of the row being filled.
    data: Vec<Unit>,
    parity: Vec<Unit>,
    logical_bytes: u64,
    tier: Tier,
    failed: bool,
}

/// A container that is sealed: coded, spread, read back.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Its name.
    pub id: ContainerId,
    /// Name of its pool.
    pub pool: String,
    /// How it is coded.
    pub code: CodeProfile,
    /// Bytes that were appended, with padding.
    pub logical_bytes: u64,
    /// Bytes of all its shard files.
    pub stored_bytes: u64,
    /// Shard number and device of each shard.
    pub shards: Vec<(u8, DeviceId)>,
}

/// Where a new container goes.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) id: ContainerId,
    pub(crate) pool: usize,
    pub(crate) layout: Layout,
    /// Bytes that each device should expect.
    pub(crate) shard_bytes: u64,
    /// One device for each shard, in order of number.
    pub(crate) devices: Vec<(Arc<Device>, DeviceId)>,
}

impl ContainerWriter {
    /// Makes the files of all shards under temporary names.
    pub(crate) fn start(store: Arc<Inner>, plan: Plan) -> Result<Self, Error> {
        let pool = store.pools.get(plan.pool);
        let pool = pool.ok_or(Error::Missing { container: plan.id })?;
        let (code, tier) = (pool.config.code, pool.config.tier);
        let errors_max = store.options.device_errors_max;
        assert_eq!(plan.devices.len(), usize::from(code.shards()), "the plan has a device for each shard");
        let staged = (0..code.shards()).zip(plan.devices).map(|(number, (device, device_id))| {
            device.reserve(plan.shard_bytes);
            Staged::new(plan.id, number, device, device_id, plan.shard_bytes, errors_max)
        });
        let mut shards: Vec<Staged> = staged.collect();
        let opened = on_all(&mut shards, |_| {
            let (store, layout, pool) = (Arc::clone(&store), plan.layout, plan.pool);
            move |body: &mut Body, pulse: &Pulse| body.open(&layout, &store, pool, pulse)
        });
        opened.map_err(|error| full(error, tier, plan.shard_bytes))?;
        let unit_bytes = usize::try_from(plan.layout.unit_bytes()).expect("at most 64 MiB");
        let unit = || Unit::with_room(unit_bytes);
        Ok(Self {
            id: plan.id,
            pool: plan.pool,
            code,
            layout: plan.layout,
            shards,
            data: (0..code.data_shards).map(|_| unit()).collect(),
            parity: (0..code.parity_shards).map(|_| unit()).collect(),
            logical_bytes: 0,
            tier,
            failed: false,
            store,
        })
    }

    /// Returns the container's name.
    pub fn id(&self) -> ContainerId {
        self.id
    }

    /// Returns the bytes appended so far, with padding.
    pub fn logical_bytes(&self) -> u64 {
        self.logical_bytes
    }

    /// Appends bytes and returns their logical offset; up to 512 KiB never straddle a unit. Blocks.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        self.guarded(|writer| {
            let offset = writer.pad(u64::try_from(bytes.len()).expect("a usize has at most 64 bits"))?;
            writer.fill(bytes)?;
            Ok(offset)
        })
    }

    /// Appends exactly so many bytes from a source, in bounded memory, and returns their logical offset. Blocks.
    pub fn append_from(&mut self, bytes: u64, reader: &mut dyn Read) -> Result<u64, Error> {
        self.guarded(|writer| {
            let offset = writer.pad(bytes)?;
            let mut source = reader.take(bytes);
            let mut chunk = vec![0; SOURCE_CHUNK_BYTES];
            let mut left = bytes;
            while left > 0 {
                let read = writer.take_from(&mut source, &mut chunk)?;
                writer.fill(chunk.get(..read).unwrap_or_default())?;
                left = left.saturating_sub(u64::try_from(read).expect("a usize has at most 64 bits"));
            }
            Ok(offset)
        })
    }

    /// Seals the container: returns once every shard is fsynced, has its name, and was read back from its device. Blocks.
    ///
    /// After an error nothing is left of it.
    pub fn seal(self, toc: &Toc) -> Result<Sealed, Error> {
        seal::seal(self, toc)
    }

    /// Runs a step that may fail; after a failure the container can only be dropped.
    fn guarded<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.failed {
            return Err(Error::WriterFailed { container: self.id });
        }
        let result = step(self);
        self.failed = result.is_err();
        result.map_err(|error| full(error, self.tier, self.logical_bytes))
    }

    fn take_from(&self, source: &mut dyn Read, chunk: &mut [u8]) -> Result<usize, Error> {
        loop {
            match source.read(chunk) {
                Ok(0) => {
                    let source = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(Error::Source { container: self.id, source });
                }
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(Error::Source { container: self.id, source });
                }
            }
        }
    }

    /// Skips to the next unit if a run of this length would straddle; returns where the run begins.
    fn pad(&mut self, bytes: u64) -> Result<u64, Error> {
        let padding = usize::try_from(self.layout.padding(self.logical_bytes, bytes)).expect("less than a unit");
        if padding > 0 {
            self.fill(&vec![0; padding])?;
        }
        Ok(self.logical_bytes)
    }

    fn fill(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = self.layout.unit_bytes() - self.logical_bytes % self.layout.unit_bytes();
            let room = usize::try_from(room).expect("units are at most 64 MiB").min(bytes.len());
            let (head, rest) = bytes.split_at_checked(room).expect("room is at most the length");
            let unit = self.data.get_mut(usize::from(self.layout.shard_at(self.logical_bytes)));
            unit.expect("a row has k units").extend(head);
            self.logical_bytes += u64::try_from(room).expect("a usize has at most 64 bits");
            bytes = rest;
            if self.logical_bytes.is_multiple_of(self.layout.row_bytes()) {
                self.write_row(self.layout.unit_bytes())?;
            }
        }
        Ok(())
    }

    /// Codes the row and appends one unit, or the first bytes of one, to every shard.
    fn write_row(&mut self, unit_bytes: u64) -> Result<(), Error> {
        let bytes = usize::try_from(unit_bytes).expect("units are at most 64 MiB");
        self.data.iter_mut().chain(&mut self.parity).for_each(|unit| unit.resize(bytes));
        let pool = self.store.pools.get(self.pool).ok_or(Error::Missing { container: self.id })?;
        pool.erasure.encode(&self.data, &mut self.parity);
        let mut units = self.data.iter_mut().chain(&mut self.parity).map(std::mem::take);
        let written = on_all(&mut self.shards, |_| {
            let unit = units.next().unwrap_or_default();
            move |body: &mut Body, pulse: &Pulse| body.write_unit(unit.as_ref(), pulse).map(|()| unit)
        })?;
        for (place, unit) in self.data.iter_mut().chain(&mut self.parity).zip(written) {
            *place = unit;
        }
        self.data.iter_mut().for_each(Unit::clear);
        Ok(())
    }
}

/// Does one step on all shards at once, each on its own device; the first error counts.
fn on_all<T: Send + 'static, S: FnOnce(&mut Body, &Pulse) -> Result<T, Error> + Send + 'static>(
    shards: &mut [Staged],
    step: impl FnMut(&Staged) -> S,
) -> Result<Vec<T>, Error> {
    on_each(shards.iter_mut().collect(), step)
}

/// Does one step on some shards at once, as [`on_all`] does.
fn on_each<T: Send + 'static, S: FnOnce(&mut Body, &Pulse) -> Result<T, Error> + Send + 'static>(
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

/// A full disk is no fault of the device: room can come back, or another pool has it.
fn full(error: Error, tier: Tier, needed_bytes: u64) -> Error {
    if let Error::Io { source, .. } = &error
        && matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    {
        return Error::NoRoom { tier, needed_bytes };
    }
    error
}
