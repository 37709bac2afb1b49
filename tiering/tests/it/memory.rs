//! Stores on media in memory that fail as they are told: what a crash, a torn note, rot, a full, stale, read-only or absent
//! medium leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tiering::{
    ContainerId, DeviceId, Error, Ids, MemoryMedium, PoolConfig, ShardName, Store, StoreOptions, Tier, Toc, Verdict,
};
use uuid::Uuid;

use crate::support::{Filled, assert_readable, fill, make, options, pattern, read_of};

const LENGTHS: [usize; 3] = [60_000, 200_000, 300_000];
const CAPACITY_BYTES: u64 = 64 << 20;

/// Names by number, so that the same containers go to the same devices in every run.
#[derive(Debug, Default)]
struct CountedIds(AtomicU64);

impl CountedIds {
    fn next(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1_000)
    }
}

impl Ids for CountedIds {
    fn container(&self) -> ContainerId {
        ContainerId(self.next())
    }

    fn device(&self) -> DeviceId {
        DeviceId(self.next())
    }
}

/// A pool of devices in memory.
struct MemoryRig {
    pool: PoolConfig,
    media: Vec<MemoryMedium>,
    ids: Arc<CountedIds>,
}

impl MemoryRig {
    fn new(code: &str, devices: u64, seed: u64) -> Self {
        let media: Vec<MemoryMedium> = (0..devices)
            .map(|number| MemoryMedium::new(&format!("d{number}"), CAPACITY_BYTES, seed * 100 + number))
            .collect();
        let devices = media.iter().map(|medium| medium.label().to_owned()).collect();
        let pool = PoolConfig { name: "hot".to_owned(), tier: Tier::Hot, code: code.parse().unwrap(), devices };
        Self { pool, media, ids: Arc::default() }
    }

    fn open(&self) -> Store {
        let options =
            StoreOptions { memory: self.media.clone(), ids: Arc::<CountedIds>::clone(&self.ids), ..options() };
        Store::open(vec![self.pool.clone()], options).unwrap()
    }

    /// Cuts the power of the whole machine.
    fn crash(&mut self) {
        self.media = self.media.iter().map(MemoryMedium::crash).collect();
    }

    /// Returns the medium that a shard lies on, by the order of the configuration.
    fn medium_of(&self, store: &Store, filled: &Filled, shard: u8) -> &MemoryMedium {
        let (_, id) = filled.sealed.shards.iter().find(|(number, _)| *number == shard).unwrap();
        let devices = &store.pools()[0].devices;
        &self.media[devices.iter().position(|device| device.id == Some(*id)).unwrap()]
    }
}

fn name(filled: &Filled, shard: u8) -> ShardName {
    ShardName::new(filled.sealed.id, shard)
}

#[test]
fn a_store_in_memory_keeps_what_is_sealed_over_a_crash_and_nothing_half_written() {
    for seed in 0..20 {
        let mut rig = MemoryRig::new("4+2", 6, seed);
        let store = rig.open();
        let filled = make(&store, &LENGTHS);
        store.add_tombstone(b"gone").unwrap();
        let mut half = store.create(Tier::Hot, 1 << 20).unwrap();
        half.append(&pattern(1, 900_000)).unwrap();
        let half_id = half.id();
        rig.crash();
        drop((half, store));
        let store = rig.open();
        assert_readable(&store, &filled);
        assert!(store.verify(filled.sealed.id).unwrap().is_healthy(), "seed {seed}");
        assert_eq!(store.tombstones().unwrap(), [b"gone".as_slice()]);
        assert!(matches!(read_of(&store, half_id, 0..1), Err(Error::Missing { .. })));
        assert!(rig.media.iter().all(|medium| medium.staged().is_empty()));
        make(&store, &LENGTHS);
    }
}

#[test]
fn the_same_seed_crashes_in_the_same_way() {
    let left = |seed| {
        let mut rig = MemoryRig::new("2+1", 3, seed);
        let store = rig.open();
        let id = ContainerId(Uuid::from_u128(5));
        let mut half = store.create_as(id, Tier::Hot, 1 << 20).unwrap();
        half.append(&pattern(1, 400_000)).unwrap();
        rig.crash();
        drop((half, store));
        rig.media.iter().map(|medium| format!("{:?}", medium.staged())).collect::<Vec<_>>()
    };
    assert_eq!(left(1), left(1));
}

