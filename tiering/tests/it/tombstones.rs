//! Promise 6, "deletions stay deleted": tombstones survive what the code survives.

use std::fs::{self, OpenOptions};
use std::io::Write;

use tiering::{Error, Store};

use crate::support::Rig;

fn texts(store: &Store) -> Vec<String> {
    let mut texts: Vec<String> =
        store.tombstones().unwrap().iter().map(|record| String::from_utf8(record.to_vec()).unwrap()).collect();
    texts.sort();
    texts
}

#[test]
fn tombstones_are_kept_once() {
    let rig = Rig::new("2+1", 3);
    let store = rig.open();
    assert!(texts(&store).is_empty());
    for record in ["one", "two", "one"] {
        store.add_tombstone(record.as_bytes()).unwrap();
    }
    assert_eq!(texts(&store), ["one", "two"]);
    assert_eq!(texts(&rig.open()), ["one", "two"]);
}

#[test]
fn torn_tails_and_lost_devices_lose_nothing() {
    let rig = Rig::new("2+1", 3);
    let store = rig.open();
    store.add_tombstone(b"one").unwrap();
    for device in 0..3 {
        let log = rig.device(device).join("tombstones.log");
        OpenOptions::new().append(true).open(log).unwrap().write_all(b"FRTS\x20\0\0\0torn").unwrap();
    }
    let store = Store::clone(&store);
    store.add_tombstone(b"two").unwrap();
    assert_eq!(texts(&store), ["one", "two"]);
    fs::remove_dir_all(rig.device(0)).unwrap();
    let store = rig.open();
    store.add_tombstone(b"three").unwrap();
    assert_eq!(texts(&store), ["one", "three", "two"]);
    fs::remove_file(rig.device(1).join("tombstones.log")).unwrap();
    assert_eq!(texts(&rig.open()), ["one", "three", "two"]);
}

#[test]
fn too_few_copies_are_an_error() {
    let rig = Rig::new("1+2", 3);
    let store = rig.open();
    fs::remove_dir_all(rig.device(0)).unwrap();
    let error = store.add_tombstone(b"one").unwrap_err();
    assert!(matches!(error, Error::TombstoneNotKept { copies: 2, needed: 3 }), "{error}");
}

#[test]
fn long_records_are_refused() {
    let store = Rig::new("1+0", 1).open();
    assert!(matches!(store.add_tombstone(&vec![0; 65_537]), Err(Error::TombstoneSize { .. })));
}
