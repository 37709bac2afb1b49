//! Tests of dicom-net over real sockets, against an archive in memory.
#![expect(clippy::as_conversions, reason = "lengths in tests are small")]

mod establishment;
mod memory;
mod raw;
mod storage;
