//! The containers on the devices, and whether the index may lack one of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tiering::{PoolConfig, Store};
use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::Error;
use crate::tasks::blocking;
use crate::used_pools::UsedPools;

/// The containers on the devices.
#[derive(Debug)]
pub(crate) struct Containers {
    store: Store,
    used_pools: Arc<UsedPools>,
    /// Tier by pool.
    tiers: HashMap<String, String>,
    /// The packer, the adopter and the verifier exclude each other.
    changes: Mutex<()>,
    /// A seal ended without an answer from the index, or devices came back.
    index_may_lack_one: AtomicBool,
    doubted: Notify,
}

impl Containers {
    /// Takes the store that was opened with these pools.
    pub(crate) fn new(store: Store, used_pools: UsedPools, pools: &[PoolConfig]) -> Self {
        let tiers = pools.iter().map(|pool| (pool.name.clone(), pool.tier.to_string())).collect();
        let (changes, index_may_lack_one) = (Mutex::default(), AtomicBool::new(false));
        let doubted = Notify::new();
        Self { store, used_pools: Arc::new(used_pools), tiers, changes, index_may_lack_one, doubted }
    }

    /// Returns the store.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the tier of a pool; empty for a pool that is not configured any more.
    pub(crate) fn tier_of(&self, pool: &str) -> String {
        self.tiers.get(pool).cloned().unwrap_or_default()
    }

    /// Waits until no other job makes, adopts or compares containers, and keeps the others out.
    pub(crate) async fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().await
    }

    /// Notes that the index may lack a container: the packer adopts it before it packs again.
    pub(crate) fn doubt_index(&self) {
        self.index_may_lack_one.store(true, Ordering::Relaxed);
        self.doubted.notify_one();
    }

    /// Waits until the index may lack a container.
    pub(crate) async fn in_doubt(&self) {
        self.doubted.notified().await;
    }

    /// Tells whether the index may lack a container, and takes the note back.
    pub(crate) fn take_doubt(&self) -> bool {
        self.index_may_lack_one.swap(false, Ordering::Relaxed)
    }

    /// Remembers the pools that have containers, durably: called before the index hears of a new container.
    pub(crate) async fn remember_pools(&self) -> Result<(), Error> {
        let (used_pools, store) = (Arc::clone(&self.used_pools), self.store.clone());
        blocking(move || used_pools.remember(&store)).await?
    }

    /// Looks which devices are there; notes that the index may lack a container when one came back.
    pub(crate) async fn probe(&self) -> Result<(), Error> {
        let store = self.store.clone();
        let came_back = blocking(move || {
            let before = online(&store);
            store.probe();
            online(&store) > before
        });
        if came_back.await? {
            self.doubt_index();
        }
        Ok(())
    }
}

fn online(store: &Store) -> usize {
    store.pools().iter().flat_map(|pool| &pool.devices).filter(|device| device.online).count()
}
