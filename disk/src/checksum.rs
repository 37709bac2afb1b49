//! CRC-32C (Castagnoli, iSCSI), the checksum of everything short: data sets, records, blocks,
//! headers.

use crc_fast::{CrcAlgorithm, Digest};

/// Returns the CRC-32C of bytes.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Computes a CRC-32C over bytes that come in pieces.
#[derive(Debug)]
pub struct Crc32c(Digest);

impl Default for Crc32c {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Crc32c {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the checksum of all bytes added.
    pub fn finish(self) -> u32 {
        u32::try_from(self.0.finalize()).expect("CRC-32C has 32 bits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_give_the_published_check_value() {
        let mut pieces = Crc32c::default();
        pieces.update(b"1234");
        pieces.update(b"56789");
        assert_eq!(pieces.finish(), 0xE306_9283);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }
}
