//! The store: pools of devices, what lies where, and the doors to it.

pub(crate) mod cache;
pub(crate) mod catalog;
mod create;
mod gather;
mod open;
mod read;
pub(crate) mod verify;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::damage::Damage;
use crate::device::Device;
use crate::device::gate::{Gate, OpenGate};
use crate::erasure::Erasure;
use crate::{
    ContainerId, ContainerPlaces, ContainerWriter, DamageCounts, DeviceId, DeviceStatus, Error, PoolConfig, PoolStatus,
    Tier, Toc, Verification,
};
use cache::Cache;
use catalog::Catalog;
use disk::Buffers;

/// Limits of the store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Largest unit of a new container, a multiple of 64 KiB; a writer holds k+m units in memory. 4 MiB.
    pub unit_bytes_max: u32,
    /// Shard files kept open. 4,096.
    pub files_max: usize,
    /// Checksum tables kept in memory, 64 bytes for each MiB of a shard. 1,024.
    pub tables_max: usize,
    /// Reads that wait for devices at one time. 64.
    pub waiting_reads_max: usize,
    /// Errors in a row after which a device is not used until it is probed. 8.
    pub device_errors_max: u32,
    /// Time for one step of work at a device - open, read or write a piece, flush - after which the device counts as hung and
    /// is not used until it answers. Long enough for a disk that spins up or has to retry. 30 s.
    pub device_answer_max: Duration,
    /// Bytes of each device that new containers leave free. 64 MiB.
    pub free_bytes_min: u64,
    /// What every step of work at a device passes first. Open.
    pub gate: Arc<dyn Gate>,
    /// Pools that have held containers, as the caller remembers them: so that disks that are not mounted are not taken for
    /// new ones. None.
    pub used_pools: Vec<UsedPool>,
}

/// A pool that has held containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedPool {
    /// Its name.
    pub name: String,
    /// Directories of its devices, as [`crate::DeviceStatus`] has them.
    pub devices: Vec<PathBuf>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            unit_bytes_max: 4 << 20,
            files_max: 4_096,
            tables_max: 1_024,
            waiting_reads_max: 64,
            device_errors_max: 8,
            device_answer_max: Duration::from_secs(30),
            free_bytes_min: 64 << 20,
            gate: Arc::new(OpenGate),
            used_pools: Vec::new(),
        }
    }
}

/// What proves that the bytes of a range are those that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// The container's own checksums of the 64 KiB blocks that the range lies in; those are read whole.
    Blocks,
    /// A CRC-32C of exactly this range, which the caller knows: no byte more is read unless it differs. If it differs, the
    /// blocks are read and verified, and the result is compared again.
    Crc(u32),
}

/// Whether a read tries the kernel's memory before it moves to a thread that may wait for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Tries the kernel's memory first, on the caller's thread.
    IfNeeded,
    /// Moves to a thread that may wait at once: one read call less for bytes that are seldom in memory, or that take
    /// longer to use than another thread takes to begin.
    AtOnce,
}

/// All pools. Cheap to clone; clones are the same store.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What clones of a [`Store`] and its writers share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: StoreOptions,
    pub(crate) pools: Vec<Pool>,
    pub(crate) catalog: RwLock<Catalog>,
    pub(crate) cache: Cache,
    pub(crate) damage: Damage,
    buffers: Arc<Buffers>,
    permits: Arc<Semaphore>,
}

/// One pool in use.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) config: PoolConfig,
    pub(crate) erasure: Erasure,
    pub(crate) devices: Vec<Arc<Device>>,
}

impl Pool {
    /// Returns a device that is in use.
    pub(crate) fn online(&self, id: DeviceId) -> Option<&Arc<Device>> {
        self.devices.iter().find(|device| device.id() == Some(id) && device.is_online())
    }
}

impl Store {
    /// Opens the pools, making devices of directories on first use, and lists every shard by name. Blocks.
    ///
    /// A device that cannot be read is offline, not an error, unless its pool was never used: a first start needs all
    /// devices. What was a device of a used pool ([`StoreOptions::used_pools`]) and is absent or empty is offline too: its
    /// disk is not mounted. What a crash left half written is removed, so no other process may be writing.
    pub fn open(pools: Vec<PoolConfig>, options: StoreOptions) -> Result<Self, Error> {
        let inner = Arc::new(Inner::open(pools, options)?);
        Ok(Self { inner })
    }

    /// Looks at every device: vanished ones go offline, returned ones online with their shards. Blocks.
    pub fn probe(&self) {
        self.inner.probe();
    }

    /// Returns the state of all pools in the order of the configuration, with space as the devices last told it: when the
    /// store was opened, probed, or started a container.
    pub fn pools(&self) -> Vec<PoolStatus> {
        self.inner.pools.iter().map(|pool| self.inner.pool_status(pool)).collect()
    }

