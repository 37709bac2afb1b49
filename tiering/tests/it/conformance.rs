//! What every medium owes its device, tried on each kind of medium by the same cases.

use std::io;

use tempfile::TempDir;
use tiering::{ContainerId, DirectoryMedium, Medium, MemoryMedium, Note, Presence, ShardName};
use uuid::Uuid;

/// More than any note here has.
const NOTE_BYTES_MAX: u64 = 1 << 20;

/// A medium that was made ready, and what keeps it there.
struct Case {
    medium: Medium,
    _home: Option<TempDir>,
}

fn directory() -> Case {
    let home = tempfile::tempdir().unwrap();
    let medium = Medium::Directory(DirectoryMedium::new(home.path().join("device")));
    Case { medium, _home: Some(home) }
}

fn memory() -> Case {
    Case { medium: Medium::Memory(MemoryMedium::new("device", 1 << 30, 7)), _home: None }
}

/// Runs a case on every kind of medium, made ready.
fn on_every_medium(case: impl Fn(&Medium)) {
    for made in [directory(), memory()] {
        made.medium.prepare().unwrap();
        case(&made.medium);
    }
}

fn name(container: u128, shard: u8) -> ShardName {
    ShardName::new(ContainerId(Uuid::from_u128(container)), shard)
}

/// Writes a shard up to its durable name.
fn put(medium: &Medium, name: ShardName, bytes: &[u8]) {
    let mut stage = medium.stage(name).unwrap();
    stage.write(bytes, 0).unwrap();
    stage.flush().unwrap();
    drop(stage);
    medium.publish(name).unwrap();
    medium.flush_name(name).unwrap();
}

fn read(medium: &Medium, name: ShardName) -> io::Result<Vec<u8>> {
    let file = medium.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.bytes()?).unwrap()];
    file.read(&mut bytes, 0)?;
    Ok(bytes)
}

fn list(medium: &Medium, sweep: bool) -> Vec<ShardName> {
    let mut names = medium.list(sweep, || Ok(())).unwrap();
    names.sort();
    names
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().expect("it fails").kind()
}

#[test]
fn a_shard_is_seen_once_it_is_published() {
    on_every_medium(|medium| {
        let shard = name(1, 3);
        let mut stage = medium.stage(shard).unwrap();
        stage.write(b"head", 0).unwrap();
        stage.write(b"tail", 4).unwrap();
        stage.flush().unwrap();
        assert!(list(medium, false).is_empty());
        assert_eq!(kind(medium.open(shard)), io::ErrorKind::NotFound);
        medium.publish(shard).unwrap();
        medium.flush_name(shard).unwrap();
        assert_eq!(list(medium, false), [shard]);
        assert_eq!(read(medium, shard).unwrap(), b"headtail");
    });
}

#[test]
fn ranges_are_read_exactly_and_not_beyond_the_end() {
    on_every_medium(|medium| {
        put(medium, name(1, 0), b"0123456789");
        for file in [medium.open(name(1, 0)).unwrap(), medium.open_uncached(name(1, 0)).unwrap()] {
            file.forget_cached();
            let mut out = [0; 4];
            file.read(&mut out, 6).unwrap();
            assert_eq!(&out, b"6789");
            file.read_uncached(&mut out, 2).unwrap();
            assert_eq!(&out, b"2345");
            assert_eq!(kind(file.read(&mut out, 7)), io::ErrorKind::UnexpectedEof);
            assert_eq!(kind(file.read(&mut out, 1 << 40)), io::ErrorKind::UnexpectedEof);
            assert!(!file.read_now(&mut out, 7));
            if file.read_now(&mut out, 0) {
                assert_eq!(&out, b"0123");
            }
        }
    });
}

