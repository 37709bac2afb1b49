//! Tests of the store on real directories.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "tests fail by panic, and their lengths are small"
)]

mod conformance;
mod damage;
mod devices;
mod full;
mod golden;
mod loss;
mod memory;
mod slow;
mod support;
mod tombstones;
mod writing;
