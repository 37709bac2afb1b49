//! Trials of a running Filmroom from outside: clients only, no dependency on its crates, so that what they find does
//! not share its mistakes.

pub mod association;
pub mod crash;
pub mod http;
pub mod memory;
pub mod process;
