//! CRC32C, the checksum of everything short.

/// Returns the CRC32C (Castagnoli, iSCSI) of the bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}
