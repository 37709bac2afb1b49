//! Appending and reading back.

use std::time::Duration;

use bytes::Bytes;
use journal::{Error, Fault, Journal, Lsn, Payload};
use tempfile::tempdir;

use super::{SEGMENT, all, append, bytes, head, numbers, open, options};

#[tokio::test]
async fn records_come_back_before_and_after_a_restart() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    let id = journal.id();
    let pieces = vec![bytes(0, 1000), Bytes::new(), bytes(1, 1)];
    let first = journal.append(head(0), Payload::Inline(pieces)).await.unwrap();
    let second = journal.append(head(1), Payload::Inline(vec![])).await.unwrap();
    assert_eq!((first.lsn, first.payload_bytes), (Lsn(0), 1001));
    let check = |journal: &Journal| {
        let records = all(journal);
        assert_eq!(records.iter().map(|record| record.at.clone()).collect::<Vec<_>>(), [first.clone(), second.clone()]);
        assert_eq!((&records[0].head, &records[1].head), (&head(0), &head(1)));
        assert_eq!((records[0].end, records[1].end), (second.lsn, journal.durable_end()));
        let whole = [bytes(0, 1000), bytes(1, 1)].concat();
        assert_eq!(journal.read_payload(&first, 0..1001).unwrap(), whole);
        assert_eq!(journal.read_payload(&first, 990..1001).unwrap(), whole[990..]);
        assert_eq!(journal.read_payload(&first, 7..7).unwrap(), Bytes::new());
        assert_eq!(journal.read_payload_now(&first, 990..1001).unwrap(), whole[990..]);
        assert_eq!(journal.read_payload_now(&first, 0..1001).unwrap(), whole);
        assert!(matches!(journal.read_payload(&first, 0..1002), Err(Error::Refused { .. })));
        assert!(matches!(journal.read_payload(&second, 0..0), Ok(empty) if empty.is_empty()));
        assert_eq!(journal.read_from(journal.durable_end(), 10, 10).unwrap(), []);
        assert_eq!(journal.read_from(second.lsn, 10, 10).unwrap(), records[1..]);
        assert_eq!(journal.read_from(Lsn(0), 1, u64::MAX).unwrap(), records[..1]);
    };
    check(&journal);
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(journal.id(), id);
    check(&journal);
    let third = append(&journal, 2, 10).await.unwrap();
    assert_eq!(third.lsn, Lsn(SEGMENT), "a new segment follows a restart");
    assert_eq!(all(&journal)[2].at, third);
}

