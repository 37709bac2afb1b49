//! Checking every byte of a container: reports, changes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{error, warn};

use crate::catalog::Entry;
use crate::medium::name::ShardName;
use crate::reader::locate::locate;
use crate::reader::shards::Shards;
use crate::shard::examine::{Examined, Verdict, examine_here};
use crate::shard::file::ShardFault;
use crate::shard::footer::Geometry;
use crate::{CodeProfile, ContainerId, DeviceId, Error};

/// Shards read at one time.
const SHARDS_AT_ONCE: usize = 8;

/// What a check of a container found.
#[derive(Debug, Clone)]
pub struct Verification {
    /// One verdict for each shard number.
    pub shards: Vec<ShardVerdict>,
    /// Whether every byte and the table of contents can be served or restored from what is left.
    pub recoverable: bool,
}

/// What a check found of one shard.
#[derive(Debug, Clone)]
pub struct ShardVerdict {
    /// Number of the shard.
    pub number: u8,
    /// Device that it was found on.
    pub device: Option<DeviceId>,
    /// How it is.
    pub verdict: Verdict,
}

impl Verification {
    /// Returns whether every shard is as it was written.
    pub fn is_healthy(&self) -> bool {
        self.shards.iter().all(|shard| shard.verdict == Verdict::Healthy)
    }
}

/// Checks containers.
#[derive(Debug)]
pub(crate) struct Verifier {
    shards: Arc<Shards>,
}

impl Verifier {
    pub(crate) fn new(shards: Arc<Shards>) -> Self {
        Self { shards }
    }

    /// Checks a container as [`crate::Store::verify`] says.
    pub(crate) fn verify(&self, id: ContainerId) -> Result<Verification, Error> {
        let entries = self.shards.catalog().find(id);
        let entry = entries.first().ok_or(Error::Missing { container: id })?;
        let pool = self.shards.pools().get(entry.pool).ok_or(Error::Missing { container: id })?;
        let geometry = locate(&self.shards, id).map(|at| at.geometry).ok();
        let numbers: Vec<u8> = (0..pool.config.code.shards()).collect();
        let mut found = Vec::with_capacity(numbers.len());
        for group in numbers.chunks(SHARDS_AT_ONCE) {
            found.extend(std::thread::scope(|scope| {
                let examine = |number: u8| move || self.examine_places(entry, id, number, geometry);
                let running: Vec<_> = group.iter().map(|number| scope.spawn(examine(*number))).collect();
                running.into_iter().map(|thread| thread.join().expect("examining does not panic")).collect::<Vec<_>>()
            }));
        }
        let examined: Vec<&Examined> = found.iter().map(|(_, examined)| examined).collect();
        let recoverable = geometry.is_some_and(|geometry| is_recoverable(geometry.code, &examined));
        let shards = numbers.into_iter().zip(found);
        let shards = shards
            .map(|(number, (device, examined))| ShardVerdict { number, device, verdict: examined.verdict })
            .collect();
        let verification = Verification { shards, recoverable };
        self.report(id, &verification);
        Ok(verification)
    }

    /// Examines a shard wherever it lies; the best of its places counts.
    fn examine_places(
        &self,
        entry: &Entry,
        id: ContainerId,
        number: u8,
        geometry: Option<Geometry>,
    ) -> (Option<DeviceId>, Examined) {
        let mut result = (None, Examined::unusable(&ShardFault::Missing));
        let Some(pool) = self.shards.pools().get(entry.pool) else { return result };
        for (_, device_id) in entry.places.iter().filter(|(shard, _)| *shard == number) {
            let Some(device) = pool.online(*device_id) else {
                continue;
            };
            let (pool, medium) = (Arc::clone(pool), Arc::clone(device.medium()));
            let name = ShardName::new(id, number);
            let called =
                device.call(move |heartbeat| examine_here(&medium, name, &pool.erasure, geometry.as_ref(), heartbeat));
            let examined = called.unwrap_or_else(|error| Examined::unusable(&ShardFault::Io(error)));
            let healthy = examined.verdict == Verdict::Healthy;
            if healthy || result.0.is_none() {
                result = (Some(*device_id), examined);
            }
            if healthy {
                break;
            }
        }
        result
    }

    /// Counts and logs what is wrong: reads may never touch it, for example parity while the data is whole.
    fn report(&self, container: ContainerId, verification: &Verification) {
        let count = |counter: &AtomicU64, by: usize| {
            counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
        };
        let damage = self.shards.damage();
        for shard in &verification.shards {
            match &shard.verdict {
                Verdict::Healthy => {}
                Verdict::Missing => {
                    count(&damage.missing_shards, 1);
                    warn!(%container, shard = shard.number, "verified shard is missing");
                }
                Verdict::Damaged { what, blocks } => {
                    let whole_shard = blocks.is_empty();
                    let counter = if whole_shard { &damage.damaged_shards } else { &damage.block_mismatches };
                    count(counter, blocks.len().max(1));
                    warn!(%container, shard = shard.number, what, blocks = blocks.len(), "verified shard is damaged");
                }
            }
        }
        if !verification.recoverable {
            error!(%container, "container has more damage than its code replaces, nothing is overwritten");
        }
    }
}

/// Returns whether at most m shards are bad at every block and one table of contents is whole: a pure function of what
/// was found of each shard.
fn is_recoverable(code: CodeProfile, found: &[&Examined]) -> bool {
    let unusable = found.iter().filter(|examined| !examined.data_usable).count();
    let mut bad_at: HashMap<u64, usize> = HashMap::new();
    for examined in found.iter().filter(|examined| examined.data_usable) {
        if let Verdict::Damaged { blocks, .. } = &examined.verdict {
            for block in blocks {
                *bad_at.entry(*block).or_default() += 1;
            }
        }
    }
    let worst = unusable + bad_at.into_values().max().unwrap_or(0);
    let toc = found.iter().any(|examined| examined.toc_whole);
    toc && worst <= usize::from(code.parity_shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged(blocks: &[u64]) -> Examined {
        let verdict = Verdict::Damaged { what: "block checksums differ", blocks: blocks.to_vec() };
        Examined { verdict, data_usable: true, toc_whole: false }
    }

    fn gone() -> Examined {
        Examined { verdict: Verdict::Missing, data_usable: false, toc_whole: false }
    }

    fn whole(toc_whole: bool) -> Examined {
        Examined { verdict: Verdict::Healthy, data_usable: true, toc_whole }
    }

    fn recoverable(found: &[Examined]) -> bool {
        is_recoverable("2+1".parse().unwrap(), &found.iter().collect::<Vec<_>>())
    }

    #[test]
    fn one_bad_shard_at_each_block_is_replaced_by_one_parity_shard() {
        assert!(recoverable(&[whole(true), whole(false), gone()]));
        assert!(recoverable(&[damaged(&[1]), damaged(&[2]), whole(true)]));
        assert!(!recoverable(&[damaged(&[1]), damaged(&[1, 2]), whole(true)]));
        assert!(!recoverable(&[damaged(&[1]), gone(), whole(true)]));
    }

    #[test]
    fn without_a_whole_table_of_contents_nothing_is_recoverable() {
        assert!(!recoverable(&[whole(false), whole(false), whole(false)]));
    }
}
