//! The shard file, format version 1: everything a third party needs to write a reader.
//!
//! A container named C is kept as k+m files `<C>.<shard number, 3 digits>.fshard`, each on another device, under
//! `<device>/containers/<last two hex digits of C>/`. A name ending in `.tmp` is a leftover of a crash. Numbers are
//! little-endian, every CRC is CRC32C, n = k+m, R is the length of the unit region, the same for all shards.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4096 | header (module `header`) |
//! | 4096 | R | unit region, striped as module `layout` says; parity shards hold the code of the same offsets |
//! | 4096 + R | R / 65536 · 4 | table: CRC of each 64 KiB block of the unit region |
//! | .. | 32 · n | BLAKE3 of header and unit region of every shard, in order of shard number |
//! | .. | T | table of contents, zstd (module `toc`); on shard 0 and on the parity shards, else T = 0 |
//! | .. | 84 | footer (module `footer`) |
//! | .. | 4 | length of the footer, 84 |
//! | .. | 4 | format version, 1 |
//! | .. | 8 | magic `FRSHEND1` |
//!
//! All lengths follow from the footer, so the last 100 bytes open a shard, and one range read of the last 64 KiB opens
//! most containers with their tables. Every byte is covered: header, footer, table, hashes and table of contents by a
//! CRC of their own, units by the table, the trailer by having one possible value. The logical bytes of the container
//! are the units of shards 0 to k-1 in row-major order, those of the last row shorter (module `layout`); to restore a
//! block, take the blocks of the same number from any k shards and solve with the generator matrix (identity over the
//! header's parity rows) over GF(2^8).

pub(crate) mod examine;
pub(crate) mod file;
pub(crate) mod footer;
pub(crate) mod header;

/// Bytes that one entry of the checksum table covers, and the unit of repair.
pub(crate) const BLOCK_BYTES: u64 = 64 * 1024;
/// Length of the header.
pub(crate) const HEADER_BYTES: u64 = 4096;
/// Format version that this code writes and reads.
pub(crate) const FORMAT_VERSION: u16 = 1;
/// Generation of a container's first writing; a later rewrite in place would count up.
pub(crate) const FIRST_GENERATION: u32 = 1;
/// Length of a BLAKE3 hash.
pub(crate) const HASH_BYTES: usize = 32;
