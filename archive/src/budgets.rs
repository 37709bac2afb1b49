//! What clients may hold of the archive's memory: one [`Budget`] of bytes for each kind of use, shared by all clients.

mod budget;
mod header;
mod read;

pub use budget::{Budget, Permit};
pub(crate) use header::HeaderBudget;
pub(crate) use read::ReadBudget;
