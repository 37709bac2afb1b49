//! Counters of what was found broken.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::warn;

use crate::ContainerId;

/// Shards whose first damage is remembered as logged; beyond, the memory starts over and some log twice.
const REPORTED_MAX: usize = 16_384;

/// What was found broken since the start; numbers only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DamageCounts {
    /// Blocks of 64 KiB whose checksum differed.
    pub block_mismatches: u64,
    /// Shards that were looked for and not there.
    pub missing_shards: u64,
    /// Shards whose header, footer or checksum table was damaged, or that belonged elsewhere.
    pub damaged_shards: u64,
    /// Reads or opens that the system refused.
    pub device_errors: u64,
    /// Reads served by decoding from other shards.
    pub degraded_reads: u64,
    /// Reads refused because more was broken than the code replaces.
    pub unreadable_reads: u64,
    /// Reads of whole blocks whose bytes did not have the caller's checksum.
    pub caller_mismatches: u64,
}

/// The counters behind [`DamageCounts`].
#[derive(Debug, Default)]
pub(crate) struct Damage {
    pub(crate) block_mismatches: AtomicU64,
    pub(crate) missing_shards: AtomicU64,
    pub(crate) damaged_shards: AtomicU64,
    pub(crate) device_errors: AtomicU64,
    pub(crate) degraded_reads: AtomicU64,
    pub(crate) unreadable_reads: AtomicU64,
    pub(crate) caller_mismatches: AtomicU64,
    reported: Mutex<HashSet<(ContainerId, u8)>>,
}

impl Damage {
    /// Returns the numbers now.
    pub(crate) fn counts(&self) -> DamageCounts {
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DamageCounts {
            block_mismatches: now(&self.block_mismatches),
            missing_shards: now(&self.missing_shards),
            damaged_shards: now(&self.damaged_shards),
            device_errors: now(&self.device_errors),
            degraded_reads: now(&self.degraded_reads),
            unreadable_reads: now(&self.unreadable_reads),
            caller_mismatches: now(&self.caller_mismatches),
        }
    }

    /// Counts one more, and logs the first damage of each shard.
    pub(crate) fn shard(&self, counter: &AtomicU64, container: ContainerId, shard: u8, what: &'static str) {
        counter.fetch_add(1, Ordering::Relaxed);
        let Ok(mut reported) = self.reported.lock() else {
            return;
        };
        if reported.len() >= REPORTED_MAX {
            reported.clear();
        }
        if reported.insert((container, shard)) {
            warn!(%container, shard, what, "damaged shard");
        }
    }
}
