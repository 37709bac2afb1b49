//! Payloads of journal records as data sets: read in windows, or whole against their CRC.

use std::io;

use disk::Crc32c;
use journal::{Journal, RecordRef};

use crate::windowed::{Fetch, Windowed};

/// Bytes fetched at once: a slice whole, so that its checksum is looked at.
const WINDOW_BYTES: usize = 64 * 1024;
/// As above for a header alone.
const HEADER_WINDOW_BYTES: usize = 8 * 1024;
/// Bytes of a large payload checked at a time.
const CHECK_BYTES: u64 = 1 << 20;

/// Returns the data set of a record.
pub(super) fn source(journal: &Journal, at: &RecordRef) -> Windowed<Fetch> {
    let (journal, at, bytes) = (journal.clone(), at.clone(), at.payload_bytes);
    let fetch: Fetch = Box::new(move |offset, len| {
        let end = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        journal.read_payload(&at, offset..end).map_err(io::Error::other)
    });
    Windowed::new(bytes, WINDOW_BYTES, fetch)
}

/// Returns the data set of a record for reading its header: in short pieces, the first of which is in memory while the
/// record is new. The checksum is not compared: only for what this process wrote moments ago.
pub(super) fn header_source(journal: &Journal, at: &RecordRef) -> Windowed<Fetch> {
    let (journal, at, bytes) = (journal.clone(), at.clone(), at.payload_bytes);
    let fetch: Fetch = Box::new(move |offset, len| {
        let range = offset..offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        match journal.read_payload_now(&at, range.clone()) {
            Some(part) => Ok(part),
            None => journal.read_payload(&at, range).map_err(io::Error::other),
        }
    });
    Windowed::new(bytes, HEADER_WINDOW_BYTES, fetch)
}

/// Reads a record's whole payload and compares it with its CRC, in bounded memory.
pub(super) fn verify(journal: &Journal, at: &RecordRef) -> Result<(), journal::Error> {
    if !at.large {
        return journal.read_payload(at, 0..at.payload_bytes).map(drop);
    }
    let mut digest = Crc32c::default();
    let mut offset = 0;
    while offset < at.payload_bytes {
        let end = at.payload_bytes.min(offset + CHECK_BYTES);
        digest.update(&journal.read_payload(at, offset..end)?);
        offset = end;
    }
    if digest.finish() == at.crc32c { Ok(()) } else { Err(journal::Error::Damaged(at.lsn)) }
}
