//! Records that a start can read although the disk may not have them.

use journal::{CopyPlace, Error, Fault, Journal, JournalOptions, MemoryCopy};

use super::{append, numbers, options};

fn open(copies: &[&MemoryCopy]) -> Journal {
    let copies = copies.iter().map(|&copy| CopyPlace::Memory(copy.clone())).collect();
    Journal::open(JournalOptions { copies, copies_required: 1, ..options(&[]) }).unwrap()
}

#[tokio::test]
async fn a_copy_given_up_before_it_flushed_has_the_records_after_the_next_start() {
    for seed in 0..20 {
        let [left, right] = ["left", "right"].map(MemoryCopy::new);
        let journal = open(&[&left, &right]);
        append(&journal, 0, 30_000).await.unwrap();
        right.inject(Fault::Flush);
        append(&journal, 1, 30_000).await.unwrap();
        append(&journal, 2, 9_999).await.unwrap(); // nothing follows record 1 in its segment
        assert_eq!(journal.segment_of(journal.durable_end()), 1, "the newest segment is another one");
        drop(journal);
        right.inject(Fault::None);
        // The server starts again, the machine has not stopped: everything can still be read.
        let journal = open(&[&left, &right]);
        left.inject(Fault::Flush);
        append(&journal, 3, 2_000).await.unwrap();
        left.crash(seed);
        right.crash(seed);
        drop(journal);
        left.inject(Fault::None);
        assert_eq!(numbers(&open(&[&left, &right])), [0, 1, 2, 3], "seed {seed}");
    }
}

#[tokio::test]
async fn what_a_start_has_listed_survives_a_crash_after_it() {
    for seed in 0..20 {
        let copy = MemoryCopy::new("copy");
        let journal = open(&[&copy]);
        append(&journal, 0, 2_000).await.unwrap();
        copy.inject(Fault::Flush);
        assert!(matches!(append(&journal, 1, 2_000).await, Err(Error::Poisoned { .. })));
        drop(journal);
        copy.inject(Fault::None);
        let journal = open(&[&copy]);
        assert_eq!(numbers(&journal), [0, 1], "the index may have it now");
        copy.crash(seed);
        drop(journal);
        assert_eq!(numbers(&open(&[&copy])), [0, 1], "seed {seed}");
    }
}
