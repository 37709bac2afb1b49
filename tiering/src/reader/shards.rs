//! Shards of containers as reads use them: opens, checks and remembers them, and counts what is wrong with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::{Cache, Located, OpenShard};
use super::region::{Part, Region};
use crate::catalog::Catalog;
use crate::damage::Damage;
use crate::device::Device;
use crate::device::fan_out::FanOut;
use crate::device::fault_point::Step;
use crate::device::io_threads::Heartbeat;
use crate::medium::name::ShardName;
use crate::pools::Pools;
use crate::shard::BLOCK_BYTES;
use crate::shard::file::{ShardFault, ShardFile, Table};
use crate::surroundings::Clock;
use crate::{ContainerId, Toc};

/// The shards on all devices in use.
#[derive(Debug)]
pub(crate) struct Shards {
    pools: Arc<Pools>,
    catalog: Arc<Catalog>,
    cache: Arc<Cache>,
    damage: Arc<Damage>,
    clock: Arc<dyn Clock>,
    answer_max: Duration,
}

impl Shards {
    pub(crate) fn new(
        pools: Arc<Pools>,
        catalog: Arc<Catalog>,
        cache: Arc<Cache>,
        damage: Arc<Damage>,
        clock: Arc<dyn Clock>,
        answer_max: Duration,
    ) -> Self {
        Self { pools, catalog, cache, damage, clock, answer_max }
    }

    /// Returns the pools that the shards lie in.
    pub(crate) fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Returns where the shards lie.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns what is remembered of the shards.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the counters of what is wrong with the shards.
    pub(crate) fn damage(&self) -> &Damage {
        &self.damage
    }

    /// Returns the time now.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Returns when a device that is asked now counts as hung.
    pub(crate) fn deadline(&self) -> Instant {
        self.clock.now() + self.answer_max
    }

    /// Returns an empty fan-out.
    pub(crate) fn fan_out<K: Copy + PartialEq + Send + 'static, T: Send + 'static>(&self) -> FanOut<K, T> {
        FanOut::new(Arc::clone(&self.clock))
    }

    /// Returns how long a device of the pool is waited for before others are asked.
    pub(crate) fn patience(&self, pool: usize) -> Duration {
        self.pools.get(pool).map(|pool| pool.patience()).unwrap_or_default()
    }

    /// Returns the shards of a container and the devices in use that have them: those that lag last.
    pub(crate) fn places(&self, at: &Located) -> Vec<(u8, Arc<Device>)> {
        let Some(pool) = self.pools.get(at.pool) else { return Vec::new() };
        let known = self.catalog.places(at.geometry.container, at.pool);
        let online = known.into_iter().filter_map(|(shard, id)| Some((shard, Arc::clone(pool.online(id)?))));
        let mut places: Vec<_> = online.collect();
        places.sort_by_cached_key(|(_, device)| device.lags());
        places
    }
    /// Reads a region of a shard if it is open and the kernel has the bytes, and checks the blocks; never waits.
    pub(crate) fn part_now(&self, at: &Located, shard: u8, region: Region) -> Option<Vec<u8>> {
        let open = self.open_of(at, shard)?;
        let table = if region.by_block { Some(self.cache.table(at.geometry.container, open.file())?) } else { None };
        let mut bytes = vec![0; region.bytes];
        open.file().read_region_now(&mut bytes, region.offset).then_some(())?;
        let whole = table.is_none_or(|table| table.differing(region.offset / BLOCK_BYTES, &bytes).is_empty());
        whole.then_some(bytes)
    }

    /// Returns a shard that is open and belongs to this writing of the container.
    pub(crate) fn open_of(&self, at: &Located, shard: u8) -> Option<Arc<OpenShard>> {
        self.cache.file(at.geometry.container, shard).filter(|open| *open.file().geometry() == at.geometry)
    }

    /// Reads a region of a shard, opening it if need be, and checks the blocks; on the device's thread.
    pub(crate) fn part_here(
        &self,
        at: &Located,
        shard: u8,
        device: &Arc<Device>,
        region: Region,
        heartbeat: &Heartbeat,
    ) -> Result<Part, ShardFault> {
        let open = self.shard_here(at, shard, device, heartbeat)?;
        let table = if region.by_block { Some(self.table_here(at, &open, heartbeat)?) } else { None };
        let mut bytes = vec![0; region.bytes];
        let read = heartbeat.step(Step::Read).map_err(ShardFault::from);
        let read = read.and_then(|()| open.file().read_region(&mut bytes, region.offset));
        let first = region.offset / BLOCK_BYTES;
        let bad = match (read, table) {
            (Err(fault), Some(table)) => {
                // One bad sector fails the whole span: read block by block what can be read.
                self.note_open(at.geometry.container, &open, &fault);
                self.note(at.geometry.container, shard, &fault);
                readable_blocks(&open, &table, first, &mut bytes, heartbeat)
            }
            (Err(fault), None) => {
                self.note_open(at.geometry.container, &open, &fault);
                return Err(fault);
            }
            (Ok(()), table) => {
                device.note_success();
                let bad = table.map(|table| table.differing(first, &bytes)).unwrap_or_default();
                for _ in &bad {
                    let counter = &self.damage.block_mismatches;
                    self.damage.shard(counter, at.geometry.container, shard, "block checksum differs");
                }
                bad
            }
        };
        let bad = bad.into_iter().filter_map(|block| usize::try_from(block - first).ok()).collect();
        Ok(Part { bytes, bad })
    }

