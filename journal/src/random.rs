//! Randomness, passed in: UUIDs from the operating system in a server, from a seed in a simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// What SplitMix64 adds between two numbers.
const INCREMENT: u64 = 0x9E37_79B9_7F4A_7C15;

/// Where a journal takes its UUIDs from: its own id, the ids of changes of its copies, the names of
/// large files.
#[derive(Debug, Clone, Default)]
pub struct Ids(Option<Arc<AtomicU64>>);

impl Ids {
    /// Returns UUIDs from the operating system's randomness.
    pub fn random() -> Self {
        Self(None)
    }

    /// Returns UUIDs that only depend on the seed. Clones share the sequence. Never for a journal
    /// that is kept: two of the same seed look like copies of each other.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(seed))))
    }

    /// Returns the next UUID.
    pub(crate) fn next(&self) -> Uuid {
        let Some(state) = &self.0 else {
            return Uuid::new_v4();
        };
        let number = state.fetch_add(1, Ordering::Relaxed);
        let pair = (u128::from(mix(number)) << 64) | u128::from(mix(!number));
        uuid::Builder::from_random_bytes(pair.to_le_bytes()).into_uuid()
    }
}

/// The finaliser of SplitMix64: each of its steps can be undone, so no two inputs collide.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(INCREMENT);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A sequence of numbers that only depends on its seed: SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub(crate) fn next(&mut self) -> u64 {
        let number = mix(self.0);
        self.0 = self.0.wrapping_add(INCREMENT);
        number
    }

    /// Returns a number below a limit; 0 if the limit is 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or_default()
    }

    /// Tosses a coin.
    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_another_one_another() {
        let take = |ids: &Ids| (0..100).map(|_| ids.next()).collect::<Vec<_>>();
        let first = take(&Ids::seeded(7));
        assert_eq!(first, take(&Ids::seeded(7)));
        assert_ne!(first, take(&Ids::seeded(1 << 40)));
        assert_eq!(first.iter().collect::<std::collections::HashSet<_>>().len(), 100);
        assert_ne!(take(&Ids::random()), take(&Ids::random()));
    }
}
