//! Client.
pub use crate::negotiation::Proposal;
