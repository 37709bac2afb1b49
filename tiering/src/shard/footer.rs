//! Footer and trailer of a shard file: how long everything is.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `FRFOOTER` |
//! | 8 | 16 | container UUID |
//! | 24 | 4 | generation |
//! | 28 | 1 | shard number |
//! | 29 | 1 | k |
//! | 30 | 1 | m |
//! | 31 | 1 | 0 |
//! | 32 | 8 | logical bytes of the container |
//! | 40 | 8 | bytes of the unit region of each shard |
//! | 48 | 4 | unit bytes |
//! | 52 | 4 | CRC of the checksum table |
//! | 56 | 4 | CRC of the BLAKE3 list |
//! | 60 | 4 | CRC of the stored table of contents |
//! | 64 | 8 | bytes of the stored table of contents, T, on the shards that carry it |
//! | 72 | 8 | bytes of the table of contents before compression |
//! | 80 | 4 | CRC of bytes 0 to 79 |
//!
//! All fields but the shard number and the CRC of the checksum table are equal on all shards: the [`Geometry`].

use uuid::Uuid;

use super::{BLOCK_BYTES, FORMAT_VERSION, HASH_BYTES, HEADER_BYTES};
use crate::layout::{Layout, UNIT_BYTES_LIMIT};
use crate::wire::Reader;
use crate::{CodeProfile, ContainerId};
use disk::crc32c;

const MAGIC: &[u8; 8] = b"FRFOOTER";
const END_MAGIC: &[u8; 8] = b"FRSHEND1";
const FOOTER_BYTES: usize = 84;
/// Bytes of footer and trailer, the last of the file.
pub(crate) const TAIL_BYTES: usize = FOOTER_BYTES + 16;
const FOOTER_BYTES_U32: u32 = 84;
/// Largest stored or raw table of contents that is read.
pub(crate) const TOC_BYTES_MAX: u64 = 256 << 20;

/// What all shards of one container agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    pub(crate) container: ContainerId,
    pub(crate) generation: u32,
    pub(crate) code: CodeProfile,
    pub(crate) logical_bytes: u64,
    pub(crate) region_bytes: u64,
    pub(crate) unit_bytes: u32,
    pub(crate) hashes_crc: u32,
    pub(crate) toc_crc: u32,
    pub(crate) toc_bytes: u64,
    pub(crate) toc_raw_bytes: u64,
}

/// The footer of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) shard: u8,
    pub(crate) table_crc: u32,
    pub(crate) geometry: Geometry,
}

impl Geometry {
    /// Returns how the container is striped.
    pub(crate) fn layout(&self) -> Layout {
        Layout::of(self.code, self.unit_bytes, self.logical_bytes, self.region_bytes)
    }

    /// Returns the number of blocks of each shard.
    pub(crate) fn blocks(&self) -> u64 {
        self.region_bytes / BLOCK_BYTES
    }

    /// Returns the offset of the checksum table.
    pub(crate) fn table_offset(&self) -> u64 {
        HEADER_BYTES + self.region_bytes
    }

    /// Returns the offset of the list of hashes.
    pub(crate) fn hashes_offset(&self) -> u64 {
        self.table_offset() + self.blocks() * 4
    }

    /// Returns the length of the list of hashes.
    pub(crate) fn hashes_bytes(&self) -> usize {
        usize::from(self.code.shards()) * HASH_BYTES
    }

    /// Returns the offset of the table of contents.
    pub(crate) fn toc_offset(&self) -> u64 {
        self.hashes_offset() + u64::try_from(self.hashes_bytes()).expect("at most 255 hashes")
    }

    /// Returns the length of a whole shard file.
    pub(crate) fn file_bytes(&self, shard: u8) -> u64 {
        let toc = if self.code.carries_toc(shard) { self.toc_bytes } else { 0 };
        self.toc_offset() + toc + u64::try_from(TAIL_BYTES).expect("100 bytes")
    }

    /// Returns whether the lengths fit each other and cannot overflow.
    fn is_sound(&self) -> bool {
        let unit = self.unit_bytes > 0
            && self.unit_bytes <= UNIT_BYTES_LIMIT
            && u64::from(self.unit_bytes).is_multiple_of(BLOCK_BYTES);
        let lengths =
            self.logical_bytes < 1 << 62 && self.toc_bytes <= TOC_BYTES_MAX && self.toc_raw_bytes <= TOC_BYTES_MAX;
        unit && lengths && self.layout().can_have(self.logical_bytes, self.region_bytes)
    }
}