#[test]
fn rot_and_misdirected_writes_are_found_and_survived() {
    let rig = MemoryRig::new("4+2", 6, 3);
    let store = rig.open();
    let filled = make(&store, &LENGTHS);
    let other = make(&store, &LENGTHS);
    assert!(rig.medium_of(&store, &filled, 1).rot(name(&filled, 1)).is_some());
    let target = rig.medium_of(&store, &filled, 4);
    let from = other.sealed.shards.iter().map(|(shard, _)| name(&other, *shard));
    assert!(from.into_iter().any(|from| target.misdirect(from, name(&filled, 4))));
    drop(store);
    let store = rig.open();
    let verification = store.verify(filled.sealed.id).unwrap();
    assert!(verification.recoverable);
    for shard in &verification.shards {
        let damaged = matches!(shard.verdict, Verdict::Damaged { .. });
        assert_eq!(damaged, [1, 4].contains(&shard.number), "{shard:?}");
    }
    assert_readable(&store, &filled);
    assert_readable(&store, &other);
}

#[test]
fn lost_shards_and_absent_devices_are_read_around() {
    let rig = MemoryRig::new("4+2", 6, 4);
    let store = rig.open();
    let filled = make(&store, &LENGTHS);
    assert!(rig.medium_of(&store, &filled, 0).lose(name(&filled, 0)));
    let gone = rig.medium_of(&store, &filled, 5);
    gone.vanish();
    store.probe();
    assert_eq!(store.pools()[0].devices.iter().filter(|device| device.online).count(), 5);
    assert_readable(&store, &filled);
    assert!(matches!(store.create(Tier::Hot, 1_000), Err(Error::TooFewDevices { online: 5, needed: 6, .. })));
    gone.come_back();
    store.probe();
    let verification = store.verify(filled.sealed.id).unwrap();
    assert_eq!(verification.shards.iter().filter(|shard| shard.verdict != Verdict::Healthy).count(), 1);
}

#[test]
fn a_full_or_read_only_device_fails_a_container_and_serves_reads() {
    let rig = MemoryRig::new("2+1", 3, 5);
    let store = rig.open();
    let filled = make(&store, &LENGTHS);
    let mut writer = store.create(Tier::Hot, 1 << 20).unwrap();
    rig.media[1].set_capacity(1 << 20);
    let failed = (0..40).find_map(|seed| writer.append(&pattern(seed, 900_000)).err()).unwrap();
    assert!(matches!(failed, Error::NoRoom { .. }), "{failed:?}");
    drop(writer);
    rig.media[1].set_capacity(CAPACITY_BYTES);
    rig.media[2].set_read_only(true);
    assert!(matches!(store.create(Tier::Hot, 1_000).and_then(|w| w.seal(&Toc::default())), Err(Error::Io { .. })));
    assert_readable(&store, &filled);
    rig.media[2].set_read_only(false);
    assert_readable(&store, &make(&store, &LENGTHS));
}

#[test]
fn a_torn_tombstone_costs_only_itself() {
    let rig = MemoryRig::new("2+1", 3, 6);
    let store = rig.open();
    store.add_tombstone(b"one").unwrap();
    rig.media[0].tear_next_append();
    store.add_tombstone(b"two").unwrap();
    rig.media.iter().for_each(MemoryMedium::tear_next_append);
    assert!(matches!(store.add_tombstone(b"three"), Err(Error::TombstoneNotKept { copies: 0, needed: 2 })));
    store.add_tombstone(b"four").unwrap();
    let mut texts = rig.open().tombstones().unwrap();
    texts.sort();
    assert_eq!(texts, [b"four".as_slice(), b"one", b"two"]);
}

#[test]
fn a_device_that_comes_back_from_the_past_is_outvoted() {
    let rig = MemoryRig::new("2+1", 3, 7);
    let store = rig.open();
    let id = ContainerId(Uuid::from_u128(0x77));
    let before = fill(store.create_as(id, Tier::Hot, 1 << 20).unwrap(), &[1_000]);
    let old = rig.medium_of(&store, &before, 1);
    let then = old.snapshot();
    store.remove(id).unwrap();
    let filled = fill(store.create_as(id, Tier::Hot, 1 << 20).unwrap(), &LENGTHS);
    drop(store);
    old.go_back(&then);
    let store = rig.open();
    assert_readable(&store, &filled);
    let verification = store.verify(id).unwrap();
    assert!(verification.recoverable && !verification.is_healthy());
}

#[test]
fn a_memory_medium_that_no_option_has_is_refused() {
    let rig = MemoryRig::new("1+0", 1, 8);
    let error = Store::open(vec![rig.pool.clone()], options()).unwrap_err().to_string();
    assert!(error.contains("is not among the media in memory"), "{error}");
}
