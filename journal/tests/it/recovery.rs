//! Torn, stale and damaged bytes.

use std::fs;
use std::os::unix::fs::FileExt;

use journal::{Error, Journal, Lsn, Payload, RecordRef};
use proptest::prelude::*;
use tempfile::tempdir;

use super::{SEGMENT, all, append, crash_copy, flip, head, numbers, open, options, segment_path};

#[tokio::test]
async fn a_tail_torn_at_any_byte_loses_only_the_last_record() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    append(&journal, 0, 100).await.unwrap();
    let last = append(&journal, 1, 21).await.unwrap();
    let end = journal.durable_end().0;
    let used = last.lsn.0 + u64::from(last.head_bytes) + last.payload_bytes;
    for cut in last.lsn.0..used {
        let garbage = if cut.is_multiple_of(2) { 0 } else { 0xFF };
        let crashed = tempdir().unwrap();
        crash_copy(dir.path(), crashed.path());
        let file = fs::OpenOptions::new().write(true).open(segment_path(crashed.path(), 0)).unwrap();
        let torn = vec![garbage; usize::try_from(end - cut).unwrap()];
        file.write_all_at(&torn, cut).unwrap();
        let journal = open(crashed.path());
        assert_eq!(numbers(&journal), [0], "cut at {cut}");
        assert_eq!(journal.durable_end(), last.lsn);
        // Each start costs a dozen flushes: the rest is checked at some places.
        if !cut.is_multiple_of(9) {
            continue;
        }
        let next = append(&journal, 2, 21).await.unwrap();
        assert_eq!(next.lsn, Lsn(SEGMENT), "the torn segment is not written again");
        assert!(journal.status().damaged.is_empty(), "nothing acknowledged is missing");
        drop(journal);
        assert_eq!(numbers(&open(crashed.path())), [0, 2], "cut at {cut}");
    }
}

#[tokio::test]
async fn a_record_torn_in_the_middle_of_a_batch_does_not_come_back() {
    // Which records share a batch is chance: the third one's head says whether the second was
    // durable before.
    let (dir, second) = loop {
        let dir = tempdir().unwrap();
        let journal = open(dir.path());
        let (_, second, third) =
            tokio::join!(append(&journal, 1, 100), append(&journal, 2, 100), append(&journal, 3, 100));
        let (second, third) = (second.unwrap(), third.unwrap());
        let mut durable = [0; 8];
        let file = fs::File::open(segment_path(dir.path(), 0)).unwrap();
        file.read_exact_at(&mut durable, third.lsn.0 + 24).unwrap();
        if u64::from_le_bytes(durable) <= second.lsn.0 {
            break (dir, second);
        }
    };
    flip(&segment_path(dir.path(), 0), second.lsn.0 + u64::from(second.head_bytes) + 5, 1);
    for start in 0..2 {
        let journal = open(dir.path());
        assert_eq!(numbers_without_payload(&journal), [1, 3], "what is whole is kept, start {start}");
    }
}

fn numbers_without_payload(journal: &Journal) -> Vec<usize> {
    let uids = all(journal).into_iter().map(|record| record.head.sop_instance_uid);
    uids.map(|uid| uid.as_str().rsplit('.').next().unwrap().parse().unwrap()).collect()
}

async fn three_segments(journal: &Journal) -> Vec<RecordRef> {
    let mut records = Vec::new();
    for number in 0..15 {
        records.push(append(journal, number, 9_999).await.unwrap());
    }
    assert_eq!(journal.segment_of(journal.durable_end()), 2);
    records
}

#[tokio::test]
async fn a_flipped_payload_bit_is_reported_and_the_others_are_read() {
    let dir = tempdir().unwrap();
    let records = three_segments(&open(dir.path())).await;
    flip(&segment_path(dir.path(), 0), records[1].lsn.0 + u64::from(records[1].head_bytes) + 77, 4);
    let journal = open(dir.path());
    assert_eq!(all(&journal).len(), 15, "the head is whole");
    for (number, at) in records.iter().enumerate() {
        let read = journal.read_payload(at, 0..at.payload_bytes);
        let now = journal.read_payload_now(at, 0..at.payload_bytes);
        assert_eq!(matches!(read, Err(Error::Damaged(lsn)) if lsn == at.lsn), number == 1);
        assert_eq!(now.is_none(), number == 1);
    }
    assert_eq!(journal.status().damaged, [records[1].lsn]);
}

#[tokio::test]
async fn a_flipped_head_bit_is_reported_and_the_others_are_read() {
    // The first, an inner and the last record of a segment, and the last durable one of the newest
    // but one.
    for damaged in [0, 1, 5, 11] {
        let dir = tempdir().unwrap();
        let records = three_segments(&open(dir.path())).await;
        let at = &records[damaged];
        flip(&segment_path(dir.path(), at.lsn.0 / SEGMENT), at.lsn.0 % SEGMENT + 30, 1);
        for start in 0..2 {
            let journal = open(dir.path());
            assert_eq!(journal.status().damaged, [at.lsn], "start {start}");
            assert_eq!(numbers(&journal), (0..15).filter(|&number| number != damaged).collect::<Vec<_>>());
            assert!(matches!(journal.read_payload(at, 0..10), Err(Error::Damaged(_))));
        }
    }
}

