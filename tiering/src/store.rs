//! The store: wires pools, catalog, reader, writer, verifier and tombstones together, and is the door to them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::catalog::Catalog;
use crate::damage::Damage;
use crate::keeper::Keeper;
use crate::options::StoreOptions;
use crate::pools::{self, Pools};
use crate::reader::cache::Cache;
use crate::reader::shards::Shards;
use crate::reader::{Checked, Reader, Wait};
use crate::surroundings::Ids;
use crate::tombstones::TombstoneNotes;
use crate::verifier::Verifier;
use crate::writer::ContainerWriter;
use crate::writer::creator::Creator;
use crate::{ContainerId, ContainerPlaces, DamageCounts, Error, PoolConfig, PoolStatus, Tier, Toc, Verification};

/// All pools. Cheap to clone; clones are the same store.
#[derive(Debug, Clone)]
pub struct Store {
    pools: Arc<Pools>,
    catalog: Arc<Catalog>,
    damage: Arc<Damage>,
    keeper: Arc<Keeper>,
    reader: Arc<Reader>,
    verifier: Arc<Verifier>,
    creator: Arc<Creator>,
    tombstones: Arc<TombstoneNotes>,
    ids: Arc<dyn Ids>,
    waiting_reads: Arc<Semaphore>,
}

impl Store {
    /// Opens the pools, making devices of directories on first use, and lists every shard by name. Blocks.
    ///
    /// A device that cannot be read is offline, not an error, unless its pool was never used: a first start needs all
    /// devices. What was a device of a used pool ([`StoreOptions::used_pools`]) and is absent or empty is offline too: its
    /// disk is not mounted. What a crash left half written is removed, so no other process may be writing.
    #[expect(clippy::needless_pass_by_value, reason = "options are made for one store")]
    pub fn open(pools: Vec<PoolConfig>, options: StoreOptions) -> Result<Self, Error> {
        let pools = Arc::new(pools::open(pools, &options)?);
        let (catalog, damage) = (Arc::<Catalog>::default(), Arc::<Damage>::default());
        let cache = Arc::new(Cache::new(&options));
        let (clock, answer_max) = (&options.clock, options.device_answer_max);
        let shards = Arc::new(Shards::new(
            Arc::clone(&pools),
            Arc::clone(&catalog),
            Arc::clone(&cache),
            Arc::clone(&damage),
            Arc::clone(clock),
            answer_max,
        ));
        let keeper = Keeper::new(Arc::clone(&pools), Arc::clone(&catalog), cache, Arc::clone(clock), answer_max);
        keeper.list_all();
        let (unit_bytes_max, free_bytes_min) = (options.unit_bytes_max, options.free_bytes_min);
        let creator = Creator::new(Arc::clone(&pools), Arc::clone(&catalog), unit_bytes_max, free_bytes_min);
        let waiting_reads = options.waiting_reads_max.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self {
            damage,
            keeper: Arc::new(keeper),
            reader: Arc::new(Reader::new(Arc::clone(&shards))),
            verifier: Arc::new(Verifier::new(shards)),
            creator: Arc::new(creator),
            tombstones: Arc::new(TombstoneNotes::new(Arc::clone(&pools))),
            ids: Arc::clone(&options.ids),
            waiting_reads: Arc::new(Semaphore::new(waiting_reads)),
            pools,
            catalog,
        })
    }

    /// Looks at every device: vanished ones go offline, returned ones online with their shards. Blocks.
    pub fn probe(&self) {
        self.keeper.probe();
    }

    /// Returns the state of all pools in the order of the configuration, with space as the devices last told it: when the
    /// store was opened, probed, or started a container.
    pub fn pools(&self) -> Vec<PoolStatus> {
        self.pools.status(&self.catalog)
    }

    /// Returns where every known container lies, including on devices that went offline.
    pub fn containers(&self) -> Vec<ContainerPlaces> {
        let named = self.catalog.all().into_iter().filter_map(|(id, entry)| {
            let config = &self.pools.get(entry.pool)?.config;
            Some(ContainerPlaces { id, pool: config.name.clone(), code: config.code, places: entry.places })
        });
        named.collect()
    }

    /// Starts a container in the pool of the tier that has most room. Blocks.
    pub fn create(&self, tier: Tier, planned_bytes: u64) -> Result<ContainerWriter, Error> {
        self.create_as(self.ids.container(), tier, planned_bytes)
    }

    /// Starts a container that has its name already, as one that moves between tiers. Blocks.
    pub fn create_as(&self, id: ContainerId, tier: Tier, planned_bytes: u64) -> Result<ContainerWriter, Error> {
        self.creator.create(id, tier, planned_bytes)
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
        self.waiting(move |reader| reader.read(id, range, checked, wait)).await
    }

    /// Reads a range as [`Store::read`] does if its shards are open and the kernel has the bytes, without waiting for a
    /// device.
    ///
    /// Returns nothing also when a checksum differs: [`Store::read`] then decodes what is damaged.
    pub fn read_now(&self, id: ContainerId, range: Range<u64>, checked: Checked) -> Option<Bytes> {
        match checked {
            Checked::Blocks => self.reader.read_verified_now(id, range),
            Checked::Crc(crc32c) => self.reader.read_checked_now(id, range, crc32c),
        }
    }

    /// Reads a range as [`Store::read`] does. Blocks.
    pub fn read_blocking(&self, id: ContainerId, range: Range<u64>, checked: Checked) -> Result<Bytes, Error> {
        self.reader.read(id, range, checked, Wait::IfNeeded)
    }

    /// Returns the table of contents from any shard that has a whole one. Changes nothing; may be dropped at any time.
    pub async fn toc(&self, id: ContainerId) -> Result<Toc, Error> {
        self.waiting(move |reader| reader.toc(id)).await
    }

    /// Reads and checks every byte of every shard, in bounded memory; changes nothing. Blocks.
    pub fn verify(&self, id: ContainerId) -> Result<Verification, Error> {
        self.verifier.verify(id)
    }

    /// Unlinks all shards of a container on devices that are online, durably. Blocks.
    ///
    /// Shards on devices that are offline are listed again when those return: remove such a container again then.
    pub fn remove(&self, id: ContainerId) -> Result<(), Error> {
        self.keeper.remove(id)
    }

    /// Keeps a record, durably, on every device; an error if too few took it to survive what the code survives. Blocks.
    ///
    /// After an error the record may be on some devices; add it again.
    pub fn add_tombstone(&self, record: &[u8]) -> Result<(), Error> {
        self.tombstones.add(record)
    }

    /// Returns the records of all devices that are online, each once. Blocks.
    pub fn tombstones(&self) -> Result<Vec<Bytes>, Error> {
        self.tombstones.list()
    }

    /// Returns what was found broken since the start.
    pub fn damage(&self) -> DamageCounts {
        self.damage.counts()
    }

    /// Runs a read that may wait for a device; at most `waiting_reads_max` run at one time.
    async fn waiting<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.waiting_reads).acquire_owned().await.map_err(|_| Error::Stopped)?;
        let reader = Arc::clone(&self.reader);
        let task = tokio::task::spawn_blocking(move || {
            let result = work(&reader);
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
