//! The journal on each kind of place: the same cases on directories and in memory.

use journal::{CopyPlace, Error, Fault, Journal, JournalOptions, Lsn, MemoryCopy, Payload};
use tempfile::TempDir;

use super::{SEGMENT, all, append, bytes, crash_copy, flip, head, numbers, options, segment_path};

/// A place of either kind.
enum Place {
    Directory(TempDir),
    Memory(MemoryCopy),
}

/// Makes a place of one kind.
type NewPlace = fn() -> Place;

const KINDS: [NewPlace; 2] =
    [|| Place::Directory(tempfile::tempdir().unwrap()), || Place::Memory(MemoryCopy::new("memory"))];

impl Place {
    fn place(&self) -> CopyPlace {
        match self {
            Self::Directory(directory) => CopyPlace::Directory(directory.path().to_owned()),
            Self::Memory(copy) => CopyPlace::Memory(copy.clone()),
        }
    }

    /// Returns what a crash at this moment would leave.
    fn crashed(&self) -> Self {
        match self {
            Self::Directory(directory) => {
                let image = tempfile::tempdir().unwrap();
                crash_copy(directory.path(), image.path());
                Self::Directory(image)
            }
            Self::Memory(copy) => {
                let image = copy.duplicate("image");
                image.crash(1);
                Self::Memory(image)
            }
        }
    }

    fn flip(&self, segment: u64, at: u64) {
        match self {
            Self::Directory(directory) => flip(&segment_path(directory.path(), segment), at, 1),
            Self::Memory(copy) => assert!(copy.flip(segment, at, 1)),
        }
    }

    fn allow_adoption(&self) {
        match self {
            Self::Directory(directory) => std::fs::write(directory.path().join("adopt-as-journal-copy"), "").unwrap(),
            Self::Memory(copy) => copy.allow_adoption(),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Directory(directory) => std::fs::read_dir(directory.path()).unwrap().count() == 0,
            Self::Memory(copy) => copy.is_empty(),
        }
    }
}

fn try_open(places: &[&Place], copies_required: usize) -> Result<Journal, Error> {
    let copies = places.iter().map(|place| place.place()).collect();
    Journal::open(JournalOptions { copies, copies_required, ..options(&[]) })
}

