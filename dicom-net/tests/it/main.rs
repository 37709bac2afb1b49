//! Tests of dicom-net over real sockets, against an archive in memory.
#![expect(clippy::as_conversions, reason = "lengths in tests are small")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]
#![expect(clippy::indexing_slicing, reason = "a panic fails the test")]
#![expect(unreachable_pub, reason = "modules of one binary share their helpers")]

mod establishment;
mod hostile;
mod nagle;
mod query;
mod raw;
mod retrieve;
mod stand_in;
mod storage;
