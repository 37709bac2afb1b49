//! Times of many operations, and medians.

use std::time::Duration;

use serde::Serialize;

/// Percentiles of times, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Times {
    /// How many.
    pub count: usize,
    /// Half take at most this.
    pub p50_ms: f64,
    /// Nine in ten take at most this.
    pub p90_ms: f64,
    /// 99 in 100 take at most this.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Times {
    /// Sorts times and picks.
    pub fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Self { count: times.len(), p50_ms: at(50), p90_ms: at(90), p99_ms: at(99), max_ms: at(100) }
    }
}

/// Returns the median; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(upper, *sorted.get(sorted.len() / 2 - 1)?))
}

/// Returns a count as a number to calculate with.
pub fn number(count: impl TryInto<u64>) -> f64 {
    let count: u64 = count.try_into().unwrap_or(u64::MAX);
    let (high, low) = (u32::try_from(count >> 32).unwrap_or(u32::MAX), u32::try_from(count & 0xFFFF_FFFF));
    f64::from(high) * 4_294_967_296.0 + f64::from(low.expect("it is cut to 32 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_picked() {
        let mut times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let times = Times::of(&mut times);
        assert_eq!((times.count, times.p50_ms, times.p99_ms, times.max_ms), (200, 101.0, 199.0, 200.0));
        assert_eq!(Times::of(&mut []), Times::default());
    }

    #[test]
    fn medians_are_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn counts_are_numbers() {
        assert_eq!((number(3_u64), number(1_u64 << 40)), (3.0, 1_099_511_627_776.0));
    }
}