#[tokio::test]
async fn damage_while_open_is_reported_by_reading() {
    let dir = tempdir().unwrap();
    let journal = open(dir.path());
    let records = three_segments(&journal).await;
    flip(&segment_path(dir.path(), 1), records[7].lsn.0 % SEGMENT, 1);
    journal.forget_recent(Lsn(u64::MAX));
    assert_eq!(numbers(&journal), (0..15).filter(|&number| number != 7).collect::<Vec<_>>());
    assert_eq!(journal.status().damaged, [records[7].lsn]);
}

#[tokio::test]
async fn a_journal_inside_a_payload_is_not_taken_for_records() {
    let other = tempdir().unwrap();
    let dir = tempdir().unwrap();
    // The other journal's second record lies where the payload of this one's first begins: only the
    // epoch differs.
    let (begins, inner) = {
        let journal = open(other.path());
        append(&journal, 6, 0).await.unwrap();
        let at = append(&journal, 7, 100).await.unwrap();
        (usize::try_from(at.lsn.0).unwrap(), fs::read(segment_path(other.path(), 0)).unwrap())
    };
    let journal = open(dir.path());
    let payload = vec![bytes::Bytes::from(inner).slice(begins..4096)];
    let outer = journal.append(head(0), Payload::Inline(payload)).await.unwrap();
    assert_eq!(usize::try_from(outer.head_bytes).unwrap(), begins);
    append(&journal, 1, 10).await.unwrap();
    drop(journal);
    flip(&segment_path(dir.path(), 0), 10, 1);
    assert_eq!(numbers(&open(dir.path())), [1]);
}

#[tokio::test]
async fn restarts_without_writes_use_no_segments() {
    let dir = tempdir().unwrap();
    let crashed = tempdir().unwrap();
    let journal = open(dir.path());
    append(&journal, 0, 10).await.unwrap();
    crash_copy(dir.path(), crashed.path());
    drop(journal);
    for path in [dir.path(), crashed.path()] {
        for _ in 0..3 {
            let journal = open(path);
            assert_eq!(journal.status().segments, 1);
            assert!(journal.status().used_bytes < 4096, "a segment that is not written any more is cut");
        }
    }
    let fresh = tempdir().unwrap();
    for _ in 0..5 {
        assert_eq!(open(fresh.path()).status().segments, 1);
    }
    let journal = open(fresh.path());
    assert_eq!(append(&journal, 0, 10).await.unwrap().lsn, Lsn(0), "an unused segment is begun, not skipped");
}

#[test]
fn a_directory_with_segments_but_without_identity_is_refused() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()));
    fs::remove_file(dir.path().join("journal.json")).unwrap();
    assert!(matches!(Journal::open(options(&[dir.path()])), Err(Error::Unusable { .. })));
}

#[test]
fn a_journal_of_a_later_format_is_refused() {
    let dir = tempdir().unwrap();
    drop(open(dir.path()));
    let path = dir.path().join("journal.json");
    let text = fs::read_to_string(&path).unwrap().replace("\"format\": 1", "\"format\": 2");
    fs::write(&path, text).unwrap();
    assert!(matches!(Journal::open(options(&[dir.path()])), Err(Error::Unusable { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is damaged: it opens, what it lists is as written, and what lies elsewhere is not
    /// lost.
    #[test]
    fn no_damage_makes_it_lie(
        lens in proptest::collection::vec(0usize..9_000, 1..12),
        places in proptest::collection::vec((any::<u64>(), 1u8..), 1..4),
    ) {
        let dir = tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let journal = open(dir.path());
        let mut records = Vec::new();
        for (number, &len) in lens.iter().enumerate() {
            records.push(runtime.block_on(append(&journal, number, len)).unwrap());
        }
        let end = journal.durable_end().0;
        drop(journal);
        let mut hit = std::collections::HashSet::new();
        for (place, mask) in places {
            let at = place % end;
            flip(&segment_path(dir.path(), at / SEGMENT), at % SEGMENT, mask);
            hit.extend(records.iter().rposition(|record| record.lsn.0 <= at));
        }
        let journal = open(dir.path());
        for record in all(&journal) {
            let number: usize = record.head.sop_instance_uid.as_str().rsplit('.').next().unwrap().parse().unwrap();
            prop_assert_eq!(&record.at, &records[number]);
            let payload = journal.read_payload(&record.at, 0..record.at.payload_bytes);
            prop_assert!(payload.is_ok() || hit.contains(&number));
        }
        for (number, record) in records.iter().enumerate().filter(|(number, _)| !hit.contains(number)) {
            let payload = journal.read_payload(record, 0..record.payload_bytes).unwrap();
            prop_assert_eq!(payload, super::bytes(number, lens[number]));
        }
    }
}
