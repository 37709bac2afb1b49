//! What the journal and the containers share below their formats: direct I/O, aligned buffers,
//! durable file operations, directory locks and the CRC-32C. This crate knows no format.

mod buffers;
mod checksum;
mod direct;
pub mod files;
mod lock;

pub use buffers::{Buffer, Buffers};
pub use checksum::{Crc32c, crc32c};
pub use direct::{ALIGN_BYTES, Aligned, CHUNK_BYTES, Direct};
pub use lock::DirLock;
