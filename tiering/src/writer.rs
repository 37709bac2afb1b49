//! Writing a container: bytes in order, coded row by row, sealed once.

pub(crate) mod creator;
mod rows;
mod seal;
mod staged;
mod unit;

use std::io::{self, Read};
use std::sync::Arc;

use tracing::debug;

use crate::catalog::Catalog;
use crate::shard::footer::Geometry;
use crate::{CodeProfile, ContainerId, DeviceId, Error, Toc};
use rows::{Rows, full};
use seal::StoredToc;
use staged::Staged;

/// Bytes taken from a source at one time.
const SOURCE_CHUNK_BYTES: usize = 64 * 1024;

/// A container being written; needs memory for one row, k+m units. Dropping it removes what was written.
#[derive(Debug)]
pub struct ContainerWriter {
    rows: Rows,
    /// Index of the pool.
    pool: usize,
    catalog: Arc<Catalog>,
    failed: bool,
}

/// What sealing a container returns once it is coded, spread and read back.
#[derive(Debug, Clone)]
pub struct SealReport {
    /// Its name.
    pub id: ContainerId,
    /// Name of its pool.
    pub pool: String,
    /// How it is coded.
    pub code: CodeProfile,
    /// Bytes that were appended, with padding.
    pub logical_bytes: u64,
    /// Bytes of all its shard files.
    pub stored_bytes: u64,
    /// Shard number and device of each shard.
    pub shards: Vec<(u8, DeviceId)>,
}

impl ContainerWriter {
    pub(crate) fn new(rows: Rows, pool: usize, catalog: Arc<Catalog>) -> Self {
        Self { rows, pool, catalog, failed: false }
    }

    /// Returns the container's name.
    pub fn id(&self) -> ContainerId {
        self.rows.id
    }

    /// Returns the bytes appended so far, with padding.
    pub fn logical_bytes(&self) -> u64 {
        self.rows.logical_bytes
    }

    /// Appends bytes and returns their logical offset; up to 512 KiB never straddle a unit. Blocks.
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        self.guarded(|rows| {
            let offset = rows.pad(u64::try_from(bytes.len()).expect("a usize has at most 64 bits"))?;
            rows.fill(bytes)?;
            Ok(offset)
        })
    }

    /// Appends exactly so many bytes from a source, in bounded memory, and returns their logical offset. Blocks.
    pub fn append_from(&mut self, bytes: u64, reader: &mut dyn Read) -> Result<u64, Error> {
        self.guarded(|rows| {
            let offset = rows.pad(bytes)?;
            let mut source = reader.take(bytes);
            let mut chunk = vec![0; SOURCE_CHUNK_BYTES];
            let mut left = bytes;
            while left > 0 {
                let read = take_from(rows.id, &mut source, &mut chunk)?;
                rows.fill(chunk.get(..read).unwrap_or_default())?;
                left = left.saturating_sub(u64::try_from(read).expect("a usize has at most 64 bits"));
            }
            Ok(offset)
        })
    }

    /// Seals the container: returns once every shard is fsynced, has its name, and was read back from its device. Blocks.
    ///
    /// After an error nothing is left of it.
    pub fn seal(mut self, toc: &Toc) -> Result<SealReport, Error> {
        let toc = StoredToc::new(toc)?;
        let geometry = self.guarded(|rows| seal::spread(rows, &toc))?;
        Ok(self.keep(&geometry))
    }

    /// Makes the container known.
    fn keep(mut self, geometry: &Geometry) -> SealReport {
        let rows = &mut self.rows;
        let places: Vec<_> = rows.shards.iter().map(|shard| (shard.number, shard.device_id)).collect();
        for (number, device) in &places {
            self.catalog.add(self.pool, *device, [(rows.id, *number)]);
        }
        rows.shards.iter_mut().for_each(Staged::keep);
        let stored_bytes = places.iter().map(|(number, _)| geometry.file_bytes(*number)).sum();
        let pool = rows.pool.config.name.clone();
        debug!(container = %rows.id, pool, logical_bytes = geometry.logical_bytes, stored_bytes, "container sealed");
        SealReport {
            id: rows.id,
            pool,
            code: rows.code,
            logical_bytes: geometry.logical_bytes,
            stored_bytes,
            shards: places,
        }
    }

    /// Runs a step that may fail; after a failure the container can only be dropped.
    fn guarded<T>(&mut self, step: impl FnOnce(&mut Rows) -> Result<T, Error>) -> Result<T, Error> {
        if self.failed {
            return Err(Error::WriterFailed { container: self.rows.id });
        }
        let result = step(&mut self.rows);
        self.failed = result.is_err();
        result.map_err(|error| full(error, self.rows.pool.config.tier, self.rows.logical_bytes))
    }

    #[cfg(test)]
    fn into_rows(self) -> Rows {
        self.rows
    }
}

fn take_from(id: ContainerId, source: &mut dyn Read, chunk: &mut [u8]) -> Result<usize, Error> {
    loop {
        match source.read(chunk) {
            Ok(0) => {
                let source = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(Error::Source { container: id, source });
            }
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(Error::Source { container: id, source });
            }
        }
    }
}