#[test]
fn publishing_never_replaces() {
    on_every_medium(|medium| {
        put(medium, name(1, 0), b"first");
        let mut stage = medium.stage(name(1, 0)).unwrap();
        stage.write(b"second", 0).unwrap();
        stage.flush().unwrap();
        assert_eq!(kind(medium.publish(name(1, 0))), io::ErrorKind::AlreadyExists);
        assert_eq!(read(medium, name(1, 0)).unwrap(), b"first");
        medium.discard(name(1, 0)).unwrap();
        assert_eq!(kind(medium.publish(name(1, 0))), io::ErrorKind::NotFound);
        assert_eq!(read(medium, name(1, 0)).unwrap(), b"first");
    });
}

#[test]
fn a_shard_is_staged_by_one_writer() {
    on_every_medium(|medium| {
        let _stage = medium.stage(name(1, 0)).unwrap();
        assert_eq!(kind(medium.stage(name(1, 0))), io::ErrorKind::AlreadyExists);
        medium.stage(name(1, 1)).unwrap();
    });
}

#[test]
fn what_is_removed_or_discarded_is_gone_and_may_be_gone_before() {
    on_every_medium(|medium| {
        put(medium, name(1, 0), b"one");
        put(medium, name(1, 1), b"other");
        medium.remove(name(1, 0)).unwrap();
        medium.remove(name(1, 0)).unwrap();
        medium.remove(name(99, 0)).unwrap();
        medium.discard(name(1, 1)).unwrap();
        assert_eq!(list(medium, false), [name(1, 1)]);
        assert_eq!(kind(medium.open(name(1, 0))), io::ErrorKind::NotFound);
        put(medium, name(1, 0), b"again");
        assert_eq!(read(medium, name(1, 0)).unwrap(), b"again");
    });
}

#[test]
fn a_listing_sweeps_staged_shards_only_when_told_to_and_ends_when_told_to() {
    on_every_medium(|medium| {
        put(medium, name(1, 0), b"whole");
        drop(medium.stage(name(2, 0)).unwrap());
        assert_eq!(list(medium, false), [name(1, 0)]);
        assert_eq!(kind(medium.stage(name(2, 0))), io::ErrorKind::AlreadyExists);
        assert_eq!(list(medium, true), [name(1, 0)]);
        medium.stage(name(2, 0)).unwrap();
        let given_up = medium.list(true, || Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(kind(given_up), io::ErrorKind::TimedOut);
    });
}

#[test]
fn an_identity_is_created_once_and_tombstones_are_only_added_to() {
    on_every_medium(|medium| {
        assert_eq!(medium.read_note(Note::Identity, NOTE_BYTES_MAX).unwrap(), None);
        medium.create_note(Note::Identity, b"this one").unwrap();
        assert_eq!(kind(medium.create_note(Note::Identity, b"another")), io::ErrorKind::AlreadyExists);
        assert_eq!(medium.read_note(Note::Identity, NOTE_BYTES_MAX).unwrap().unwrap(), b"this one");
        for record in [b"one ", b"two "] {
            medium.append_note(Note::Tombstones, record).unwrap();
        }
        assert_eq!(medium.read_note(Note::Tombstones, NOTE_BYTES_MAX).unwrap().unwrap(), b"one two ");
        assert_eq!(kind(medium.read_note(Note::Tombstones, 7)), io::ErrorKind::FileTooLarge);
        assert!(list(medium, false).is_empty(), "a note is no shard");
    });
}

#[test]
fn a_medium_tells_whether_it_was_ever_used_and_what_room_it_has() {
    on_every_medium(|medium| {
        assert_eq!(medium.presence().unwrap(), Presence::Empty);
        put(medium, name(1, 0), b"x");
        assert_eq!(medium.presence().unwrap(), Presence::Used);
        let space = medium.space().unwrap();
        assert!(space.free_bytes > 0 && space.free_bytes <= space.total_bytes);
    });
}

#[test]
fn only_preparing_makes_a_medium() {
    for made in [directory(), memory()] {
        let medium = &made.medium;
        assert_eq!(kind(medium.stage(name(1, 0))), io::ErrorKind::NotFound);
        assert_ne!(medium.presence().unwrap(), Presence::Used);
        medium.prepare().unwrap();
        medium.prepare().unwrap();
        medium.stage(name(1, 0)).unwrap();
    }
}
