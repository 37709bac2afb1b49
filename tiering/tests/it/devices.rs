//! Devices that come, go, are swapped, copied or misconfigured.

use std::fs;
use std::path::{Path, PathBuf};

use tiering::{CodeProfile, Error, PoolConfig, Store, StoreOptions, Tier};

use crate::support::{Rig, assert_readable, make, options};

const LENGTHS: [usize; 3] = [60_000, 200_000, 300_000];

fn online(store: &Store) -> Vec<bool> {
    store.pools()[0].devices.iter().map(|device| device.online).collect()
}

fn refusal(pools: Vec<PoolConfig>) -> String {
    Store::open(pools, options()).expect_err("the configuration is refused").to_string()
}

fn pool(name: &str, code: &str, devices: &[PathBuf]) -> PoolConfig {
    PoolConfig { name: name.to_owned(), tier: Tier::Hot, code: code.parse().unwrap(), devices: devices.to_vec() }
}

/// Moves a device's directory away and returns where it is.
fn take_away(rig: &Rig, device: usize) -> PathBuf {
    let away = rig.home.path().join(format!("away{device}"));
    fs::rename(rig.device(device), &away).unwrap();
    away
}

#[test]
fn a_device_that_vanishes_and_returns_is_noticed() {
    let rig = Rig::new("4+2", 6);
    let store = rig.open();
    let filled = make(&store, &LENGTHS);
    assert_readable(&store, &filled);
    // The devices of one data and one parity shard, so that reads miss them wherever they were placed.
    let shards = rig.shards(filled.sealed.id);
    let gone = [rig.device_of(&shards[1]), rig.device_of(&shards[5])];
    let away = gone.map(|device| take_away(&rig, device));
    assert_readable(&store, &filled); // open handles still read
    store.probe();
    let want: Vec<bool> = (0..6).map(|device| !gone.contains(&device)).collect();
    assert_eq!(online(&store), want);
    assert_readable(&store, &filled);
    assert!(store.damage().missing_shards > 0);
    assert!(matches!(store.create(Tier::Hot, 1_000), Err(Error::TooFewDevices { online: 4, needed: 6, .. })));
    for (device, path) in gone.into_iter().zip(&away) {
        fs::rename(path, rig.device(device)).unwrap();
    }
    store.probe();
    assert_eq!(online(&store), [true; 6]);
    assert!(store.verify(filled.sealed.id).unwrap().is_healthy());
    make(&store, &LENGTHS);
}

#[test]
fn a_device_that_vanishes_unnoticed_is_taken_out_by_the_first_miss() {
    let rig = Rig::new("2+1", 3);
    let filled = make(&rig.open(), &LENGTHS);
    let store = rig.open();
    take_away(&rig, 0);
    assert_readable(&store, &filled);
    assert_eq!(online(&store), [false, true, true]);
    assert!(!rig.device(0).exists(), "a vanished device is not made again");
}

#[test]
fn a_device_missing_at_the_start_is_offline_until_probed() {
    let rig = Rig::new("4+2", 6);
    let filled = make(&rig.open(), &LENGTHS);
    let away = take_away(&rig, 2);
    let store = rig.open();
    assert!(!online(&store)[2] && !rig.device(2).exists());
    assert_eq!(store.pools()[0].devices[2].id, None);
    assert_readable(&store, &filled);
    fs::rename(away, rig.device(2)).unwrap();
    store.probe();
    assert!(online(&store)[2]);
    assert!(store.verify(filled.sealed.id).unwrap().is_healthy());
    assert_eq!(store.containers()[0].places.len(), 6);
}

#[test]
fn an_empty_directory_in_place_of_a_disk_becomes_a_new_device() {
    let rig = Rig::new("4+2", 6);
    let store = rig.open();
    let filled = make(&store, &LENGTHS);
    let before = store.pools()[0].devices[3].id;
    drop(store);
    take_away(&rig, 3);
    fs::create_dir(rig.device(3)).unwrap();
    let store = rig.open();
    assert!(online(&store)[3]);
    assert_ne!(store.pools()[0].devices[3].id, before);
    assert_readable(&store, &filled);
    make(&store, &LENGTHS);
}

#[test]
fn a_mount_point_without_its_disk_is_never_written_to() {
    let rig = Rig::new("2+1", 3);
    let store = rig.open();
    take_away(&rig, 0);
    fs::create_dir(rig.device(0)).unwrap();
    assert!(matches!(store.create(Tier::Hot, 1_000), Err(Error::Io { .. })));
    assert!(fs::read_dir(rig.device(0)).unwrap().next().is_none());
    assert_eq!(online(&store), [false, true, true]);
}

