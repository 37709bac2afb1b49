//! Releasing segments and using them again.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use journal::{Error, Fault, Journal, JournalOptions, Lsn};
use tempfile::tempdir;

use super::{SEGMENT, all, append, crash_copy, numbers, open, options, segment_path};

fn two_segments(path: &std::path::Path) -> JournalOptions {
    JournalOptions { bytes_max: 2 * SEGMENT, ..options(&[path]) }
}

#[tokio::test]
async fn a_full_journal_refuses_and_takes_again_after_release() {
    let dir = tempdir().unwrap();
    let journal = Journal::open(two_segments(dir.path())).unwrap();
    let mut number = 0;
    let refused = loop {
        match append(&journal, number, 9_999).await {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Full { bytes_max } if bytes_max == 2 * SEGMENT));
    assert_eq!(number, 12);
    assert!(matches!(append(&journal, number, 9_999).await, Err(Error::Full { .. })));
    assert_eq!(journal.release(&|_| true, journal.durable_end()).unwrap(), 0, "kept");
    assert_eq!(journal.release(&|_| false, Lsn(SEGMENT - 5_000)).unwrap(), 0, "not wholly below");
    assert_eq!(journal.release(&|_| false, journal.durable_end()).unwrap(), SEGMENT, "not the one being written");
    append(&journal, number, 9_999).await.unwrap();
    assert_eq!(numbers(&journal), (6..13).collect::<Vec<_>>());
    assert_eq!(journal.first(), Lsn(SEGMENT));
    drop(journal);
    let journal = Journal::open(two_segments(dir.path())).unwrap();
    assert_eq!(numbers(&journal), (6..13).collect::<Vec<_>>());
    assert_eq!(journal.read_from(Lsn(5), 1, 1).unwrap()[0].at.lsn, Lsn(SEGMENT), "released segments are skipped");
}

#[tokio::test]
async fn a_full_journal_opens() {
    let dir = tempdir().unwrap();
    let journal = Journal::open(two_segments(dir.path())).unwrap();
    while append(&journal, 0, 9_999).await.is_ok() {}
    drop(journal);
    let journal = Journal::open(two_segments(dir.path())).unwrap();
    assert_eq!(all(&journal).len(), 12);
    journal.release(&|_| false, journal.durable_end()).unwrap();
    append(&journal, 1, 9_999).await.unwrap();
}

#[tokio::test]
async fn stale_bytes_of_a_recycled_segment_never_parse() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    let old = {
        let mut old = Vec::new();
        for number in 0..18 {
            old.push(append(&journal, number, 9_999).await.unwrap());
        }
        old
    };
    assert_eq!(journal.release(&|_| false, journal.durable_end()).unwrap(), 2 * SEGMENT);
    for at in &old[..12] {
        assert!(matches!(journal.read_payload(at, 0..1), Err(Error::Gone)));
        assert_eq!(journal.read_payload_now(at, 0..1), None);
    }
    // The same lengths: stale records lie exactly where new ones would follow.
    for number in 18..32 {
        append(&journal, number, 9_999).await.unwrap();
        let crashed = tempdir().unwrap();
        crash_copy(dir.path(), crashed.path());
        let again = open(crashed.path());
        assert_eq!(numbers(&again), (12..=number).collect::<Vec<_>>());
        assert!(again.status().damaged.is_empty());
        assert_eq!(again.durable_end(), journal.durable_end());
    }
    for at in &old[..12] {
        assert!(matches!(journal.read_payload(at, 0..1), Err(Error::Gone)));
    }
}

#[tokio::test]
async fn released_segments_are_used_again() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    for number in 0..7 {
        append(&journal, number, 9_999).await.unwrap();
    }
    let inode = |number| super::segment_path(dir.path(), number).metadata().unwrap().ino();
    let first = inode(0);
    journal.release(&|_| false, journal.durable_end()).unwrap();
    for number in 7..13 {
        append(&journal, number, 9_999).await.unwrap();
    }
    assert_eq!(inode(2), first);
}

