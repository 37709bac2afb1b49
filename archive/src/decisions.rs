//! What the archive decides, as pure functions from facts to steps: no I/O, no clock, no randomness. Services and jobs gather
//! the facts and do the steps, so that a simulation can drive these decisions through crashes and faults.

pub(crate) mod adopt;
pub(crate) mod delete;
pub(crate) mod release;
pub(crate) mod resend;
pub(crate) mod seal;
pub(crate) mod start;
