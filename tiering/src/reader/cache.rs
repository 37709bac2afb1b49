//! What reads keep in memory: bounded, and only ever a copy of what the shards say.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::ContainerId;
use crate::device::Device;
use crate::options::StoreOptions;
use crate::shard::file::{ShardFile, Table};
use crate::shard::footer::Geometry;

/// Containers whose geometry is kept, some 150 bytes each.
const LOCATED_MAX: usize = 65_536;

/// Where a container is read from and how it is laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    /// Index of the pool.
    pub(crate) pool: usize,
    /// What most of its shards agree on.
    pub(crate) geometry: Geometry,
}

/// An open shard and the device that it lies on.
#[derive(Debug)]
pub(crate) struct OpenShard {
    /// Absent only while this is dropped.
    file: Option<ShardFile>,
    device: Arc<Device>,
}

impl OpenShard {
    pub(crate) fn new(file: ShardFile, device: Arc<Device>) -> Self {
        Self { file: Some(file), device }
    }

    /// Returns the shard.
    pub(crate) fn file(&self) -> &ShardFile {
        self.file.as_ref().expect("only dropping takes the file")
    }

    /// Returns the device that it lies on.
    pub(crate) fn device(&self) -> &Arc<Device> {
        &self.device
    }
}

impl Drop for OpenShard {
    /// Closes the file on a thread of its device: closing can wait for the device.
    fn drop(&mut self) {
        let file = self.file.take();
        self.device.later(move |_| drop(file));
    }
}

/// The caches of a store.
#[derive(Debug)]
pub(crate) struct Cache {
    located: Mutex<LruCache<ContainerId, Located>>,
    files: Mutex<LruCache<(ContainerId, u8), Arc<OpenShard>>>,
    /// By the checksum of the table too, so that a shard of another generation never meets an old table.
    tables: Mutex<LruCache<(ContainerId, u8, u32), Arc<Table>>>,
}

impl Cache {
    /// Returns empty caches.
    pub(crate) fn new(options: &StoreOptions) -> Self {
        Self { located: sized(LOCATED_MAX), files: sized(options.files_max), tables: sized(options.tables_max) }
    }

    /// Returns where a container lies, if known.
    pub(crate) fn located(&self, id: ContainerId) -> Option<Located> {
        lock(&self.located).get(&id).copied()
    }

    /// Keeps where a container lies.
    pub(crate) fn put_located(&self, id: ContainerId, located: Located) {
        lock(&self.located).put(id, located);
    }

    /// Returns an open shard whose device is in use.
    pub(crate) fn file(&self, id: ContainerId, shard: u8) -> Option<Arc<OpenShard>> {
        lock(&self.files).get(&(id, shard)).filter(|open| open.device.is_online()).cloned()
    }

    /// Keeps an open shard.
    pub(crate) fn put_file(&self, id: ContainerId, shard: u8, open: Arc<OpenShard>) {
        lock(&self.files).put((id, shard), open);
    }

    /// Closes a shard.
    pub(crate) fn forget_file(&self, id: ContainerId, shard: u8) {
        lock(&self.files).pop(&(id, shard));
    }

    /// Forgets what shards said of containers, because more shards have come.
    pub(crate) fn forget_located(&self) {
        lock(&self.located).clear();
    }

    /// Closes all shards of devices that are not in use.
    pub(crate) fn forget_offline(&self) {
        let mut files = lock(&self.files);
        let closed: Vec<_> = files.iter().filter(|(_, open)| !open.device.is_online()).map(|(key, _)| *key).collect();
        for key in closed {
            files.pop(&key);
        }
    }

    /// Returns the checksum table of a shard, if known.
    pub(crate) fn table(&self, id: ContainerId, file: &ShardFile) -> Option<Arc<Table>> {
        lock(&self.tables).get(&(id, file.shard(), file.table_crc())).cloned()
    }

    /// Keeps the checksum table of a shard.
    pub(crate) fn put_table(&self, id: ContainerId, file: &ShardFile, table: Arc<Table>) {
        lock(&self.tables).put((id, file.shard(), file.table_crc()), table);
    }

    /// Forgets a container of so many shards.
    pub(crate) fn forget(&self, id: ContainerId, shards: u8) {
        lock(&self.located).pop(&id);
        for shard in 0..shards {
            self.forget_file(id, shard);
        }
    }
}

fn sized<K: std::hash::Hash + Eq, V>(entries: usize) -> Mutex<LruCache<K, V>> {
    Mutex::new(LruCache::new(NonZeroUsize::new(entries).unwrap_or(NonZeroUsize::MIN)))
}

/// Locks; a panic elsewhere leaves these caches whole, since every change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