    /// Reads and decodes the table of contents of a shard; on the device's thread.
    pub(crate) fn toc_here(
        &self,
        at: &Located,
        shard: u8,
        device: &Arc<Device>,
        heartbeat: &Heartbeat,
    ) -> Result<Toc, ShardFault> {
        let open = self.shard_here(at, shard, device, heartbeat)?;
        let raw = heartbeat.step(Step::Read).map_err(ShardFault::from).and_then(|()| open.file().toc());
        let raw = raw.inspect_err(|fault| self.note_open(at.geometry.container, &open, fault))?;
        Toc::decode(&raw).map_err(|_| ShardFault::Damaged("table of contents does not decode"))
    }

    fn table_here(&self, at: &Located, open: &OpenShard, heartbeat: &Heartbeat) -> Result<Arc<Table>, ShardFault> {
        let id = at.geometry.container;
        if let Some(table) = self.cache.table(id, open.file()) {
            return Ok(table);
        }
        let table = heartbeat.step(Step::Read).map_err(ShardFault::from).and_then(|()| open.file().table());
        let table = Arc::new(table.inspect_err(|fault| self.note_open(id, open, fault))?);
        self.cache.put_table(id, open.file(), Arc::clone(&table));
        Ok(table)
    }

    /// Returns an open shard that agrees with the container's geometry; on the device's thread.
    fn shard_here(
        &self,
        at: &Located,
        shard: u8,
        device: &Arc<Device>,
        heartbeat: &Heartbeat,
    ) -> Result<Arc<OpenShard>, ShardFault> {
        let open = self.open_here(at.geometry.container, at.pool, shard, device, heartbeat)?;
        if *open.file().geometry() == at.geometry {
            return Ok(open);
        }
        Err(ShardFault::Damaged("belongs to another writing of the container"))
    }

    /// Opens a shard, or takes it if it is open; on the device's thread.
    pub(crate) fn open_here(
        &self,
        id: ContainerId,
        pool: usize,
        shard: u8,
        device: &Arc<Device>,
        heartbeat: &Heartbeat,
    ) -> Result<Arc<OpenShard>, ShardFault> {
        if let Some(open) = self.cache.file(id, shard).filter(|open| Arc::ptr_eq(open.device(), device)) {
            return Ok(open);
        }
        let erasure = &self.pools.get(pool).ok_or(ShardFault::Missing)?.erasure;
        let name = ShardName::new(id, shard);
        let opened = heartbeat.step(Step::Open).map_err(ShardFault::from);
        let file = opened.and_then(|()| Ok(device.medium().open(name)?));
        match file.and_then(|file| ShardFile::check(file, name, erasure)) {
            Ok(file) => {
                device.note_success();
                let open = Arc::new(OpenShard::new(file, Arc::clone(device)));
                self.cache.put_file(id, shard, Arc::clone(&open));
                Ok(open)
            }
            Err(fault) => {
                match &fault {
                    ShardFault::Missing => device.note_not_found_here(),
                    ShardFault::Io(source) => device.note_error(source),
                    ShardFault::Damaged(_) => {}
                }
                Err(fault)
            }
        }
    }

    /// Closes a shard that could not be read.
    fn note_open(&self, id: ContainerId, open: &OpenShard, fault: &ShardFault) {
        self.cache.forget_file(id, open.file().shard());
        if let ShardFault::Io(source) = fault {
            open.device().note_error(source);
        }
    }

    /// Counts what is wrong with a shard.
    pub(crate) fn note(&self, id: ContainerId, shard: u8, fault: &ShardFault) {
        let damage = &self.damage;
        let (counter, what) = match fault {
            ShardFault::Missing => (&damage.missing_shards, "shard is missing"),
            ShardFault::Damaged(what) => (&damage.damaged_shards, *what),
            ShardFault::Io(_) => (&damage.device_errors, "device error"),
        };
        damage.shard(counter, id, shard, what);
    }
}

/// Reads block by block what can be read; returns the blocks that cannot.
fn readable_blocks(open: &OpenShard, table: &Table, first: u64, span: &mut [u8], heartbeat: &Heartbeat) -> Vec<u64> {
    let blocks = (first..).zip(span.chunks_mut(usize::try_from(BLOCK_BYTES).expect("64 KiB")));
    let bad = blocks.filter_map(|(block, bytes)| {
        let read = heartbeat.step(Step::Read).is_ok() && open.file().read_region(bytes, block * BLOCK_BYTES).is_ok();
        (!read || !table.matches(block, bytes)).then_some(block)
    });
    bad.collect()
}
