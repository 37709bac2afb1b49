//! Tombstones: records that must outlive the database, kept on every device in `tombstones.log`, only ever appended to.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic `FRTS` |
//! | 4 | 4 | length n of the record, at most 65536 |
//! | 8 | 4 | CRC32C of the length and the record |
//! | 12 | n | the record, opaque here |
//! | 12 + n | 1 | 0xFF |
//!
//! A reader that meets anything else searches on for the next record, so a torn tail or a damaged record costs only
//! itself and need not be cut off before the next is appended. The last byte is one that the magic does not have: else a
//! record torn before its last byte could be completed by the magic of the next, which would then not be found.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{error, warn};

use crate::Error;
use crate::device::Device;
use crate::device::fault_point::Step;
use crate::device::identity::{Found, inspect};
use crate::device::io_threads::Heartbeat;
use crate::medium::name::Note;
use crate::pools::{Pool, Pools};
use crate::wire::Reader;
use disk::crc32c;

const MAGIC: &[u8; 4] = b"FRTS";
const END: u8 = 0xff;
/// Largest record.
const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Largest log that is read: some ten million records.
const LOG_BYTES_MAX: u64 = 1 << 30;

/// The notes of tombstones on all devices.
#[derive(Debug)]
pub(crate) struct TombstoneNotes {
    pools: Arc<Pools>,
}

impl TombstoneNotes {
    pub(crate) fn new(pools: Arc<Pools>) -> Self {
        Self { pools }
    }

    /// Keeps a record as [`crate::Store::add_tombstone`] says.
    pub(crate) fn add(&self, record: &[u8]) -> Result<(), Error> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(Error::TombstoneSize { bytes: record.len(), bytes_max: RECORD_BYTES_MAX });
        }
        let framed = frame(record);
        let mut shortfall = (0, 1);
        let mut kept = false;
        for pool in self.pools.iter() {
            let copies = append_to_all(pool, &framed);
            let needed = usize::from(pool.config.code.parity_shards) + 1;
            kept |= copies >= needed;
            if copies >= shortfall.0 {
                shortfall = (copies, needed);
            }
        }
        let (copies, needed) = shortfall;
        if kept { Ok(()) } else { Err(Error::TombstoneNotKept { copies, needed }) }
    }

    /// Returns all records as [`crate::Store::tombstones`] says.
    pub(crate) fn list(&self) -> Result<Vec<Bytes>, Error> {
        let mut known = HashSet::new();
        let mut records = Vec::new();
        for pool in self.pools.iter() {
            let mut unread = 0;
            for device in pool.all_online() {
                match read_log(device) {
                    Ok(log) => keep_new(&log, &mut known, &mut records),
                    // Each record is on m+1 devices, so that m may fail here.
                    Err(error) if unread < pool.config.code.parity_shards => {
                        unread += 1;
                        error!(device = %device.label().display(), %error, "tombstones not read");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(records)
    }
}

/// Adds the records of a log that are not known yet.
fn keep_new(log: &[u8], known: &mut HashSet<Bytes>, records: &mut Vec<Bytes>) {
    for record in parse(log) {
        if !known.contains(record) {
            let record = Bytes::copy_from_slice(record);
            known.insert(record.clone());
            records.push(record);
        }
    }
}

/// Appends to every device at once; returns how many have it.
fn append_to_all(pool: &Pool, framed: &[u8]) -> usize {
    let append = |device: &Arc<Device>| {
        let (on, framed) = (Arc::clone(device), framed.to_vec());
        device.begin(move |heartbeat| append_here(&on, &framed, heartbeat))
    };
    let calls: Vec<_> = pool.all_online().map(|device| (device, append(device))).collect();
    let kept = calls.into_iter().map(|(device, call)| call.and_then(|call| call.wait(device.answer_max())));
    kept.filter(|kept| matches!(kept, Ok(true))).count()
}

fn append_here(device: &Device, framed: &[u8], heartbeat: &Heartbeat) -> bool {
    let looked = heartbeat.step(Step::Look);
    // Without its device.json this is a mount point whose disk is gone: writing there would be lost with the next mount.
    if looked.is_ok() && !matches!(inspect(device.medium()), Found::Ready(_)) {
        device.note_not_found_here();
        return false;
    }
    let kept = looked
        .and_then(|()| heartbeat.step(Step::Write))
        .and_then(|()| device.medium().append_note(Note::Tombstones, framed));
    if let Err(error) = &kept {
        device.note_error(error);
        warn!(device = %device.label().display(), %error, "tombstone not kept");
    }
    kept.is_ok()
}

fn read_log(device: &Arc<Device>) -> Result<Vec<u8>, Error> {
    let medium = Arc::clone(device.medium());
    let called = device.call(move |heartbeat| {
        heartbeat.step(Step::Read)?;
        medium.read_note(Note::Tombstones, LOG_BYTES_MAX)
    });
    called.flatten().map(Option::unwrap_or_default).map_err(Error::io("read tombstones on", device.label()))
}

fn frame(record: &[u8]) -> Vec<u8> {
    let length = u32::try_from(record.len()).expect("bounded before").to_le_bytes();
    let crc = crc32c(&[&length, record].concat());
    [MAGIC, length.as_slice(), &crc.to_le_bytes(), record, &[END]].concat()
}

/// Returns the whole records of a log.
fn parse(mut log: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !log.is_empty() {
        if let Some((record, rest)) = record(log) {
            records.push(record);
            log = rest;
        } else {
            log = log.get(1..).unwrap_or_default();
        }
    }
    records
}

/// Returns the record that begins here, and what follows it.
fn record(log: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader::new(log);
    (reader.take(MAGIC.len())? == MAGIC).then_some(())?;
    let length = reader.array::<4>()?;
    let crc = reader.u32()?;
    let bytes = usize::try_from(u32::from_le_bytes(length)).ok().filter(|bytes| *bytes <= RECORD_BYTES_MAX)?;
    let record = reader.take(bytes)?;
    (reader.u8()? == END).then_some(())?;
    (crc32c(&[&length, record].concat()) == crc).then_some((record, reader.rest()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_torn_record_is_not_completed_by_the_next() {
        let (first, second) = (frame(b"one F"), frame(b"two"));
        for cut in 1..3 {
            let log = [&first[..first.len() - cut], &second].concat();
            assert_eq!(parse(&log), [b"two"]);
        }
    }

    proptest! {
        #[test]
        fn a_torn_or_damaged_record_costs_only_itself(records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 2..6), victim: usize, cut in 1_usize..12) {
            let victim = victim % records.len();
            let mut log = Vec::new();
            for (index, record) in records.iter().enumerate() {
                let framed = frame(record);
                let end = framed.len() - if index == victim { cut.min(framed.len() - 1) } else { 0 };
                log.extend_from_slice(&framed[..end]);
            }
            let want: Vec<&[u8]> = records.iter().enumerate().filter(|(index, _)| *index != victim).map(|(_, record)| record.as_slice()).collect();
            prop_assert_eq!(parse(&log), want);
        }
    }
}