fn open(places: &[&Place]) -> Journal {
    try_open(places, places.len()).unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_after_a_crash() {
    for new in KINDS {
        let place = new();
        let journal = open(&[&place]);
        for number in 0..8 {
            append(&journal, number, 9_999).await.unwrap();
            let crashed = open(&[&place.crashed()]);
            assert_eq!(numbers(&crashed), (0..=number).collect::<Vec<_>>());
        }
        let mut writer = journal.begin_large().unwrap();
        writer.write(&bytes(8, 50_000)).unwrap();
        let payload = writer.finish().unwrap();
        let mut part = [0; 100];
        payload.open().unwrap().read_exact_at(&mut part, 700).unwrap();
        assert_eq!(part[..], bytes(8, 50_000)[700..800]);
        journal.append(head(8), Payload::Large(payload)).await.unwrap();
        assert_eq!(numbers(&open(&[&place.crashed()])), (0..=8).collect::<Vec<_>>());
        let id = journal.id();
        journal.close().await;
        let journal = open(&[&place]);
        assert_eq!((journal.id(), numbers(&journal)), (id, (0..=8).collect()));
    }
}

#[tokio::test]
async fn a_failed_copy_is_not_used_again_and_made_equal_at_the_next_start() {
    for new in KINDS {
        for fault in [Fault::Write, Fault::Flush, Fault::TornWrite, Fault::ReadOnly] {
            let (a, b) = (new(), new());
            let journal = try_open(&[&a, &b], 1).unwrap();
            append(&journal, 0, 100).await.unwrap();
            journal.inject(0, fault);
            append(&journal, 1, 9_999).await.unwrap();
            journal.inject(0, Fault::None);
            append(&journal, 2, 100).await.unwrap();
            let healthy: Vec<bool> = journal.status().copies.iter().map(|copy| copy.healthy).collect();
            assert_eq!(healthy, [false, true], "{fault:?}");
            drop(journal);
            drop(open(&[&a, &b]));
            assert_eq!(numbers(&open(&[&a])), [0, 1, 2], "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_full_place_is_full_and_not_given_up() {
    for new in KINDS {
        let place = new();
        let journal = open(&[&place]);
        journal.inject(0, Fault::NoSpace);
        let mut number = 0;
        let refused = loop {
            match append(&journal, number, 9_999).await {
                Ok(_) => number += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, Error::Full { .. }) && number == 6, "{refused:?}");
        journal.inject(0, Fault::None);
        append(&journal, number, 9_999).await.unwrap();
        assert_eq!(numbers(&journal), (0..7).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn released_segments_are_used_again_and_their_old_bytes_never_parse() {
    for new in KINDS {
        let place = new();
        let journal = open(&[&place]);
        for number in 0..18 {
            append(&journal, number, 9_999).await.unwrap();
        }
        assert_eq!(journal.release(&|_| false, journal.durable_end()).unwrap(), 2 * SEGMENT);
        assert_eq!(journal.first(), Lsn(2 * SEGMENT));
        for number in 18..22 {
            append(&journal, number, 9_999).await.unwrap();
            let crashed = open(&[&place.crashed()]);
            assert_eq!(numbers(&crashed), (12..=number).collect::<Vec<_>>());
            assert!(crashed.status().damaged.is_empty());
        }
    }
}

#[tokio::test]
async fn damage_on_one_copy_is_read_from_the_other() {
    for new in KINDS {
        let (a, b) = (new(), new());
        let journal = open(&[&a, &b]);
        let mut records = Vec::new();
        for number in 0..4 {
            records.push(append(&journal, number, 9_999).await.unwrap());
        }
        a.flip(0, records[1].lsn.0 + u64::from(records[1].head_bytes) + 5);
        b.flip(0, records[2].lsn.0 + 5);
        assert_eq!(numbers(&journal), [0, 1, 2, 3]);
        a.flip(0, records[2].lsn.0 + 5);
        journal.forget_recent(Lsn(u64::MAX));
        assert_eq!(all(&journal).len(), 3);
        assert_eq!(journal.status().damaged, [records[2].lsn]);
    }
}

#[tokio::test]
async fn an_empty_place_beside_a_used_one_is_left_alone_until_the_operator_asks() {
    for new in KINDS {
        let (a, b) = (new(), new());
        append(&open(&[&a]), 0, 100).await.unwrap();
        assert!(matches!(try_open(&[&a, &b], 2), Err(Error::Poisoned { healthy: 1, required: 2 })));
        let journal = try_open(&[&a, &b], 1).unwrap();
        append(&journal, 1, 100).await.unwrap();
        drop(journal);
        assert!(b.is_empty(), "it is perhaps a mount point");
        b.allow_adoption();
        drop(open(&[&a, &b]));
        assert_eq!(numbers(&open(&[&b])), [0, 1]);
    }
}

#[tokio::test]
async fn places_in_use_and_of_other_journals_are_refused() {
    for new in KINDS {
        let (a, b) = (new(), new());
        let first = open(&[&a]);
        assert!(matches!(try_open(&[&a], 1), Err(Error::Locked { .. })));
        drop(first);
        drop(open(&[&b]));
        assert!(matches!(try_open(&[&a, &b], 1), Err(Error::Foreign { .. })));
        let (a, b) = (new(), new());
        drop(open(&[&a, &b]));
        append(&open(&[&a]), 0, 100).await.unwrap();
        append(&open(&[&b]), 1, 100).await.unwrap();
        assert!(matches!(try_open(&[&a, &b], 1), Err(Error::Forked { .. })));
    }
}
