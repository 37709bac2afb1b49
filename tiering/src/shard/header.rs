//! The header of a shard file: who it is and how it was coded.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `FRSHARD1` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | header length, 4096 |
//! | 12 | 16 | container UUID, big-endian as RFC 9562 writes it |
//! | 28 | 4 | generation, from 1 |
//! | 32 | 1 | shard number, from 0; parity shards follow data shards |
//! | 33 | 1 | k |
//! | 34 | 1 | m |
//! | 35 | 1 | code family: 0 copies (k = 1), 1 systematic Reed-Solomon from a Vandermonde matrix |
//! | 36 | 2 | polynomial of GF(2^8), 0x011D |
//! | 38 | 2 | 0 |
//! | 40 | 4 | unit bytes, a multiple of 65536 |
//! | 44 | 4 | block bytes, 65536 |
//! | 48 | 2 | bytes of the matrix, k · m |
//! | 50 | k · m | parity rows of the generator matrix, row by row |
//! | .. | .. | 0 |
//! | 4092 | 4 | CRC of bytes 0 to 4091 |

use uuid::Uuid;

use super::{BLOCK_BYTES, FORMAT_VERSION, HEADER_BYTES};
use crate::erasure::{Erasure, POLYNOMIAL};
use crate::layout::UNIT_BYTES_LIMIT;
use crate::wire::Reader;
use crate::{CodeProfile, ContainerId};
use disk::crc32c;

const MAGIC: &[u8; 8] = b"FRSHARD1";
const BYTES: usize = 4096;
const BLOCK_BYTES_U32: u32 = 65_536;
const HEADER_BYTES_U16: u16 = 4096;
const _: () = assert!(HEADER_BYTES == 4096 && BLOCK_BYTES == 65_536);

/// Who a shard is; the code itself is given beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Container that the shard belongs to.
    pub(crate) container: ContainerId,
    /// Generation of the container's writing.
    pub(crate) generation: u32,
    /// Number of the shard.
    pub(crate) shard: u8,
    /// Size of a unit.
    pub(crate) unit_bytes: u32,
}

impl Header {
    /// Returns the header's bytes for a container coded by `erasure`.
    pub(crate) fn encode(&self, erasure: &Erasure) -> [u8; BYTES] {
        let code = erasure.code();
        let matrix = erasure.matrix();
        let matrix_bytes = u16::try_from(matrix.len()).expect("profiles bound the matrix");
        let mut out = Vec::with_capacity(BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&HEADER_BYTES_U16.to_le_bytes());
        out.extend_from_slice(self.container.0.as_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&[self.shard, code.data_shards, code.parity_shards, erasure.family()]);
        out.extend_from_slice(&POLYNOMIAL.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.unit_bytes.to_le_bytes());
        out.extend_from_slice(&BLOCK_BYTES_U32.to_le_bytes());
        out.extend_from_slice(&matrix_bytes.to_le_bytes());
        out.extend_from_slice(matrix);
        out.resize(BYTES - 4, 0);
        out.extend_from_slice(&crc32c(&out).to_le_bytes());
        out.try_into().expect("resized to the header's length")
    }

    /// Reads a header and checks that it was coded as `erasure` codes; returns why it was not.
    pub(crate) fn decode(bytes: &[u8; BYTES], erasure: &Erasure) -> Result<Self, &'static str> {
        let mut reader = Reader::new(bytes);
        let body = reader.take(BYTES - 4).ok_or("header is short")?;
        if reader.u32() != Some(crc32c(body)) {
            return Err("header checksum differs");
        }
        let mut reader = Reader::new(body);
        if reader.take(MAGIC.len()) != Some(MAGIC) {
            return Err("header magic differs");
        }
        if reader.u16() != Some(FORMAT_VERSION) {
            return Err("format version is not known");
        }
        Self::fields(&mut reader, erasure).ok_or("coded in another way than its pool")
    }

    fn fields(reader: &mut Reader<'_>, erasure: &Erasure) -> Option<Self> {
        let CodeProfile { data_shards, parity_shards } = erasure.code();
        (reader.u16()? == HEADER_BYTES_U16).then_some(())?;
        let container = ContainerId(Uuid::from_bytes(reader.array()?));
        let generation = reader.u32()?;
        let shard = reader.u8()?;
        (reader.array()? == [data_shards, parity_shards, erasure.family()]).then_some(())?;
        (reader.u16()? == POLYNOMIAL && reader.u16()? == 0).then_some(())?;
        let unit_bytes = reader.u32()?;
        let whole = unit_bytes > 0 && unit_bytes <= UNIT_BYTES_LIMIT && unit_bytes.is_multiple_of(BLOCK_BYTES_U32);
        (whole && reader.u32()? == BLOCK_BYTES_U32).then_some(())?;
        let matrix_bytes = usize::from(reader.u16()?);
        (reader.take(matrix_bytes)? == erasure.matrix()).then_some(())?;
        Some(Self { container, generation, shard, unit_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { container: ContainerId(Uuid::from_u128(7)), generation: 3, shard: 5, unit_bytes: 131_072 }
    }

    fn erasure(k: u8, m: u8) -> Erasure {
        Erasure::new(CodeProfile::new(k, m).unwrap()).unwrap()
    }

    #[test]
    fn headers_round_trip() {
        let erasure = erasure(4, 2);
        assert_eq!(Header::decode(&header().encode(&erasure), &erasure).unwrap(), header());
    }

    #[test]
    fn every_flipped_byte_is_detected() {
        let erasure = erasure(2, 1);
        let whole = header().encode(&erasure);
        for at in 0..BYTES {
            let mut bytes = whole;
            bytes[at] ^= 0x10;
            assert!(Header::decode(&bytes, &erasure).is_err(), "byte {at}");
        }
    }

    #[test]
    fn another_code_is_refused() {
        let bytes = header().encode(&erasure(4, 2));
        assert_eq!(Header::decode(&bytes, &erasure(3, 2)), Err("coded in another way than its pool"));
    }
}