#[tokio::test]
async fn sealing_lets_the_present_segment_go() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    journal.seal_current().unwrap();
    assert_eq!(journal.status().segments, 1, "nothing to seal");
    append(&journal, 0, 100).await.unwrap();
    journal.seal_current().unwrap();
    let end = journal.durable_end();
    assert!(journal.release(&|_| false, end).unwrap() > 0);
    assert_eq!((all(&journal), journal.durable_end(), journal.first()), (vec![], end, Lsn(SEGMENT)));
    assert_eq!(journal.read_from(end, 1, 1).unwrap(), []);
    let next = append(&journal, 1, 100).await.unwrap();
    assert_eq!(journal.read_from(end, 1, 1).unwrap()[0].at, next, "reading goes on behind the released end");
    drop(journal);
    assert_eq!(numbers(&open(dir.path())), [1]);
}

#[tokio::test]
async fn positions_are_not_used_twice_after_everything_was_released() {
    let dir = tempdir().unwrap();
    let mut last = Lsn(0);
    for number in 0..5 {
        let journal = open(dir.path());
        assert!(journal.durable_end() <= last, "a follower that is at {last:?} waits for nothing");
        let at = append(&journal, number, 100).await.unwrap();
        assert!(at.lsn >= last, "{at:?}");
        last = journal.durable_end();
        journal.seal_current().unwrap();
        journal.release(&|_| false, last).unwrap();
    }
}

#[tokio::test]
async fn a_gap_of_released_segments_is_not_damage() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    for number in 0..18 {
        append(&journal, number, 9_999).await.unwrap();
    }
    journal.release(&|segment| segment == 0, journal.durable_end()).unwrap();
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(numbers(&journal), (0..6).chain(12..18).collect::<Vec<_>>());
    assert!(journal.status().damaged.is_empty());
}

/// Lists and reads until `done`; returns how often a payload was read. Parts of payloads: no CRC
/// helps.
fn read_until(journal: &Journal, done: &AtomicBool) -> usize {
    let mut whole = 0;
    while !done.load(Ordering::Relaxed) {
        for record in all(journal) {
            let uid = record.head.sop_instance_uid;
            let expected = super::bytes(uid.as_str().rsplit('.').next().unwrap().parse().unwrap(), 9_999);
            match journal.read_payload(&record.at, 1..9_999) {
                Ok(read) => assert_eq!(read, expected[1..]),
                Err(Error::Gone) => continue,
                Err(error) => panic!("{error}"),
            }
            whole += 1;
            if let Some(read) = journal.read_payload_now(&record.at, 1..9_999) {
                assert_eq!(read, expected[1..]);
            }
        }
    }
    whole
}

#[test]
fn a_reader_never_sees_the_next_life_of_a_segment() {
    let dir = tempdir().unwrap();
    let journal = Journal::open(JournalOptions { bytes_max: 3 * SEGMENT, ..options(&[dir.path()]) }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read_until(&journal, &done))).collect();
        for number in 0..200 {
            runtime.block_on(append(&journal, number, 9_999)).unwrap();
            journal.release(&|_| false, journal.durable_end()).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
    assert!(journal.status().damaged.is_empty(), "what was released is not damage");
}

#[tokio::test]
async fn a_disk_without_space_is_full_and_not_poisoned() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    journal.inject(0, Fault::NoSpace);
    let mut number = 0;
    let refused = loop {
        match append(&journal, number, 9_999).await {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Full { .. }), "{refused:?}");
    assert_eq!(number, 6, "the segment that is there is filled");
    journal.inject(0, Fault::None);
    append(&journal, number, 9_999).await.unwrap();
    assert_eq!(numbers(&journal), (0..7).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_segment_that_was_being_made_ready_when_the_server_was_killed_is_not_used() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()));
    let unfinished = dir.path().join("free/0b.unfinished");
    fs::write(&unfinished, b"").unwrap();
    let journal = open(dir.path());
    assert!(!unfinished.exists());
    append(&journal, 0, 100).await.unwrap();
    assert_eq!(fs::metadata(segment_path(dir.path(), 0)).unwrap().len(), SEGMENT);
}