    /// Returns where every known container lies, including on devices that went offline.
    pub fn containers(&self) -> Vec<ContainerPlaces> {
        let catalog = self.inner.catalog();
        let named = catalog.iter().filter_map(|(id, entry)| {
            let pool = self.inner.pools.get(entry.pool)?;
            let places = entry.places.clone();
            Some(ContainerPlaces { id, pool: pool.config.name.clone(), code: pool.config.code, places })
        });
        named.collect()
    }

    /// Starts a container in the pool of the tier that has most room. Blocks.
    pub fn create(&self, tier: Tier, planned_bytes: u64) -> Result<ContainerWriter, Error> {
        self.create_as(ContainerId::new(), tier, planned_bytes)
    }

    /// Starts a container that has its name already, as one that moves between tiers. Blocks.
    pub fn create_as(&self, id: ContainerId, tier: Tier, planned_bytes: u64) -> Result<ContainerWriter, Error> {
        create::create(&self.inner, id, tier, planned_bytes)
    }

    /// Reads a range, decoded from other shards where its own are damaged, missing or slow.
    ///
    /// Needs memory for the whole range: read a long one in parts. Changes nothing; may be dropped at any time.
    pub async fn read(&self, id: ContainerId, range: Range<u64>, checked: Checked, wait: Wait) -> Result<Bytes, Error> {
        if wait == Wait::IfNeeded
            && let Some(bytes) = self.read_now(id, range.clone(), checked)
        {
            return Ok(bytes);
        }
        self.waiting(move |inner| inner.read(id, range, checked, wait)).await
    }

    /// Reads a range as [`Store::read`] does if its shards are open and the kernel has the bytes, without waiting for a
    /// device.
    ///
    /// Returns nothing also when a checksum differs: [`Store::read`] then decodes what is damaged.
    pub fn read_now(&self, id: ContainerId, range: Range<u64>, checked: Checked) -> Option<Bytes> {
        match checked {
            Checked::Blocks => self.inner.read_verified_now(id, range),
            Checked::Crc(crc32c) => self.inner.read_checked_now(id, range, crc32c),
        }
    }

    /// Reads a range as [`Store::read`] does. Blocks.
    pub fn read_blocking(&self, id: ContainerId, range: Range<u64>, checked: Checked) -> Result<Bytes, Error> {
        self.inner.read(id, range, checked, Wait::IfNeeded)
    }

    /// Returns the table of contents from any shard that has a whole one. Changes nothing; may be dropped at any time.
    pub async fn toc(&self, id: ContainerId) -> Result<Toc, Error> {
        self.waiting(move |inner| inner.toc(id)).await
    }

    /// Reads and checks every byte of every shard, in bounded memory; changes nothing. Blocks.
    pub fn verify(&self, id: ContainerId) -> Result<Verification, Error> {
        self.inner.verify(id)
    }

    /// Unlinks all shards of a container on devices that are online, durably. Blocks.
    ///
    /// Shards on devices that are offline are listed again when those return: remove such a container again then.
    pub fn remove(&self, id: ContainerId) -> Result<(), Error> {
        self.inner.remove(id)
    }

    /// Keeps a record, durably, on every device; an error if too few took it to survive what the code survives. Blocks.
    ///
    /// After an error the record may be on some devices; add it again.
    pub fn add_tombstone(&self, record: &[u8]) -> Result<(), Error> {
        crate::tombstones::add(&self.inner, record)
    }

    /// Returns the records of all devices that are online, each once. Blocks.
    pub fn tombstones(&self) -> Result<Vec<Bytes>, Error> {
        crate::tombstones::list(&self.inner)
    }

    /// Returns what was found broken since the start.
    pub fn damage(&self) -> DamageCounts {
        self.inner.damage.counts()
    }

    /// Runs work that may wait for a device; at most `waiting_reads_max` run at one time.
    async fn waiting<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Inner>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.inner.permits).acquire_owned().await.map_err(|_| Error::Stopped)?;
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            let result = work(&inner);
            drop(permit);
            result
        });
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Stopped),
            },
        }
    }
}

impl Inner {
    /// Locks the catalog for reading; a panic elsewhere leaves it whole, since every change is one call.
    pub(crate) fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool_status(&self, pool: &Pool) -> PoolStatus {
        let catalog = self.catalog();
        let devices = pool.devices.iter().map(|device| {
            let online = device.is_online();
            let (total_bytes, free_bytes) = if online { device.space() } else { (0, 0) };
            let shards = device.id().map_or(0, |id| catalog.shards(id));
            let (hedges, timeouts) = device.slowness();
            let (path, id) = (device.path().to_owned(), device.id());
            DeviceStatus { path, id, online, total_bytes, free_bytes, shards, hedges, timeouts }
        });
        let devices = devices.collect();
        PoolStatus { name: pool.config.name.clone(), tier: pool.config.tier, code: pool.config.code, devices }
    }
}