#[tokio::test]
async fn reading_is_bounded_and_goes_on_over_segments() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    for number in 0..20 {
        append(&journal, number, 9_999).await.unwrap();
    }
    assert_eq!(journal.segment_of(journal.durable_end()), 3);
    let (mut from, mut found) = (Lsn(0), 0);
    loop {
        let records = journal.read_from(from, 3, 25_000).unwrap();
        let Some(last) = records.last() else { break };
        assert!(records.len() <= 2, "two of 9,999 bytes fit 25,000");
        from = last.end;
        found += records.len();
    }
    assert_eq!((found, from), (20, journal.durable_end()));
    assert_eq!(journal.read_from(Lsn(0), 3, 1).unwrap().len(), 1, "one at least");
    assert_eq!(numbers(&journal), (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_are_all_durable() {
    let dir = tempdir().unwrap();
    let crashed = tempdir().unwrap();
    let journal = open(dir.path());
    let mut ends = journal.subscribe();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let journal = journal.clone();
        tasks.spawn(async move { append(&journal, number, 5_000 + number).await.map(|at| (number, at)) });
    }
    let mut acknowledged: Vec<_> = tasks.join_all().await.into_iter().map(Result::unwrap).collect();
    assert_eq!(*ends.borrow_and_update(), journal.durable_end());
    super::crash_copy(dir.path(), crashed.path());
    let again = open(crashed.path());
    let mut found = numbers(&again);
    found.sort_unstable();
    assert_eq!(found, (0..64).collect::<Vec<_>>());
    acknowledged.sort_by_key(|(_, at)| at.lsn);
    assert_eq!(
        all(&again).into_iter().map(|record| record.at).collect::<Vec<_>>(),
        acknowledged.into_iter().map(|(_, at)| at).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_waits_and_loses_nothing() {
    let dir = tempdir().unwrap();
    let journal = Journal::open(journal::JournalOptions { queue_bytes_max: 1, ..options(&[dir.path()]) }).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..50 {
        let journal = journal.clone();
        tasks.spawn(async move { append(&journal, number, 3_000).await });
    }
    for done in tasks.join_all().await {
        done.unwrap();
    }
    assert_eq!(numbers(&journal).len(), 50);
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    assert!(matches!(append(&journal, 0, (32 << 10) + 1).await, Err(Error::Refused { .. })));
    let mut head = head(0);
    head.calling_ae = "A".repeat(65);
    assert!(matches!(journal.append(head, Payload::Inline(vec![])).await, Err(Error::Refused { .. })));
    append(&journal, 1, 32 << 10).await.unwrap();
    assert_eq!(numbers(&journal), [1]);
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_reading_goes_on() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    let mut queued = Vec::new();
    for number in 0..10 {
        let mut call = Box::pin(append(&journal, number, 100));
        // Polled once, so the record is in the queue; the flush may even be done.
        if tokio::time::timeout(Duration::ZERO, &mut call).await.is_err() {
            queued.push(call);
        }
    }
    journal.close().await;
    drop(queued);
    assert!(matches!(append(&journal, 10, 100).await, Err(Error::Closed)));
    assert_eq!(numbers(&journal), (0..10).collect::<Vec<_>>(), "dropped calls are written too");
    journal.close().await;
}

#[tokio::test]
async fn a_failed_write_or_flush_poisons_the_only_copy_for_good() {
    for fault in [Fault::Write, Fault::Flush, Fault::TornWrite] {
        let dir = tempdir().unwrap();
        let journal = open(dir.path());
        append(&journal, 0, 500).await.unwrap();
        journal.inject(0, fault);
        assert!(
            matches!(append(&journal, 1, 500).await, Err(Error::Poisoned { healthy: 0, required: 1 })),
            "{fault:?}"
        );
        journal.inject(0, Fault::None);
        assert!(matches!(append(&journal, 2, 500).await, Err(Error::Poisoned { .. })), "never tried again");
        assert!(matches!(journal.begin_large(), Err(Error::Poisoned { .. })));
        assert!(!journal.status().copies[0].healthy);
        assert_eq!(numbers(&journal), [0], "what was acknowledged is still read");
        drop(journal);
        let found = numbers(&open(dir.path()));
        assert!(found == [0] || found == [0, 1], "{fault:?}: {found:?}");
    }
}

#[tokio::test]
async fn a_server_on_the_same_directory_is_refused_while_the_first_lives() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    assert!(matches!(Journal::open(options(&[dir.path()])), Err(Error::Locked { .. })));
    append(&journal, 0, 10).await.unwrap();
    drop(journal);
    assert_eq!(numbers(&open(dir.path())), [0]);
    assert!(matches!(Journal::open(options(&[dir.path(), dir.path()])), Err(Error::Locked { .. })), "the same twice");
}

#[test]
fn options_that_contradict_themselves_are_refused() {
    let dir = tempdir().unwrap();
    let good = options(&[dir.path()]);
    for bad in [
        journal::JournalOptions { copies: vec![], ..good.clone() },
        journal::JournalOptions { copies_required: 2, ..good.clone() },
        journal::JournalOptions { copies_required: 0, ..good.clone() },
        journal::JournalOptions { segment_bytes: SEGMENT + 1, ..good.clone() },
        journal::JournalOptions { inline_bytes_max: SEGMENT, ..good.clone() },
        journal::JournalOptions { bytes_max: 2 * SEGMENT - 1, ..good.clone() },
        journal::JournalOptions { queue_bytes_max: 0, ..good.clone() },
    ] {
        assert!(matches!(Journal::open(bad), Err(Error::Options { .. })));
    }
}
