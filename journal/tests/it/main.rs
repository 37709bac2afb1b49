//! The journal's promises, on real files.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic")]

mod append;
mod conformance;
mod copies;
mod format;
mod large;
mod prepare;
mod recovery;
mod release;
mod simulation;
mod unflushed;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use journal::{Error, Journal, JournalOptions, Lsn, Payload, Record, RecordHead, RecordRef};

/// Bytes of a segment in these tests.
const SEGMENT: u64 = 64 << 10;

fn options(copies: &[&Path]) -> JournalOptions {
    JournalOptions {
        segment_bytes: SEGMENT,
        bytes_max: 16 * SEGMENT,
        queue_bytes_max: 1 << 20,
        inline_bytes_max: 32 << 10,
        ..JournalOptions::new(copies.iter().map(|path| path.to_path_buf()))
    }
}

fn open(path: &Path) -> Journal {
    Journal::open(options(&[path])).unwrap()
}

fn head(number: usize) -> RecordHead {
    RecordHead {
        study_instance_uid: "1.2.3".parse().unwrap(),
        series_instance_uid: "1.2.3.4".parse().unwrap(),
        sop_instance_uid: format!("1.2.3.4.{number}").parse().unwrap(),
        sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".parse().unwrap(),
        transfer_syntax_uid: "1.2.840.10008.1.2.1".parse().unwrap(),
        calling_ae: "MODALITY".to_owned(),
        called_ae: "FILMROOM".to_owned(),
        received_millis: 1_700_000_000_000,
    }
}

/// Bytes that differ from record to record.
fn bytes(number: usize, len: usize) -> Bytes {
    (0..len).map(|at| u8::try_from((at * 31 + number * 7 + at / 251) % 256).unwrap()).collect()
}

async fn append(journal: &Journal, number: usize, len: usize) -> Result<RecordRef, Error> {
    journal.append(head(number), Payload::Inline(vec![bytes(number, len)])).await
}

fn all(journal: &Journal) -> Vec<Record> {
    journal.read_from(Lsn(0), usize::MAX, u64::MAX).unwrap()
}

/// The numbers of the records that are listed, each with its payload compared.
fn numbers(journal: &Journal) -> Vec<usize> {
    let numbers = all(journal).into_iter().map(|record| {
        let uid = record.head.sop_instance_uid.as_str().to_owned();
        let number = uid.rsplit('.').next().unwrap().parse().unwrap();
        assert_eq!(record.head, head(number));
        let payload = journal.read_payload(&record.at, 0..record.at.payload_bytes).unwrap();
        assert_eq!(payload, bytes(number, payload.len()), "payload of {number}");
        number
    });
    numbers.collect()
}

fn segment_path(copy: &Path, number: u64) -> PathBuf {
    copy.join("segments").join(format!("{number:016x}.seg"))
}

/// Copies a directory as a crash at this moment would leave it.
fn crash_copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            crash_copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn flip(path: &Path, at: u64, mask: u8) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ mask], at).unwrap();
}
