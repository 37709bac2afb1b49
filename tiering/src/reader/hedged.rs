//! A hedged read of one run of bytes of one data shard, whatever its device does: from the shard itself; when that is missing,
//! damaged or slow, from the same bytes of k others. The first answers that suffice serve, and no wait is unbounded.

use std::sync::Arc;
use std::time::Instant;

use super::cache::Located;
use super::region::{Part, Region};
use super::shards::Shards;
use crate::Error;
use crate::device::Device;
use crate::device::fan_out::FanOut;
use crate::shard::file::ShardFault;

/// A region as it was read.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) bytes: Vec<u8>,
    /// Whether it was decoded because of something missing or damaged.
    pub(super) degraded: bool,
}

/// A region being read.
struct HedgedRead<'a> {
    shards: &'a Arc<Shards>,
    at: &'a Located,
    wanted: u8,
    region: Region,
    fan_out: FanOut<u8, Result<Part, ShardFault>>,
    /// Places that were not asked yet; those whose devices lag come last.
    untried: Vec<(u8, Arc<Device>)>,
    /// What the wanted shard has.
    own: Option<Part>,
    others: Vec<(u8, Part)>,
    /// Whether other shards were asked because devices are slow.
    hedged: bool,
}

/// Reads a region of a data shard; first what the kernel has in memory, without its device, if `memory_first` says so.
/// Blocks.
pub(super) fn read(
    shards: &Arc<Shards>,
    at: &Located,
    wanted: u8,
    region: Region,
    memory_first: bool,
) -> Result<Run, Error> {
    let ready = memory_first.then(|| shards.part_now(at, wanted, region)).flatten();
    if let Some(bytes) = ready {
        return Ok(Run { bytes, degraded: false });
    }
    HedgedRead::new(shards, at, wanted, region).run()
}

impl<'a> HedgedRead<'a> {
    fn new(shards: &'a Arc<Shards>, at: &'a Located, wanted: u8, region: Region) -> Self {
        let untried = shards.places(at);
        Self {
            shards,
            at,
            wanted,
            region,
            fan_out: shards.fan_out(),
            untried,
            own: None,
            others: Vec::new(),
            hedged: false,
        }
    }

    fn run(mut self) -> Result<Run, Error> {
        let patience = self.shards.patience(self.at.pool);
        let deadline = self.shards.deadline();
        self.ask_own(self.shards.now() + patience);
        let mut spare = 0; // asked besides those that would do if all answered
        loop {
            if let Some(run) = self.result() {
                return Ok(run);
            }
            if self.missing() + spare > self.waiting_others() && self.ask_other() {
                continue;
            }
            if self.fan_out.waiting() == 0 {
                return Err(Error::Lost { container: self.at.geometry.container, missing: self.unusable() });
            }
            if let Some((shard, answer)) = self.fan_out.next(deadline.min(self.shards.now() + patience)) {
                self.take(shard, answer);
            } else if self.shards.now() >= deadline {
                self.fan_out.note_silence();
                return Err(Error::Unanswered { container: self.at.geometry.container, shards: self.unusable() });
            } else {
                self.note_hedge();
                spare = usize::from(self.at.geometry.code.shards());
            }
        }
    }

    /// Asks the wanted shard alone, unless its device lags, and waits for a while.
    fn ask_own(&mut self, until: Instant) {
        let place = self.untried.iter().find(|(shard, _)| *shard == self.wanted);
        match place {
            None => self.shards.note(self.at.geometry.container, self.wanted, &ShardFault::Missing),
            Some((_, device)) if device.lags() => {
                device.note_hedge();
                self.hedged = true;
            }
            Some(_) => {
                self.ask(self.wanted);
                while self.fan_out.waiting() > 0 {
                    match self.fan_out.next(until) {
                        Some((shard, answer)) => self.take(shard, answer),
                        None => return self.note_hedge(),
                    }
                }
            }
        }
    }

    fn note_hedge(&mut self) {
        self.fan_out.note_hedge();
        self.hedged = true;
    }

