//! More than one copy.

use std::fs;
use std::path::Path;

use journal::{Error, Fault, Journal, JournalOptions, Payload};
use tempfile::{TempDir, tempdir};

use super::{SEGMENT, append, bytes, crash_copy, flip, head, numbers, open, options, segment_path};

fn pair() -> (TempDir, TempDir) {
    (tempdir().unwrap(), tempdir().unwrap())
}

fn open_pair(a: &Path, b: &Path, copies_required: usize) -> Result<Journal, Error> {
    Journal::open(JournalOptions { copies_required, ..options(&[a, b]) })
}

fn healthy(journal: &Journal) -> Vec<bool> {
    journal.status().copies.iter().map(|copy| copy.healthy).collect()
}

#[tokio::test]
async fn each_copy_alone_has_everything() {
    let (a, b) = pair();
    let journal = open_pair(a.path(), b.path(), 2).unwrap();
    for number in 0..10 {
        append(&journal, number, 9_999).await.unwrap();
    }
    let mut writer = journal.begin_large().unwrap();
    writer.write(&bytes(10, 50_000)).unwrap();
    let payload = writer.finish().unwrap();
    journal.append(head(10), Payload::Large(payload)).await.unwrap();
    for copy in [&a, &b] {
        let alone = tempdir().unwrap();
        crash_copy(copy.path(), alone.path());
        assert_eq!(numbers(&open(alone.path())), (0..=10).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_failing_copy_stops_a_journal_that_requires_both() {
    let (a, b) = pair();
    let journal = open_pair(a.path(), b.path(), 2).unwrap();
    append(&journal, 0, 100).await.unwrap();
    journal.inject(1, Fault::Flush);
    assert!(matches!(append(&journal, 1, 100).await, Err(Error::Poisoned { healthy: 1, required: 2 })));
    journal.inject(1, Fault::None);
    assert!(matches!(append(&journal, 2, 100).await, Err(Error::Poisoned { .. })));
    assert_eq!(numbers(&journal), [0]);
    drop(journal);
    let journal = open_pair(a.path(), b.path(), 2).unwrap();
    append(&journal, 3, 100).await.unwrap();
    assert_eq!(numbers(&journal).first(), Some(&0));
    assert_eq!(numbers(&journal).last(), Some(&3));
}

#[tokio::test]
async fn a_journal_that_requires_one_goes_on_and_heals_the_other_at_the_next_start() {
    for fault in [Fault::Write, Fault::Flush, Fault::TornWrite] {
        let (a, b) = pair();
        let journal = open_pair(a.path(), b.path(), 1).unwrap();
        append(&journal, 0, 100).await.unwrap();
        journal.inject(0, fault);
        for number in 1..12 {
            append(&journal, number, 9_999).await.unwrap();
        }
        let mut writer = journal.begin_large().unwrap();
        writer.write(&bytes(12, 50_000)).unwrap();
        let payload = writer.finish().unwrap();
        journal.append(head(12), Payload::Large(payload)).await.unwrap();
        assert_eq!(healthy(&journal), [false, true]);
        assert_eq!(numbers(&journal), (0..13).collect::<Vec<_>>());
        drop(journal);
        let journal = open_pair(a.path(), b.path(), 1).unwrap();
        assert_eq!(healthy(&journal), [true, true]);
        drop(journal);
        assert_eq!(numbers(&open(a.path())), (0..13).collect::<Vec<_>>(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_record_on_one_copy_only_is_kept_on_both() {
    let (a, b) = pair();
    let journal = open_pair(a.path(), b.path(), 2).unwrap();
    append(&journal, 0, 100).await.unwrap();
    let before = tempdir().unwrap();
    crash_copy(b.path(), before.path());
    append(&journal, 1, 100).await.unwrap();
    // The machine stopped when the second record was on the first copy only.
    let after = tempdir().unwrap();
    crash_copy(a.path(), after.path());
    let journal = open_pair(after.path(), before.path(), 2).unwrap();
    assert_eq!(numbers(&journal), [0, 1]);
    drop(journal);
    assert_eq!(numbers(&open(before.path())), [0, 1]);
}

#[tokio::test]
async fn damage_on_one_copy_is_read_from_the_other_and_healed() {
    let (a, b) = pair();
    let journal = open_pair(a.path(), b.path(), 2).unwrap();
    let mut records = Vec::new();
    for number in 0..10 {
        records.push(append(&journal, number, 9_999).await.unwrap());
    }
    flip(&segment_path(a.path(), 0), records[1].lsn.0 + u64::from(records[1].head_bytes) + 5, 1);
    flip(&segment_path(a.path(), 0), records[2].lsn.0 + 5, 1);
    flip(&segment_path(b.path(), 0), records[3].lsn.0 + 5, 1);
    assert_eq!(numbers(&journal), (0..10).collect::<Vec<_>>());
    assert!(journal.status().damaged.is_empty());
    drop(journal);
    drop(open_pair(a.path(), b.path(), 2).unwrap());
    for (copy, unread) in [(&a, Some(1)), (&b, None)] {
        let journal = open(copy.path());
        for (number, at) in records.iter().enumerate() {
            let read = journal.read_payload(at, 0..at.payload_bytes);
            assert_eq!(read.is_err(), unread == Some(number), "heads are compared at a start, old payloads are not");
        }
    }
}

#[tokio::test]
async fn what_is_read_in_order_is_what_was_written_from_whichever_copy_has_it() {
    let (a, b) = pair();
    let journal = open_pair(a.path(), b.path(), 2).unwrap();
    let lengths = [0, 1, 4095, 4096, 9_999, 30_000, 8, 20_000];
    let mut records = Vec::new();
    for (number, len) in lengths.into_iter().enumerate() {
        records.push(append(&journal, number, len).await.unwrap());
    }
    let damage = |copy: &TempDir, number: usize| {
        let at = &records[number];
        let path = segment_path(copy.path(), at.lsn.0 / SEGMENT);
        flip(&path, at.lsn.0 % SEGMENT + u64::from(at.head_bytes) + 3, 1);
    };
    damage(&a, 4);
    damage(&a, 7);
    damage(&b, 7);
    let orders: [Vec<usize>; 4] =
        [(0..8).collect(), (0..8).rev().collect(), vec![5, 0, 7, 2, 6, 1, 4, 3], vec![0, 2, 4, 7, 6]];
    for order in orders {
        let mut reader = journal.in_order(order.iter().map(|number| records[*number].clone()));
        for number in order {
            match reader.read(&records[number]) {
                Ok(payload) => assert!(payload == bytes(number, lengths[number]) && number != 7, "{number}"),
                Err(error) => assert!(number == 7 && matches!(error, Error::Damaged(at) if at == records[7].lsn)),
            }
        }
    }
    // What was not announced is read all the same, also twice.
    let mut reader = journal.in_order([records[3].clone()].into_iter());
    for number in [5, 3, 3, 0] {
        assert_eq!(reader.read(&records[number]).unwrap(), bytes(number, lengths[number]));
    }
}

#[tokio::test]
async fn a_copy_that_lost_its_segments_is_filled() {
    let (a, b) = pair();
    let journal = open_pair(a.path(), b.path(), 2).unwrap();
    for number in 0..10 {
        append(&journal, number, 9_999).await.unwrap();
    }
    drop(journal);
    fs::remove_file(segment_path(b.path(), 0)).unwrap();
    drop(open_pair(a.path(), b.path(), 2).unwrap());
    assert_eq!(numbers(&open(b.path())), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_empty_directory_is_left_alone_until_the_operator_asks() {
    let (a, b) = pair();
    append(&open(a.path()), 0, 100).await.unwrap();
    assert!(matches!(open_pair(a.path(), b.path(), 2), Err(Error::Poisoned { healthy: 1, required: 2 })));
    let journal = open_pair(a.path(), b.path(), 1).unwrap();
    assert_eq!(healthy(&journal), [true, false]);
    append(&journal, 1, 100).await.unwrap();
    drop(journal);
    assert_eq!(fs::read_dir(b.path()).unwrap().count(), 0, "not written below a mount point");
    fs::write(b.path().join("adopt-as-journal-copy"), "").unwrap();
    let journal = open_pair(a.path(), b.path(), 2).unwrap();
    append(&journal, 2, 100).await.unwrap();
    assert_eq!(numbers(&journal), [0, 1, 2]);
    drop(journal);
    assert!(!b.path().join("adopt-as-journal-copy").exists());
    assert_eq!(numbers(&open(b.path())), [0, 1, 2]);
}

#[tokio::test]
async fn copies_of_two_journals_or_two_histories_are_refused() {
    let (a, b) = pair();
    drop(open(a.path()));
    drop(open(b.path()));
    assert!(matches!(open_pair(a.path(), b.path(), 1), Err(Error::Foreign { .. })));
    let (a, b) = pair();
    drop(open_pair(a.path(), b.path(), 2).unwrap());
    append(&open(a.path()), 0, 100).await.unwrap();
    append(&open(b.path()), 1, 100).await.unwrap();
    assert!(matches!(open_pair(a.path(), b.path(), 1), Err(Error::Forked { .. })));
    assert_eq!(numbers(&open(a.path())), [0], "refused, not changed");
}

#[tokio::test]
async fn a_copy_that_hangs_is_given_up() {
    let (a, b) = pair();
    let copy_wait_max = std::time::Duration::from_millis(50);
    let options = JournalOptions { copies_required: 1, copy_wait_max, ..options(&[a.path(), b.path()]) };
    let journal = Journal::open(options).unwrap();
    journal.inject(0, Fault::Hang);
    for number in 0..3 {
        append(&journal, number, 100).await.unwrap();
    }
    assert_eq!(healthy(&journal), [false, true]);
    journal.close().await; // does not wait for the copy that hangs
    assert_eq!(numbers(&journal), [0, 1, 2]);
    journal.inject(0, Fault::None);
}

#[tokio::test]
async fn a_copy_that_was_given_up_and_then_used_alone_does_not_win() {
    let (a, b) = pair();
    let journal = open_pair(a.path(), b.path(), 1).unwrap();
    append(&journal, 0, 100).await.unwrap();
    journal.inject(0, Fault::Flush);
    append(&journal, 1, 100).await.unwrap();
    drop(journal);
    append(&open(a.path()), 2, 100).await.unwrap();
    let result = open_pair(a.path(), b.path(), 1);
    assert!(matches!(result, Err(Error::Forked { .. })), "record 1 is acknowledged and on the second copy only");
    assert_eq!(numbers(&open(b.path())), [0, 1]);
}

#[tokio::test]
async fn a_copy_that_missed_a_release_gives_its_segments_up() {
    let (a, b) = pair();
    let journal = open_pair(a.path(), b.path(), 1).unwrap();
    for number in 0..10 {
        append(&journal, number, 9_999).await.unwrap();
    }
    drop(journal);
    let journal = open(a.path());
    append(&journal, 10, 100).await.unwrap();
    assert!(journal.release(&|_| false, journal.durable_end()).unwrap() > SEGMENT);
    drop(journal);
    let journal = open_pair(a.path(), b.path(), 2).unwrap();
    assert_eq!((numbers(&journal), healthy(&journal)), (vec![10], vec![true, true]));
    assert!(!segment_path(b.path(), 0).exists());
}

#[tokio::test]
async fn a_copy_that_is_locked_elsewhere_stops_the_start() {
    let (a, b) = pair();
    drop(open_pair(a.path(), b.path(), 2).unwrap());
    let _elsewhere = open(b.path());
    assert!(matches!(open_pair(a.path(), b.path(), 1), Err(Error::Locked { .. })));
}