impl Footer {
    /// Returns footer and trailer as they end the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let geometry = &self.geometry;
        let code = geometry.code;
        let mut out = Vec::with_capacity(TAIL_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(geometry.container.0.as_bytes());
        out.extend_from_slice(&geometry.generation.to_le_bytes());
        out.extend_from_slice(&[self.shard, code.data_shards, code.parity_shards, 0]);
        out.extend_from_slice(&geometry.logical_bytes.to_le_bytes());
        out.extend_from_slice(&geometry.region_bytes.to_le_bytes());
        out.extend_from_slice(&geometry.unit_bytes.to_le_bytes());
        out.extend_from_slice(&self.table_crc.to_le_bytes());
        out.extend_from_slice(&geometry.hashes_crc.to_le_bytes());
        out.extend_from_slice(&geometry.toc_crc.to_le_bytes());
        out.extend_from_slice(&geometry.toc_bytes.to_le_bytes());
        out.extend_from_slice(&geometry.toc_raw_bytes.to_le_bytes());
        out.extend_from_slice(&crc32c(&out).to_le_bytes());
        out.extend_from_slice(&FOOTER_BYTES_U32.to_le_bytes());
        out.extend_from_slice(&u32::from(FORMAT_VERSION).to_le_bytes());
        out.extend_from_slice(END_MAGIC);
        out
    }

    /// Reads footer and trailer; returns what is wrong with them.
    pub(crate) fn decode(tail: &[u8; TAIL_BYTES]) -> Result<Self, &'static str> {
        let mut reader = Reader::new(tail);
        let body = reader.take(FOOTER_BYTES - 4).ok_or("footer is short")?;
        let crc = reader.u32();
        let trailer = (reader.u32(), reader.u32(), reader.take(END_MAGIC.len()));
        if trailer != (Some(FOOTER_BYTES_U32), Some(u32::from(FORMAT_VERSION)), Some(END_MAGIC)) {
            return Err("trailer differs");
        }
        if crc != Some(crc32c(body)) {
            return Err("footer checksum differs");
        }
        let footer = Self::fields(&mut Reader::new(body)).ok_or("footer fields are out of range")?;
        footer.geometry.is_sound().then_some(footer).ok_or("footer lengths contradict each other")
    }

    fn fields(reader: &mut Reader<'_>) -> Option<Self> {
        (reader.take(MAGIC.len())? == MAGIC).then_some(())?;
        let container = ContainerId(Uuid::from_bytes(reader.array()?));
        let generation = reader.u32()?;
        let shard = reader.u8()?;
        let code = CodeProfile::new(reader.u8()?, reader.u8()?).ok()?;
        (reader.u8()? == 0 && shard < code.shards()).then_some(())?;
        let (logical_bytes, region_bytes, unit_bytes) = (reader.u64()?, reader.u64()?, reader.u32()?);
        let (table_crc, hashes_crc, toc_crc) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (toc_bytes, toc_raw_bytes) = (reader.u64()?, reader.u64()?);
        let geometry = Geometry {
            container,
            generation,
            code,
            logical_bytes,
            region_bytes,
            unit_bytes,
            hashes_crc,
            toc_crc,
            toc_bytes,
            toc_raw_bytes,
        };
        Some(Self { shard, table_crc, geometry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        let code = CodeProfile::new(4, 2).unwrap();
        let geometry = Geometry {
            container: ContainerId(Uuid::from_u128(9)),
            generation: 1,
            code,
            logical_bytes: 300_000,
            region_bytes: 131_072,
            unit_bytes: 131_072,
            hashes_crc: 2,
            toc_crc: 3,
            toc_bytes: 4,
            toc_raw_bytes: 5,
        };
        Footer { shard: 5, table_crc: 1, geometry }
    }

    fn decode(bytes: &[u8]) -> Result<Footer, &'static str> {
        Footer::decode(bytes.first_chunk().unwrap())
    }

    #[test]
    fn footers_round_trip() {
        assert_eq!(footer().encode().len(), TAIL_BYTES);
        assert_eq!(decode(&footer().encode()), Ok(footer()));
    }

    #[test]
    fn every_flipped_byte_is_detected() {
        for at in 0..TAIL_BYTES {
            let mut bytes = footer().encode();
            bytes[at] ^= 0x01;
            assert!(decode(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let mut wrong = footer();
        wrong.geometry.region_bytes += BLOCK_BYTES;
        assert_eq!(decode(&wrong.encode()), Err("footer lengths contradict each other"));
        let mut wrong = footer();
        wrong.geometry.unit_bytes = 0;
        assert_eq!(decode(&wrong.encode()), Err("footer lengths contradict each other"));
    }
}
