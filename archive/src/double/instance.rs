//! An instance of the double, and how reading it goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dicom_data::query::Level;
use dicom_data::{BulkPath, Identifiers, Uid};
use futures_util::stream;
use journal::{Lsn, RecordRef};
use tokio::sync::Notify;

use crate::{Error, InstanceBody, InstanceRef, Location};

/// Shortest piece that a data set is read in by default.
const PIECE_BYTES_MIN: usize = 7;
/// Pieces of a long data set by default.
const PIECES: usize = 100;
/// Piece that bulk values are read in.
const VALUE_PIECE_BYTES: usize = 5;
/// What an endless instance is made of.
static ZEROES: [u8; 65_536] = [0; 65_536];

/// An instance of the double.
#[derive(Debug, Clone)]
pub struct Instance {
    /// What locating it returns.
    pub instance: InstanceRef,
    /// Its bytes.
    pub data_set: Bytes,
    /// Its frames, the first one first.
    pub frames: Vec<Bytes>,
    /// Its metadata as a DICOM JSON object.
    pub metadata: Bytes,
    /// Its bulk values, by path.
    pub bulk: BTreeMap<String, Bytes>,
    /// Length that it is opened with, if not the located one.
    pub opened_bytes: Option<u64>,
    /// Bytes that are read at a time.
    pub piece_bytes: usize,
    /// How reading it goes.
    pub reading: Reading,
}

/// How reading an instance goes.
#[derive(Debug, Clone, Default)]
pub enum Reading {
    /// It is read in full.
    #[default]
    Whole,
    /// It cannot be opened.
    Fails,
    /// Its pieces come up to this byte; then reading fails.
    BreaksAt(usize),
    /// Bytes come as long as they are taken.
    Endless(Arc<Endless>),
}

/// Counts the bytes of an endless instance and tells when its reader is gone.
#[derive(Debug, Default)]
pub struct Endless {
    /// Bytes that were taken.
    pub given_bytes: AtomicU64,
    /// Notified when a reader is dropped.
    pub dropped: Notify,
}

impl Instance {
    /// Makes an instance with a data set and nothing else.
    #[must_use]
    pub fn new(uids: Identifiers, transfer_syntax_uid: Uid, data_set: Bytes) -> Self {
        let bytes = length(&data_set);
        let record = RecordRef { lsn: Lsn(0), head_bytes: 0, payload_bytes: bytes, crc32c: 0, large: false };
        let instance = InstanceRef {
            study_instance_uid: uids.study_instance_uid,
            series_instance_uid: uids.series_instance_uid,
            sop_instance_uid: uids.sop_instance_uid,
            sop_class_uid: uids.sop_class_uid,
            transfer_syntax_uid,
            bytes,
            location: Location::Journal(record),
        };
        let piece_bytes = PIECE_BYTES_MIN.max(data_set.len() / PIECES);
        Self {
            instance,
            data_set,
            piece_bytes,
            frames: Vec::new(),
            metadata: Bytes::from_static(b"{}"),
            bulk: BTreeMap::new(),
            opened_bytes: None,
            reading: Reading::Whole,
        }
    }

    pub(super) fn is(&self, sop_instance_uid: &str) -> bool {
        self.instance.sop_instance_uid.as_str() == sop_instance_uid
    }

    /// Returns what matches of a level differ in. All instances are one patient's.
    pub(super) fn unit(&self, level: Level) -> Option<&Uid> {
        match level {
            Level::Patient => None,
            Level::Study => Some(&self.instance.study_instance_uid),
            Level::Series => Some(&self.instance.series_instance_uid),
            Level::Instance => Some(&self.instance.sop_instance_uid),
        }
    }

    pub(super) fn open(&self) -> Result<InstanceBody, Error> {
        let bytes = self.opened_bytes.unwrap_or(self.instance.bytes);
        let mut chunks = pieces(&self.data_set, self.piece_bytes);
        match &self.reading {
            Reading::Whole => {}
            Reading::Fails => return Err(lost()),
            Reading::BreaksAt(at) => {
                chunks.truncate(at / self.piece_bytes);
                chunks.push(Err(lost()));
            }
            Reading::Endless(endless) => {
                let reader = EndlessReader(Arc::clone(endless));
                let chunks = stream::repeat_with(move || Ok(reader.next()));
                return Ok(InstanceBody { bytes, chunks: Box::pin(chunks) });
            }
        }
        Ok(InstanceBody { bytes, chunks: Box::pin(stream::iter(chunks)) })
    }

    pub(super) fn read_metadata(&self) -> Result<Bytes, Error> {
        match self.reading {
            Reading::Fails | Reading::BreaksAt(_) => Err(lost()),
            Reading::Whole | Reading::Endless(_) => Ok(self.metadata.clone()),
        }
    }

    pub(super) fn bulk_value(&self, path: &BulkPath) -> Result<InstanceBody, Error> {
        let value = self.bulk.get(&path.to_string()).ok_or(Error::NotFound { what: "bulk data" })?;
        let chunks = pieces(value, VALUE_PIECE_BYTES);
        Ok(InstanceBody { bytes: length(value), chunks: Box::pin(stream::iter(chunks)) })
    }
}

fn pieces(bytes: &Bytes, piece_bytes: usize) -> Vec<Result<Bytes, Error>> {
    bytes.chunks(piece_bytes).map(|piece| Ok(bytes.slice_ref(piece))).collect()
}

fn lost() -> Error {
    Error::Io { doing: "read", source: std::io::Error::other("a disk is lost") }
}

/// Reads an endless instance.
struct EndlessReader(Arc<Endless>);

impl EndlessReader {
    fn next(&self) -> Bytes {
        self.0.given_bytes.fetch_add(length(&ZEROES), Ordering::SeqCst);
        Bytes::from_static(&ZEROES)
    }
}

impl Drop for EndlessReader {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
