//! What one durable append of 60 KB costs, alone and beside fifteen others. The baseline writes as
//! many bytes to a file of fixed length in the same directory and flushes them once: no journal can
//! be faster for one copy.
//!
//! Everything lies below Cargo's target directory: a temporary directory in memory would flush
//! nothing.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use journal::{Journal, JournalOptions, Payload, RecordHead};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Bytes of a data set.
const INSTANCE_BYTES: usize = 60_000;
/// Bytes of the baseline's file; it is written over from the start when it is full.
const FILE_BYTES: u64 = 256 << 20;
/// How many append at once.
const WRITERS: [usize; 2] = [1, 16];

fn main() {
    divan::main();
}

#[divan::bench(args = WRITERS, sample_count = 200, sample_size = 1)]
fn baseline_fdatasync(bencher: Bencher<'_, '_>, writers: usize) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written");
    let file = File::create(directory.path().join("file")).expect("the directory is new");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES).expect("there is room");
    let bytes = vec![7; INSTANCE_BYTES * writers];
    let mut ends = (0..).map(|n| n * u64::try_from(bytes.len()).expect("it is short") % (FILE_BYTES / 2));
    bencher.counter(ItemsCount::new(writers)).bench_local(|| {
        let at = ends.next().expect("it has no end");
        file.write_all_at(&bytes, at).expect("there is room");
        file.sync_data().expect("the disk works");
    });
}

#[divan::bench(args = WRITERS, sample_count = 200, sample_size = 1)]
fn append(bencher: Bencher<'_, '_>, writers: usize) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written");
    let journal = Journal::open(JournalOptions::new(vec![directory.path().join("copy")])).expect("it is a new one");
    let runtime = Runtime::new().expect("threads can be started");
    let payload = Bytes::from(vec![7; INSTANCE_BYTES]);
    bencher.counter(ItemsCount::new(writers)).bench_local(|| {
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for number in 0..writers {
                let (journal, payload) = (journal.clone(), payload.clone());
                tasks.spawn(async move { journal.append(head(number), Payload::Inline(vec![payload])).await });
            }
            for appended in tasks.join_all().await {
                appended.expect("the disk works");
            }
        });
    });
    runtime.block_on(journal.close());
}

fn head(number: usize) -> RecordHead {
    let uid = |text: &str| text.parse().expect("it is a UID");
    RecordHead {
        study_instance_uid: uid("2.25.1"),
        series_instance_uid: uid("2.25.2"),
        sop_instance_uid: uid(&format!("2.25.3.{number}")),
        sop_class_uid: uid("1.2.840.10008.5.1.4.1.1.2"),
        transfer_syntax_uid: uid("1.2.840.10008.1.2.1"),
        calling_ae: "BENCH".to_owned(),
        called_ae: "FILMROOM".to_owned(),
        received_millis: 1_700_000_000_000,
    }
}
