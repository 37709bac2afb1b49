//! Trials of a running Filmroom from outside: clients only, no dependency on its crates, so that what they find does
//! not share its mistakes. `bench table` measures it beside its peers, `bench crash` kills it. One exception: `growth`
//! fills an archive through the archive's own receive path.

pub mod association;
pub mod comparison;
pub mod crash;
pub mod data;
pub mod growth;
pub mod http;
pub mod load;
pub mod measure;
pub mod memory;
pub mod peers;
pub mod process;
pub mod report;
pub mod rows;
pub mod sizes;
