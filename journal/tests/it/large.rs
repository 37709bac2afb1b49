//! Payloads with a file of their own.

use std::fs;

use journal::{Error, Fault, Journal, JournalOptions, LargePayload, Payload};
use tempfile::tempdir;

use super::{SEGMENT, append, bytes, crash_copy, head, numbers, open, options};

const LEN: usize = 100_000;

fn large(journal: &Journal, number: usize) -> LargePayload {
    let mut writer = journal.begin_large().unwrap();
    for chunk in bytes(number, LEN).chunks(7_777) {
        writer.write(chunk).unwrap();
    }
    writer.finish().unwrap()
}

fn only_file(path: &std::path::Path) -> std::path::PathBuf {
    let mut files = fs::read_dir(path.join("large")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

fn files(path: &std::path::Path) -> usize {
    fs::read_dir(path.join("large")).unwrap().count()
}

#[tokio::test]
async fn a_large_payload_comes_back() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    let payload = large(&journal, 3);
    let mut written = vec![0; LEN];
    payload.open().unwrap().read_exact_at(&mut written, 0).unwrap();
    assert_eq!(written, bytes(3, LEN));
    assert_eq!(fs::read(only_file(dir.path())).unwrap(), bytes(3, LEN));
    let at = journal.append(head(3), Payload::Large(payload)).await.unwrap();
    assert_eq!((at.large, at.payload_bytes), (true, 100_000));
    append(&journal, 4, 10).await.unwrap();
    assert_eq!(numbers(&journal), [3, 4]);
    assert_eq!(journal.read_payload(&at, 500..600).unwrap(), bytes(3, LEN)[500..600]);
    assert_eq!(journal.read_payload_now(&at, 500..600), None);
    assert_eq!(journal.status().used_bytes, SEGMENT + 100_000);
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(numbers(&journal), [3, 4]);
    assert_eq!(journal.status().large_files, 1);
    journal.release_large(&at).unwrap();
    assert!(matches!(journal.read_payload(&at, 0..1), Err(Error::Gone)));
    journal.release_large(&at).unwrap();
    assert_eq!((files(dir.path()), journal.status().large_files), (0, 0));
    assert!(journal.status().used_bytes < SEGMENT);
    drop(journal);
    let journal = open(dir.path());
    assert!(matches!(journal.read_payload(&at, 0..1), Err(Error::Gone)), "released for good");
    assert!(journal.status().damaged.is_empty());
}

#[tokio::test]
async fn a_writer_or_payload_that_is_dropped_leaves_nothing() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    let mut writer = journal.begin_large().unwrap();
    writer.write(&bytes(0, 1000)).unwrap();
    assert_eq!(journal.status().used_bytes, SEGMENT + 1000);
    drop(writer);
    drop(large(&journal, 0));
    assert_eq!((files(dir.path()), journal.status().used_bytes), (0, SEGMENT));
}

#[tokio::test]
async fn a_file_that_no_record_names_is_removed_at_the_next_start() {
    let dir = tempdir().unwrap();
    let crashed = tempdir().unwrap();
    let journal = open(dir.path());
    let kept = large(&journal, 1);
    journal.append(head(1), Payload::Large(kept)).await.unwrap();
    let _finished = large(&journal, 2);
    let mut begun = journal.begin_large().unwrap();
    begun.write(&[0; 10]).unwrap();
    crash_copy(dir.path(), crashed.path());
    assert_eq!(files(crashed.path()), 3);
    let journal = open(crashed.path());
    assert_eq!((files(crashed.path()), numbers(&journal)), (1, vec![1]));
}

#[tokio::test]
async fn the_limit_counts_large_files() {
    let dir = tempdir().unwrap();
    let journal = Journal::open(JournalOptions { bytes_max: 2 * SEGMENT, ..options(&[dir.path()]) }).unwrap();
    let mut writer = journal.begin_large().unwrap();
    writer.write(&vec![0; 60_000]).unwrap();
    assert!(matches!(writer.write(&vec![0; 60_000]), Err(Error::Full { .. })));
    while append(&journal, 0, 9_999).await.is_ok() {}
    assert_eq!(journal.status().segments, 1, "the large file takes the space");
    drop(writer);
    append(&journal, 0, 9_999).await.unwrap();
    assert_eq!(journal.status().segments, 2);
}

#[tokio::test]
async fn faults_while_writing_a_large_payload() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    let mut writer = journal.begin_large().unwrap();
    journal.inject(0, Fault::NoSpace);
    assert!(matches!(writer.write(&[0; 10]), Err(Error::Full { .. })));
    journal.inject(0, Fault::None);
    drop(writer);
    append(&journal, 0, 10).await.unwrap();
    let mut writer = journal.begin_large().unwrap();
    writer.write(&[0; 10]).unwrap();
    journal.inject(0, Fault::Flush);
    assert!(matches!(writer.finish(), Err(Error::Poisoned { .. })));
    journal.inject(0, Fault::None);
    assert!(matches!(append(&journal, 1, 10).await, Err(Error::Poisoned { .. })));
}

#[tokio::test]
async fn damage_in_a_large_file_is_reported() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    let payload = large(&journal, 1);
    let path = only_file(dir.path());
    let at = journal.append(head(1), Payload::Large(payload)).await.unwrap();
    super::flip(&path, 12_345, 1);
    assert!(matches!(journal.read_payload(&at, 0..at.payload_bytes), Err(Error::Damaged(_))));
}

#[tokio::test]
async fn releasing_a_segment_releases_its_large_files() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    let payload = large(&journal, 1);
    let at = journal.append(head(1), Payload::Large(payload)).await.unwrap();
    journal.seal_current().unwrap();
    assert!(journal.release(&|_| false, journal.durable_end()).unwrap() > 100_000);
    assert_eq!((files(dir.path()), journal.status().used_bytes), (0, SEGMENT));
    assert!(matches!(journal.release_large(&at), Err(Error::Gone)));
}

#[tokio::test]
async fn a_payload_of_another_journal_is_refused() {
    let (dir, other) = (tempdir().unwrap(), tempdir().unwrap());
    let (journal, other) = (open(dir.path()), open(other.path()));
    let result = journal.append(head(1), Payload::Large(large(&other, 1))).await;
    assert!(matches!(result, Err(Error::Refused { .. })));
}
