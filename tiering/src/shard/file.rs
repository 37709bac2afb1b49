//! An open shard file whose header and footer were checked.

use std::io::{self, Read};

use super::footer::{Footer, Geometry, TAIL_BYTES};
use super::header::Header;
use super::{BLOCK_BYTES, HEADER_BYTES};
use crate::erasure::Erasure;
use crate::medium::ShardReader;
use crate::medium::name::ShardName;
use disk::crc32c;

/// Why a shard cannot be used.
#[derive(Debug)]
pub(crate) enum ShardFault {
    /// There is no such file.
    Missing,
    /// It is there, and is not what it should be.
    Damaged(&'static str),
    /// The system refused to read it.
    Io(io::Error),
}

impl From<io::Error> for ShardFault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Missing
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Damaged("file is shorter than it was")
        } else {
            Self::Io(error)
        }
    }
}

/// An open shard.
#[derive(Debug)]
pub(crate) struct ShardFile {
    file: ShardReader,
    footer: Footer,
}

impl ShardFile {
    /// Checks that an open shard is the one expected: container, number, code, lengths.
    pub(crate) fn check(file: ShardReader, name: ShardName, erasure: &Erasure) -> Result<Self, ShardFault> {
        let bytes = file.bytes()?;
        let tail_bytes = u64::try_from(TAIL_BYTES).expect("100 bytes");
        let tail_offset = bytes.checked_sub(tail_bytes).filter(|offset| *offset >= HEADER_BYTES);
        let tail_offset = tail_offset.ok_or(ShardFault::Damaged("file is shorter than header and footer"))?;
        let mut header = [0; 4096];
        file.read(&mut header, 0)?;
        let header = Header::decode(&header, erasure).map_err(ShardFault::Damaged)?;
        let mut tail = [0; TAIL_BYTES];
        file.read(&mut tail, tail_offset)?;
        let footer = Footer::decode(&tail).map_err(ShardFault::Damaged)?;
        if header.container != name.container || header.shard != name.shard {
            return Err(ShardFault::Damaged("belongs to another container or place"));
        }
        let geometry = &footer.geometry;
        let of_footer = Header {
            container: geometry.container,
            generation: geometry.generation,
            shard: footer.shard,
            unit_bytes: geometry.unit_bytes,
        };
        if of_footer != header || geometry.code != erasure.code() {
            return Err(ShardFault::Damaged("header and footer contradict each other"));
        }
        if geometry.file_bytes(name.shard) != bytes {
            return Err(ShardFault::Damaged("file length differs from its footer"));
        }
        Ok(Self { file, footer })
    }

    /// Returns what the container's shards agree on.
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.footer.geometry
    }

    /// Returns the shard's number.
    pub(crate) fn shard(&self) -> u8 {
        self.footer.shard
    }

    /// Returns the checksum of the checksum table, which names its content.
    pub(crate) fn table_crc(&self) -> u32 {
        self.footer.table_crc
    }

    /// Reads bytes of the unit region.
    pub(crate) fn read_region(&self, out: &mut [u8], offset: u64) -> Result<(), ShardFault> {
        Ok(self.file.read(out, HEADER_BYTES + offset)?)
    }

    /// Reads bytes of the unit region if they are in memory; never waits for the device.
    pub(crate) fn read_region_now(&self, out: &mut [u8], offset: u64) -> bool {
        self.file.read_now(out, HEADER_BYTES + offset)
    }

    /// Reads the file from the device, for checking all of it.
    pub(crate) fn read_uncached(&self, out: &mut [u8], offset: u64) -> Result<(), ShardFault> {
        Ok(self.file.read_uncached(out, offset)?)
    }

    /// Reads the checksum table and checks it.
    pub(crate) fn table(&self) -> Result<Table, ShardFault> {
        let geometry = self.geometry();
        let bytes = self.exact(geometry.table_offset(), geometry.blocks() * 4)?;
        if crc32c(&bytes) != self.footer.table_crc {
            return Err(ShardFault::Damaged("checksum table differs"));
        }
        Ok(Table(bytes))
    }

    /// Reads the list of hashes and checks it.
    pub(crate) fn hashes(&self) -> Result<Vec<u8>, ShardFault> {
        let geometry = self.geometry();
        let mut bytes = vec![0; geometry.hashes_bytes()];
        self.file.read(&mut bytes, geometry.hashes_offset())?;
        if crc32c(&bytes) != geometry.hashes_crc {
            return Err(ShardFault::Damaged("list of hashes differs"));
        }
        Ok(bytes)
    }

    /// Reads, checks and decompresses the table of contents; only for shards that carry it.
    pub(crate) fn toc(&self) -> Result<Vec<u8>, ShardFault> {
        let geometry = self.geometry();
        let stored = self.exact(geometry.toc_offset(), geometry.toc_bytes)?;
        if crc32c(&stored) != geometry.toc_crc {
            return Err(ShardFault::Damaged("table of contents differs"));
        }
        let mut raw = Vec::new();
        let decoder = zstd::stream::read::Decoder::with_buffer(stored.as_slice())?;
        decoder.take(geometry.toc_raw_bytes + 1).read_to_end(&mut raw)?;
        if u64::try_from(raw.len()) != Ok(geometry.toc_raw_bytes) {
            return Err(ShardFault::Damaged("table of contents has another length"));
        }
        Ok(raw)
    }

    /// Forgets what memory remembers of the file, so that the next read comes from the device where the system can do so.
    pub(crate) fn forget_cached(&self) {
        self.file.forget_cached();
    }

    fn exact(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, ShardFault> {
        // The file's real length was compared with these lengths, so the allocation is no larger than the file.
        let bytes = usize::try_from(bytes).map_err(|_| ShardFault::Damaged("too long for this machine"))?;
        let mut out = vec![0; bytes];
        self.file.read(&mut out, offset)?;
        Ok(out)
    }
}

/// The checksum table of a shard.
#[derive(Debug)]
pub(crate) struct Table(Vec<u8>);

impl Table {
    /// Returns the checksums as they are stored, four bytes each.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether these are the bytes of the block.
    pub(crate) fn matches(&self, block: u64, bytes: &[u8]) -> bool {
        let at = usize::try_from(block).ok().and_then(|block| block.checked_mul(4));
        let entry = at.and_then(|at| self.0.get(at..)).and_then(<[u8]>::first_chunk::<4>);
        entry.is_some_and(|entry| u32::from_le_bytes(*entry) == crc32c(bytes))
    }

    /// Returns the numbers of the blocks in `bytes` that differ; `first` is the number of the first block.
    pub(crate) fn differing(&self, first: u64, bytes: &[u8]) -> Vec<u64> {
        let block_bytes = usize::try_from(BLOCK_BYTES).expect("64 KiB");
        let blocks = (first..).zip(bytes.chunks(block_bytes));
        blocks.filter(|(block, bytes)| !self.matches(*block, bytes)).map(|(block, _)| block).collect()
    }
}
