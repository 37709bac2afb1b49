//! Where every shard lies, in memory: learned by listing directories, never written anywhere.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::{ContainerId, DeviceId};

/// What one pool has of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Index of the pool.
    pub(crate) pool: usize,
    /// Shard number and device, in order; a copied disk can give one number two places.
    pub(crate) places: Vec<(u8, DeviceId)>,
}

/// All containers.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// A container is in two pools while it moves.
    containers: BTreeMap<ContainerId, Vec<Entry>>,
    shards: HashMap<DeviceId, u64>,
}

impl Catalog {
    /// Notes shards; noting one twice changes nothing.
    pub(crate) fn add(&self, pool: usize, device: DeviceId, shards: impl IntoIterator<Item = (ContainerId, u8)>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (container, shard) in shards {
            known.add(pool, device, container, shard);
        }
    }

    /// Forgets a shard.
    pub(crate) fn remove(&self, pool: usize, device: DeviceId, container: ContainerId, shard: u8) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(pool, device, container, shard);
    }

    /// Returns what the pools have of a container, the most shards first.
    pub(crate) fn find(&self, container: ContainerId) -> Vec<Entry> {
        let mut entries = self.read().containers.get(&container).cloned().unwrap_or_default();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.places.len()));
        entries
    }

    /// Returns the places of a container in one pool.
    pub(crate) fn places(&self, container: ContainerId, pool: usize) -> Vec<(u8, DeviceId)> {
        let known = self.read();
        let entries = known.containers.get(&container);
        let entry = entries.and_then(|entries| entries.iter().find(|entry| entry.pool == pool));
        entry.map(|entry| entry.places.clone()).unwrap_or_default()
    }

    /// Returns the number of shards on a device.
    pub(crate) fn shards(&self, device: DeviceId) -> u64 {
        self.read().shards.get(&device).copied().unwrap_or_default()
    }

    /// Returns all containers in order of name.
    pub(crate) fn all(&self) -> Vec<(ContainerId, Entry)> {
        let known = self.read();
        let all = known.containers.iter().flat_map(|(id, entries)| entries.iter().map(|entry| (*id, entry.clone())));
        all.collect()
    }

    /// Locks; a panic elsewhere leaves the catalog whole, since every change is one call.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn add(&mut self, pool: usize, device: DeviceId, container: ContainerId, shard: u8) {
        let entries = self.containers.entry(container).or_default();
        let index = entries.iter().position(|entry| entry.pool == pool).unwrap_or(entries.len());
        if index == entries.len() {
            entries.push(Entry { pool, places: Vec::new() });
        }
        let Some(entry) = entries.get_mut(index) else {
            return;
        };
        if let Err(at) = entry.places.binary_search(&(shard, device)) {
            entry.places.insert(at, (shard, device));
            *self.shards.entry(device).or_default() += 1;
        }
    }

    fn remove(&mut self, pool: usize, device: DeviceId, container: ContainerId, shard: u8) {
        let Some(entries) = self.containers.get_mut(&container) else {
            return;
        };
        for entry in entries.iter_mut().filter(|entry| entry.pool == pool) {
            if let Ok(at) = entry.places.binary_search(&(shard, device)) {
                entry.places.remove(at);
                self.shards.entry(device).and_modify(|shards| *shards = shards.saturating_sub(1));
            }
        }
        entries.retain(|entry| !entry.places.is_empty());
        if entries.is_empty() {
            self.containers.remove(&container);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn shards_come_and_go() {
        let (one, two, id) =
            (DeviceId(Uuid::from_u128(1)), DeviceId(Uuid::from_u128(2)), ContainerId(Uuid::from_u128(3)));
        let catalog = Catalog::default();
        catalog.add(0, two, [(id, 1)]);
        catalog.add(0, one, [(id, 0)]);
        catalog.add(0, one, [(id, 0)]);
        catalog.add(1, one, [(id, 0)]);
        assert_eq!(catalog.find(id)[0], Entry { pool: 0, places: vec![(0, one), (1, two)] });
        assert_eq!((catalog.shards(one), catalog.shards(two)), (2, 1));
        catalog.remove(0, one, id, 0);
        catalog.remove(1, one, id, 0);
        assert_eq!(catalog.shards(one), 0);
        catalog.remove(0, two, id, 1);
        assert!(catalog.find(id).is_empty() && catalog.all().is_empty());
    }
}
