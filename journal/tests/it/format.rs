//! Journals that earlier releases wrote: they must be read for ever.

use std::fmt::Write;
use std::path::Path;

use expect_test::expect;
use journal::{Journal, JournalOptions, Lsn};
use tempfile::tempdir;

use super::{bytes, crash_copy, flip, head, options, segment_path};

/// Opens a copy of the journal that the first release wrote: segments of 4096 bytes, records 0 to
/// 5, of which 2 is a large file.
fn open_v1(path: &Path) -> Journal {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/formats/journal/v1");
    crash_copy(&golden, path);
    Journal::open(JournalOptions { inline_bytes_max: 3000, ..options(&[path]) }).unwrap()
}

fn list(journal: &Journal) -> String {
    let mut out = String::new();
    for record in journal.read_from(Lsn(0), 100, u64::MAX).unwrap() {
        let at = record.at;
        let number = out.lines().count();
        assert_eq!(record.head, head(number));
        let payload = journal.read_payload(&at, 0..at.payload_bytes).unwrap();
        assert_eq!(payload, bytes(number, payload.len()));
        let large = if at.large { " large" } else { "" };
        let (lsn, head, payload) = (at.lsn.0, at.head_bytes, at.payload_bytes);
        writeln!(out, "{lsn} {head}+{payload} {:08x}{large}", at.crc32c).unwrap();
    }
    out
}

#[test]
fn format_v1_is_read() {
    let dir = tempdir().unwrap();
    let journal = open_v1(dir.path());
    expect![["
        ca69d947-4cb2-403e-9507-16c15c088ffd
        0 168+700 51df31f9
        872 168+0 00000000
        1040 168+5000 b8c30dc2 large
        1208 168+1001 e8f8d33d
        4096 168+2500 179844a9
        6768 168+1 61902e7b
        6944
    "]]
    .assert_eq(&format!("{}\n{}{}\n", journal.id(), list(&journal), journal.durable_end().0));
    assert!(journal.status().damaged.is_empty());
}

#[test]
fn format_v1_tells_damage() {
    let dir = tempdir().unwrap();
    let at = open_v1(dir.path()).read_from(Lsn(0), 1, 1).unwrap().remove(0).at;
    flip(&segment_path(dir.path(), 0), at.lsn.0 + 76, 1); // the CRC of the head
    let journal = Journal::open(JournalOptions { inline_bytes_max: 3000, ..options(&[dir.path()]) }).unwrap();
    assert_eq!(journal.status().damaged, [at.lsn]);
}