    /// Asks the next shard that was neither asked nor read, the wanted one last; `false` if there is none.
    fn ask_other(&mut self) -> bool {
        let known = |shard: u8| self.others.iter().any(|(other, _)| *other == shard) || self.fan_out.waits_for(shard);
        let new = || self.untried.iter().map(|(shard, _)| *shard).filter(|shard| !known(*shard));
        let Some(next) = new().find(|shard| *shard != self.wanted).or_else(|| new().next()) else { return false };
        let now = if next == self.wanted { None } else { self.shards.part_now(self.at, next, self.region) };
        let Some(bytes) = now else { return self.ask(next) };
        self.others.push((next, Part { bytes, bad: Vec::new() }));
        true
    }

    /// Asks the next place of a shard; `true` also if its device takes no more calls.
    fn ask(&mut self, shard: u8) -> bool {
        let Some(at) = self.untried.iter().position(|(other, _)| *other == shard) else { return false };
        let (_, device) = self.untried.remove(at);
        let (shards, at, region, on) = (Arc::clone(self.shards), *self.at, self.region, Arc::clone(&device));
        self.fan_out.ask(shard, &device, move |heartbeat| shards.part_here(&at, shard, &on, region, heartbeat));
        true
    }

    fn take(&mut self, shard: u8, answer: Result<Part, ShardFault>) {
        match answer {
            Ok(part) if shard == self.wanted => self.own = Some(part),
            Ok(part) => self.others.push((shard, part)),
            Err(fault) => {
                if !self.ask(shard) {
                    self.shards.note(self.at.geometry.container, shard, &fault);
                }
            }
        }
    }

    fn waiting_others(&self) -> usize {
        self.fan_out.waiting() - usize::from(self.fan_out.waits_for(self.wanted))
    }

    /// Returns the blocks that the wanted shard cannot serve.
    fn open_blocks(&self) -> Vec<usize> {
        self.own.as_ref().map_or_else(|| (0..self.region.blocks()).collect(), |own| own.bad.clone())
    }

    fn good(&self, block: usize) -> impl Iterator<Item = &(u8, Part)> {
        self.others.iter().filter(move |(_, part)| part.is_good(block))
    }

    /// Returns how many more shards are needed.
    fn missing(&self) -> usize {
        let least = self.open_blocks().into_iter().map(|block| self.good(block).count()).min();
        least.map_or(0, |least| usize::from(self.at.geometry.code.data_shards).saturating_sub(least))
    }

    /// Returns the shards that did not serve the first block that is lost.
    fn unusable(&self) -> Vec<u8> {
        let k = usize::from(self.at.geometry.code.data_shards);
        let open = self.open_blocks().into_iter().find(|block| self.good(*block).count() < k).unwrap_or_default();
        let good: Vec<u8> = self.good(open).map(|(shard, _)| *shard).collect();
        (0..self.at.geometry.code.shards()).filter(|shard| !good.contains(shard)).collect()
    }

    /// Returns the region if what came suffices.
    fn result(&mut self) -> Option<Run> {
        if self.missing() > 0 {
            return None;
        }
        let open = self.open_blocks();
        let (degraded, bytes) = (!open.is_empty() && !self.hedged, self.region.bytes);
        let mut out = self.own.take().map_or_else(|| vec![0; bytes], |own| own.bytes);
        let erasure = &self.shards.pools().get(self.at.pool)?.erasure;
        let k = usize::from(self.at.geometry.code.data_shards);
        let whole: Vec<_> = self.others.iter().filter(|(_, part)| part.bad.is_empty()).take(k).collect();
        if open.len() == self.region.blocks() && whole.len() == k {
            let parts: Vec<(u8, &[u8])> = whole.iter().map(|(shard, part)| (*shard, part.bytes.as_slice())).collect();
            erasure.decode(&parts, self.wanted, &mut out)?;
            return Some(Run { bytes: out, degraded });
        }
        for block in open {
            let range = self.region.range(block);
            let good = self.good(block).take(k);
            let parts = good.map(|(shard, part)| Some((*shard, part.bytes.get(range.clone())?)));
            erasure.decode(&parts.collect::<Option<Vec<_>>>()?, self.wanted, out.get_mut(range)?)?;
        }
        Some(Run { bytes: out, degraded })
    }
}
