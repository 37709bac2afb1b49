//! The archive at its real boundaries.

mod archive;
#[path = "../../../index/tests/it/fixture.rs"]
mod fixture;
