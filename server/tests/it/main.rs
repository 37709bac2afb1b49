//! Tests of the binary `filmroom` and of the repository as a whole.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

mod commands;
mod crash;
mod demo;
mod faults;
mod filmroom;
mod growth;
mod hostile;
mod memory;
mod tidy;
