//! What the seed decides on.

use std::time::Duration;

/// Numbers that follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    /// Returns the numbers of the round with a seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Self(seed);
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Returns a time between two.
    pub(super) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let part = u32::try_from(self.below(1 << 20)).expect("20 bits");
        from + to.saturating_sub(from) * part / (1 << 20)
    }

    /// Returns one of some.
    pub(super) fn one_of<T: Copy>(&mut self, some: &[T]) -> Option<T> {
        let count = u64::try_from(some.len()).unwrap_or(u64::MAX);
        let at = self.below(count.max(1));
        some.get(usize::try_from(at).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_differ_and_stay_within_their_bounds() {
        let (from, to) = (Duration::from_millis(100), Duration::from_secs(4));
        let moments: Vec<_> = (1..100).map(|seed| Chance::new(seed).between(from, to)).collect();
        assert!(moments.iter().all(|moment| (from..=to).contains(moment)));
        assert!(moments.iter().max() > moments.iter().min().map(|least| *least * 5).as_ref());
    }
}
