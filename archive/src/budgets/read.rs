//! What answers may hold that clients have not read yet.
//!
//! Reading ahead and long pieces make answers fast, but what was read stays in memory until the client takes it, and a
//! thousand slow clients would each keep some MiB. So both need a permit of this budget for as long as their bytes live.
//! When the budget is exhausted, a reader falls back to short pieces and opens one instance at a time. Readers never wait
//! for a permit: the slow ones would keep out the fast ones.

use super::budget::{Budget, Permit};

/// Bytes of all answers together that are more than each may have anyway, in KiB.
const ALL_KIB: u32 = 64 << 10;

/// The budget of what was read ahead. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct ReadBudget(Budget);

impl ReadBudget {
    pub(crate) fn new() -> Self {
        Self(Budget::of_kib(ALL_KIB))
    }

    /// Returns a permit for this many bytes if the budget has them now.
    pub(crate) fn permit(&self, bytes: u64) -> Option<Permit> {
        self.0.try_permit(bytes)
    }
}