#[test]
fn a_mount_point_without_its_disk_takes_no_tombstone() {
    let rig = Rig::new("2+1", 3);
    let store = rig.open();
    take_away(&rig, 0);
    fs::create_dir(rig.device(0)).unwrap();
    store.add_tombstone(b"x").unwrap();
    assert!(fs::read_dir(rig.device(0)).unwrap().next().is_none());
    assert_eq!(online(&store), [false, true, true]);
}

#[test]
fn a_damaged_identity_takes_only_its_device_out() {
    let rig = Rig::new("2+1", 3);
    let filled = make(&rig.open(), &LENGTHS);
    let json = rig.device(1).join("device.json");
    let whole = fs::read_to_string(&json).unwrap();
    fs::write(&json, whole.replace("filmroom-device", "filmroom+device")).unwrap();
    let store = rig.open();
    assert_eq!(online(&store), [true, false, true]);
    assert_readable(&store, &filled);
    fs::remove_file(&json).unwrap();
    assert_eq!(online(&rig.open()), [true, false, true], "shards without an identity are not a new device");
    fs::write(&json, whole).unwrap();
    assert_eq!(online(&rig.open()), [true; 3]);
}

#[test]
fn the_first_start_needs_every_device() {
    let rig = Rig::new("2+1", 3);
    fs::write(rig.device(1), b"a file").unwrap();
    let error = rig.try_open().unwrap_err();
    assert!(matches!(&error, Error::Device { path, .. } if path == rig.device(1)), "{error}");
}

#[test]
fn an_interrupted_first_start_is_finished() {
    let rig = Rig::new("2+1", 3);
    drop(rig.open());
    fs::remove_dir_all(rig.device(1)).unwrap();
    fs::remove_file(rig.device(2).join("device.json")).unwrap();
    assert_eq!(online(&rig.open()), [true; 3]);
}

#[test]
fn codes_that_bypass_their_parser_are_refused() {
    let rig = Rig::new("2+1", 3);
    let code = CodeProfile { data_shards: 0, parity_shards: 1 };
    assert!(refusal(vec![PoolConfig { code, ..rig.pool.clone() }]).contains("no data shard"));
}

#[test]
fn a_copied_disk_is_refused() {
    let rig = Rig::new("2+1", 3);
    drop(rig.open());
    fs::copy(rig.device(0).join("device.json"), rig.device(2).join("device.json")).unwrap();
    let error = rig.try_open().unwrap_err().to_string();
    assert!(error.contains("the same device as") && error.contains("configure one"), "{error}");
}

#[test]
fn another_disk_in_a_devices_place_stays_out() {
    let rig = Rig::new("2+1", 4);
    let store = rig.open();
    fs::remove_file(rig.device(0).join("device.json")).unwrap();
    fs::copy(rig.device(1).join("device.json"), rig.device(0).join("device.json")).unwrap();
    store.probe();
    assert_eq!(online(&store), [false, true, true, true]);
}

#[test]
fn a_device_of_another_pool_or_code_is_refused() {
    let rig = Rig::new("2+1", 3);
    drop(rig.open());
    let devices = &rig.pool.devices;
    assert!(refusal(vec![pool("cold", "2+1", devices)]).contains("belongs to pool hot"));
    assert!(refusal(vec![pool("hot", "1+2", devices)]).contains("was made with code 2+1"));
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    let rig = Rig::new("2+1", 3);
    let devices = &rig.pool.devices;
    let s3 = [PathBuf::from("s3://bucket/a"), devices[0].clone(), devices[1].clone()];
    assert!(refusal(vec![pool("a", "2+1", &s3)]).contains("object stores are not supported yet"));
    assert!(refusal(vec![pool("a", "4+2", devices)]).contains("has 3 devices, code 4+2 needs 6"));
    assert!(refusal(vec![pool("a", "2+1", devices), pool("b", "2+1", devices)]).contains("is there twice"));
    assert!(
        refusal(vec![pool("a", "1+0", &devices[..1]), pool("a", "1+0", &devices[1..2])])
            .contains("pool a is there twice")
    );
    assert!(devices.iter().all(|device| !device.exists()), "a refused configuration changes nothing");
}

#[test]
fn units_that_are_not_whole_blocks_are_refused() {
    let rig = Rig::new("1+0", 1);
    for unit_bytes_max in [0, 1_000, 65_537, 128 << 20] {
        let options = StoreOptions { unit_bytes_max, ..options() };
        assert!(matches!(Store::open(vec![rig.pool.clone()], options), Err(Error::Config { .. })), "{unit_bytes_max}");
    }
}

