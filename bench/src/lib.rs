//! Trials of a running Filmroom from outside: clients only, no dependency on its crates, so that what they find does
//! not share its mistakes. One exception: `growth` fills an archive through the archive's own receive path.

pub mod association;
pub mod crash;
pub mod growth;
pub mod http;
pub mod process;
