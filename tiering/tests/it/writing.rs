//! Writing containers: what is appended, what a crash or error leaves, what removal leaves.

use std::fs;
use std::io::{self, Read};

use tiering::{Error, Store, StoreOptions, Tier, Toc};

use crate::support::{Rig, assert_readable, make, options, pattern, read_of, toc_of};

#[test]
fn sealed_tells_what_was_stored() {
    let rig = Rig::new("4+2", 7);
    let filled = make(&rig.open(), &[100_000, 200_000, 5]);
    let stored: u64 = rig.shards(filled.sealed.id).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(filled.sealed.stored_bytes, stored);
    assert_eq!(filled.sealed.shards.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert_eq!((filled.sealed.pool.as_str(), filled.sealed.code.to_string().as_str()), ("hot", "4+2"));
}

#[test]
fn an_empty_container_can_be_sealed() {
    let rig = Rig::new("2+1", 3);
    let sealed = rig.open().create(Tier::Hot, 0).unwrap().seal(&Toc::default()).unwrap();
    let store = rig.open();
    assert_eq!(toc_of(&store, sealed.id).unwrap(), Toc::default());
    assert!(read_of(&store, sealed.id, 0..0).unwrap().is_empty());
    assert!(store.verify(sealed.id).unwrap().is_healthy());
}

#[test]
fn more_than_was_planned_fits() {
    let rig = Rig::new("4+2", 6);
    let store = rig.open();
    let filled = crate::support::fill(store.create(Tier::Hot, 1_000).unwrap(), &[400_000, 700_000, 1]);
    assert_readable(&store, &filled);
}

#[test]
fn a_source_is_appended_in_pieces() {
    let rig = Rig::new("2+1", 3);
    let options = StoreOptions { unit_bytes_max: 1 << 20, ..options() };
    let store = Store::open(vec![rig.pool.clone()], options).unwrap();
    let mut writer = store.create(Tier::Hot, 8 << 20).unwrap();
    let bytes = pattern(9, 3_333_333);
    assert_eq!(writer.append(&vec![7; 700_000]).unwrap(), 0);
    // Larger than 512 KiB: not padded, so it begins where the last ended.
    assert_eq!(writer.append_from(3_333_333, &mut bytes.as_slice().chain(io::repeat(1))).unwrap(), 700_000);
    assert_eq!(writer.logical_bytes(), 4_033_333);
    let at = writer.append_from(400_000, &mut io::repeat(2)).unwrap();
    assert_eq!(at, 4 << 20, "padded to the next unit");
    let sealed = writer.seal(&Toc::default()).unwrap();
    assert!(read_of(&store, sealed.id, 700_000..4_033_333).unwrap() == bytes);
    assert!(read_of(&store, sealed.id, at..at + 400_000).unwrap() == vec![2; 400_000]);
}

#[test]
fn a_source_that_ends_early_spoils_the_container() {
    let rig = Rig::new("2+1", 3);
    let store = rig.open();
    let mut writer = store.create(Tier::Hot, 1_000).unwrap();
    assert!(matches!(writer.append_from(10, &mut [1; 9].as_slice()), Err(Error::Source { .. })));
    assert!(matches!(writer.append(&[1]), Err(Error::WriterFailed { .. })));
    assert!(matches!(writer.seal(&Toc::default()), Err(Error::WriterFailed { .. })));
    assert!(store.containers().is_empty());
    assert_eq!(rig.files().len(), 3, "only device.json is left");
}

#[test]
fn a_dropped_writer_leaves_nothing() {
    let rig = Rig::new("4+2", 6);
    let store = rig.open();
    let mut writer = store.create(Tier::Hot, 1 << 20).unwrap();
    writer.append(&pattern(1, 1_000_000)).unwrap();
    assert_eq!(rig.files().len(), 12);
    let id = writer.id();
    drop(writer);
    assert_eq!(rig.files().len(), 6, "only device.json is left");
    assert!(matches!(read_of(&store, id, 0..1), Err(Error::Missing { .. })));
}

#[test]
fn what_a_crash_leaves_is_swept() {
    let rig = Rig::new("2+1", 3);
    let filled = make(&rig.open(), &[1_000]);
    let shards = rig.shards(filled.sealed.id);
    let leftovers: Vec<_> = shards.iter().map(|path| path.with_extension("fshard.tmp")).collect();
    for path in &leftovers {
        fs::write(path, b"half").unwrap();
    }
    fs::write(shards[0].with_file_name("not-ours.txt"), b"kept").unwrap();
    let store = rig.open();
    assert!(leftovers.iter().all(|path| !path.exists()));
    assert_eq!(store.containers().len(), 1);
    assert!(shards[0].with_file_name("not-ours.txt").exists());
    assert_readable(&store, &filled);
}

#[test]
fn a_crash_between_the_names_leaves_a_container_that_is_listed() {
    let rig = Rig::new("4+2", 6);
    let filled = make(&rig.open(), &[1_000]);
    let shards = rig.shards(filled.sealed.id);
    // As if only two shards had got their names: an orphan, for the archive to remove.
    shards[2..].iter().for_each(|path| fs::remove_file(path).unwrap());
    let store = rig.open();
    assert_eq!(store.containers()[0].places.len(), 2);
    store.remove(filled.sealed.id).unwrap();
    assert_eq!(rig.files().len(), 6);
}

#[test]
fn a_device_lost_while_writing_fails_the_seal_and_not_the_next() {
    let rig = Rig::new("4+2", 7);
    let store = rig.open();
    let mut writer = store.create(Tier::Hot, 1 << 20).unwrap();
    writer.append(&pattern(1, 900_000)).unwrap();
    let path = rig.files().into_iter().find(|path| path.extension().is_some_and(|end| end == "tmp")).unwrap();
    let lost = rig.device_of(&path);
    fs::rename(rig.device(lost), rig.home.path().join("away")).unwrap();
    let id = writer.id();
    assert!(writer.seal(&Toc::default()).is_err());
    assert!(matches!(read_of(&store, id, 0..1), Err(Error::Missing { .. })));
    let shards = rig.shards(id);
    assert!(shards.iter().all(|path| path.starts_with(rig.home.path().join("away"))), "{shards:?}");
    store.probe();
    let filled = make(&store, &[900_000]);
    assert_readable(&store, &filled);
}

#[test]
fn a_name_that_is_taken_is_never_overwritten() {
    let rig = Rig::new("2+1", 3);
    let store = rig.open();
    let filled = make(&store, &[1_000]);
    let mut writer = store.create_as(filled.sealed.id, Tier::Hot, 10).unwrap();
    writer.append(b"other").unwrap();
    assert!(writer.seal(&Toc::default()).is_err());
    assert_readable(&rig.open(), &filled);
}

#[test]
fn removed_containers_are_gone() {
    let rig = Rig::new("4+2", 6);
    let store = rig.open();
    let (kept, filled) = (make(&store, &[1_000]), make(&store, &[2_000]));
    assert_readable(&store, &filled);
    store.remove(filled.sealed.id).unwrap();
    assert!(rig.shards(filled.sealed.id).is_empty());
    assert!(matches!(read_of(&store, filled.sealed.id, 0..1), Err(Error::Missing { .. })));
    assert!(matches!(toc_of(&store, filled.sealed.id), Err(Error::Missing { .. })));
    assert!(matches!(store.verify(filled.sealed.id), Err(Error::Missing { .. })));
    assert!(matches!(store.remove(filled.sealed.id), Err(Error::Missing { .. })));
    assert_readable(&store, &kept);
    assert_eq!(store.pools()[0].devices.iter().map(|device| device.shards).sum::<u64>(), 6);
}
