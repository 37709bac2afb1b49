//! Segments made ready before they are needed.

use std::fs;

use journal::{Journal, JournalOptions};
use tempfile::tempdir;

use super::{all, append, numbers, options, segment_path};

/// The shortest segments that are made ready.
const SEGMENT: u64 = 16 << 20;

fn long(path: &std::path::Path) -> JournalOptions {
    JournalOptions { segment_bytes: SEGMENT, bytes_max: 8 * SEGMENT, ..options(&[path]) }
}

#[tokio::test]
async fn a_segment_that_was_not_ready_is_left_for_one_that_is() {
    let dir = tempdir().unwrap();
    let journal = Journal::open(long(dir.path())).unwrap();
    let mut written = 0;
    // 30 KB each at first; then short ones, so that the thread beside has time before the segment
    // is full.
    while journal.status().segments == 1 {
        append(&journal, written, if written < 200 { 30_000 } else { 10 }).await.unwrap();
        written += 1;
    }
    let left = fs::metadata(segment_path(dir.path(), 0)).unwrap().len();
    assert!(left < SEGMENT, "the first segment was left before it was full and its space given back: {left}");
    append(&journal, written, 30_000).await.unwrap();
    assert_eq!(journal.segment_of(all(&journal).last().unwrap().at.lsn), 1);
    let expected: Vec<usize> = (0..=written).collect();
    assert_eq!(numbers(&journal), expected);
    drop(journal);
    let journal = Journal::open(long(dir.path())).unwrap();
    assert_eq!(numbers(&journal), expected);
}