#[test]
fn file_urls_are_paths() {
    let rig = Rig::new("1+0", 1);
    let url = PathBuf::from(format!("file://{}", rig.device(0).display()));
    let store = Store::open(vec![pool("hot", "1+0", &[url])], options()).unwrap();
    make(&store, &LENGTHS);
    assert_eq!(store.pools()[0].devices[0].path, rig.device(0));
}

#[test]
fn room_that_is_not_there_is_refused() {
    let rig = Rig::new("2+1", 3);
    let store = rig.open();
    assert!(matches!(store.create(Tier::Hot, 1 << 60), Err(Error::NoRoom { tier: Tier::Hot, .. })));
    assert!(matches!(store.create(Tier::Hot, u64::MAX), Err(Error::NoRoom { .. })));
    assert!(matches!(store.create(Tier::Cold, 1), Err(Error::NoPool { tier: Tier::Cold })));
}

#[test]
fn room_promised_to_one_container_is_not_promised_to_another() {
    let rig = Rig::new("1+0", 1);
    let store = rig.open();
    let free = store.pools()[0].devices[0].free_bytes;
    let planned = free / 3 * 2;
    let writer = store.create(Tier::Hot, planned).unwrap();
    assert!(matches!(store.create(Tier::Hot, planned), Err(Error::NoRoom { .. })));
    drop(writer);
    store.create(Tier::Hot, planned).unwrap();
}

#[test]
fn status_tells_pools_and_shards() {
    let rig = Rig::new("2+1", 4);
    let store = rig.open();
    for _ in 0..4 {
        make(&store, &LENGTHS);
    }
    let status = &store.pools()[0];
    assert_eq!((status.name.as_str(), status.tier, status.code), ("hot", Tier::Hot, CodeProfile::new(2, 1).unwrap()));
    assert_eq!(status.devices.iter().map(|device| device.shards).sum::<u64>(), 12);
    assert!(status.devices.iter().all(|device| device.total_bytes >= device.free_bytes && device.free_bytes > 0));
    for container in store.containers() {
        let mut devices: Vec<_> = container.places.iter().map(|(_, device)| *device).collect();
        devices.sort();
        devices.dedup();
        assert_eq!(devices.len(), 3, "each shard has its own device");
    }
    let reopened = rig.open();
    assert_eq!(format!("{:?}", reopened.containers()), format!("{:?}", store.containers()));
    assert!(Path::new(rig.device(0)).join("device.json").exists());
}

/// Opens the pool as one that has held containers on all its devices.
fn open_used(rig: &Rig, devices: &[PathBuf]) -> Store {
    let used = tiering::UsedPool { name: rig.pool.name.clone(), devices: devices.to_vec() };
    Store::open(vec![rig.pool.clone()], StoreOptions { used_pools: vec![used], ..options() }).unwrap()
}

#[test]
fn a_used_pool_without_any_of_its_disks_is_not_made_anew() {
    for (absent, moved) in [(false, false), (true, false), (false, true)] {
        let mut rig = Rig::new("2+1", 3);
        let filled = make(&rig.open(), &LENGTHS);
        let away = [0, 1, 2].map(|device| take_away(&rig, device));
        if !absent {
            (0..3).for_each(|device| fs::create_dir(rig.device(device)).unwrap());
        }
        let known = rig.pool.devices.clone();
        if moved {
            rig.pool.devices = (0..3).map(|number| rig.home.path().join(format!("new{number}"))).collect();
            rig.pool.devices.iter().for_each(|path| fs::create_dir(path).unwrap());
        }
        let store = open_used(&rig, &known);
        assert_eq!(online(&store), [false; 3]);
        assert!(rig.pool.devices.iter().all(|path| !path.join("device.json").exists()));
        assert!(matches!(store.create(Tier::Hot, 1_000), Err(Error::TooFewDevices { online: 0, .. })));
        for (path, device) in away.iter().zip(&rig.pool.devices) {
            fs::remove_dir(device).ok();
            fs::rename(path, device).unwrap();
        }
        store.probe();
        assert_eq!(online(&store), [true; 3]);
        assert_readable(&store, &filled);
    }
}

#[test]
fn an_empty_mount_point_of_a_used_pool_stays_empty_and_a_new_path_is_taken() {
    let mut rig = Rig::new("2+1", 3);
    let filled = make(&rig.open(), &LENGTHS);
    let known = rig.pool.devices.clone();
    take_away(&rig, 1);
    fs::create_dir(rig.device(1)).unwrap();
    rig.pool.devices.push(rig.home.path().join("d3"));
    fs::create_dir(rig.device(3)).unwrap();
    let store = open_used(&rig, &known);
    assert_eq!(online(&store), [true, false, true, true]);
    assert!(fs::read_dir(rig.device(1)).unwrap().next().is_none());
    assert_readable(&store, &filled);
    make(&store, &LENGTHS);
}
