//! Reading one run of bytes of one data shard, whatever its device does: from the shard itself; when that is missing, damaged
//! or slow, from the same bytes of k others. Whoever answers first serves, and nobody is waited for without bound.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Inner;
use super::cache::Located;
use crate::Error;
use crate::device::Device;
use crate::device::asked::Asked;
use crate::shard::BLOCK_BYTES;
use crate::shard::file::ShardFault;

/// Shortest time that a shard is waited for before others are asked: disks answer in a tenth of it.
const PATIENCE_MIN: Duration = Duration::from_millis(50);
/// Longest such time.
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// How many times the usual time of the pool's devices a shard is waited for.
const PATIENCE_FACTOR: u32 = 8;

/// A run of bytes in the unit region of a shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Region {
    pub(super) offset: u64,
    pub(super) bytes: usize,
    /// Whether it is whole blocks, each checked by the shard's table; else the caller has a checksum for what comes of it.
    pub(super) by_block: bool,
}

/// What a shard has of a region.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    /// Numbers, in the region, of the blocks that cannot be used.
    pub(super) bad: Vec<usize>,
}

/// A region as it was read.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) bytes: Vec<u8>,
    /// Whether it was decoded because of something missing or damaged.
    pub(super) degraded: bool,
}

impl Region {
    /// Returns the number of blocks that can be good or bad each.
    pub(super) fn blocks(&self) -> usize {
        if self.by_block { self.bytes.div_ceil(block_bytes()) } else { 1 }
    }

    fn range(&self, block: usize) -> Range<usize> {
        if self.by_block {
            let start = block.saturating_mul(block_bytes());
            start..start.saturating_add(block_bytes()).min(self.bytes)
        } else {
            0..self.bytes
        }
    }
}

impl Part {
    fn is_good(&self, block: usize) -> bool {
        !self.bad.contains(&block)
    }
}

/// A region being read.
struct Gather<'a> {
    inner: &'a Arc<Inner>,
    at: &'a Located,
    wanted: u8,
    region: Region,
    asked: Asked<u8, Result<Part, ShardFault>>,
    /// Places that were not asked yet: those whose devices lag come last.
    untried: Vec<(u8, Arc<Device>)>,
    /// What the wanted shard has.
    own: Option<Part>,
    others: Vec<(u8, Part)>,
    /// Whether others were asked because devices are slow.
    hedged: bool,
}

impl Inner {
    /// Reads a region of a data shard; what the kernel has in memory without its device, if that is to be tried. Blocks.
    pub(super) fn gather(
        self: &Arc<Self>,
        at: &Located,
        wanted: u8,
        region: Region,
        memory_first: bool,
    ) -> Result<Gathered, Error> {
        let ready = memory_first.then(|| self.part_now(at, wanted, region)).flatten();
        if let Some(bytes) = ready {
            return Ok(Gathered { bytes, degraded: false });
        }
        Gather::new(self, at, wanted, region).run()
    }

    /// Returns how long a device of the pool is waited for before others are asked.
    pub(super) fn patience(&self, pool: usize) -> Duration {
        let devices = self.pools.get(pool).map(|pool| pool.devices.as_slice()).unwrap_or_default();
        let known = devices.iter().map(|device| device.latency()).filter(|latency| !latency.is_zero());
        let mut latencies: Vec<Duration> = known.collect();
        latencies.sort_unstable();
        let median = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
        median.saturating_mul(PATIENCE_FACTOR).clamp(PATIENCE_MIN, PATIENCE_MAX)
    }

    /// Returns the shards of a container and the devices in use that have them: those that lag last.
    pub(super) fn places(&self, at: &Located) -> Vec<(u8, Arc<Device>)> {
        let Some(pool) = self.pools.get(at.pool) else { return Vec::new() };
        let known = self.catalog().places(at.geometry.container, at.pool);
        let online = known.into_iter().filter_map(|(shard, id)| Some((shard, Arc::clone(pool.online(id)?))));
        let mut places: Vec<_> = online.collect();
        places.sort_by_cached_key(|(_, device)| device.lags());
        places
    }
}

impl<'a> Gather<'a> {
    fn new(inner: &'a Arc<Inner>, at: &'a Located, wanted: u8, region: Region) -> Self {
        let untried = inner.places(at);
        Self { inner, at, wanted, region, asked: Asked::new(), untried, own: None, others: Vec::new(), hedged: false }
    }

    fn run(mut self) -> Result<Gathered, Error> {
        let patience = self.inner.patience(self.at.pool);
        let deadline = Instant::now() + self.inner.options.device_answer_max;
        self.ask_own(Instant::now() + patience);
        let mut spare = 0; // asked besides those that would do if all answered
        loop {
            if let Some(gathered) = self.result() {
                return Ok(gathered);
            }
            if self.missing() + spare > self.waiting_others() && self.ask_other() {
                continue;
            }
            if self.asked.waiting() == 0 {
                return Err(Error::Lost { container: self.at.geometry.container, missing: self.unusable() });
            }
            if let Some((shard, answer)) = self.asked.next(deadline.min(Instant::now() + patience)) {
                self.take(shard, answer);
            } else if Instant::now() >= deadline {
                self.asked.note_silence();
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
            None => self.inner.note(self.at.geometry.container, self.wanted, &ShardFault::Missing),
            Some((_, device)) if device.lags() => {
                device.note_hedge();
                self.hedged = true;
            }
            Some(_) => {
                self.ask(self.wanted);
                while self.asked.waiting() > 0 {
                    match self.asked.next(until) {
                        Some((shard, answer)) => self.take(shard, answer),
                        None => return self.note_hedge(),
                    }
                }
            }
        }
    }

    fn note_hedge(&mut self) {
        self.asked.note_hedge();
        self.hedged = true;
    }

    /// Asks the next shard that is neither asked nor known, the wanted one last; `false` if there is none.
    fn ask_other(&mut self) -> bool {
        let known = |shard: u8| self.others.iter().any(|(other, _)| *other == shard) || self.asked.waits_for(shard);
        let new = || self.untried.iter().map(|(shard, _)| *shard).filter(|shard| !known(*shard));
        let Some(next) = new().find(|shard| *shard != self.wanted).or_else(|| new().next()) else { return false };
        let now = if next == self.wanted { None } else { self.inner.part_now(self.at, next, self.region) };
        let Some(bytes) = now else { return self.ask(next) };
        self.others.push((next, Part { bytes, bad: Vec::new() }));
        true
    }

    /// Asks the next place of a shard; `true` also if the device would not even be asked.
    fn ask(&mut self, shard: u8) -> bool {
        let Some(at) = self.untried.iter().position(|(other, _)| *other == shard) else { return false };
        let (_, device) = self.untried.remove(at);
        let (inner, at, region, asked) = (Arc::clone(self.inner), *self.at, self.region, Arc::clone(&device));
        self.asked.ask(shard, &device, move |pulse| inner.part_here(&at, shard, &asked, region, pulse));
        true
    }

    fn take(&mut self, shard: u8, answer: Result<Part, ShardFault>) {
        match answer {
            Ok(part) if shard == self.wanted => self.own = Some(part),
            Ok(part) => self.others.push((shard, part)),
            Err(fault) => {
                if !self.ask(shard) {
                    self.inner.note(self.at.geometry.container, shard, &fault);
                }
            }
        }
    }

    fn waiting_others(&self) -> usize {
        self.asked.waiting() - usize::from(self.asked.waits_for(self.wanted))
    }

    /// Returns the blocks that the wanted shard has not.
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

    /// Returns the shards that did not serve the first block that cannot be had.
    fn unusable(&self) -> Vec<u8> {
        let k = usize::from(self.at.geometry.code.data_shards);
        let open = self.open_blocks().into_iter().find(|block| self.good(*block).count() < k).unwrap_or_default();
        let good: Vec<u8> = self.good(open).map(|(shard, _)| *shard).collect();
        (0..self.at.geometry.code.shards()).filter(|shard| !good.contains(shard)).collect()
    }

    /// Returns the region if what came suffices.
    fn result(&mut self) -> Option<Gathered> {
        if self.missing() > 0 {
            return None;
        }
        let open = self.open_blocks();
        let (degraded, bytes) = (!open.is_empty() && !self.hedged, self.region.bytes);
        let mut out = self.own.take().map_or_else(|| vec![0; bytes], |own| own.bytes);
        let erasure = &self.inner.pools.get(self.at.pool)?.erasure;
        let k = usize::from(self.at.geometry.code.data_shards);
        let whole: Vec<_> = self.others.iter().filter(|(_, part)| part.bad.is_empty()).take(k).collect();
        if open.len() == self.region.blocks() && whole.len() == k {
            let parts: Vec<(u8, &[u8])> = whole.iter().map(|(shard, part)| (*shard, part.bytes.as_slice())).collect();
            erasure.decode(&parts, self.wanted, &mut out)?;
            return Some(Gathered { bytes: out, degraded });
        }
        for block in open {
            let range = self.region.range(block);
            let good = self.good(block).take(k);
            let parts = good.map(|(shard, part)| Some((*shard, part.bytes.get(range.clone())?)));
            erasure.decode(&parts.collect::<Option<Vec<_>>>()?, self.wanted, out.get_mut(range)?)?;
        }
        Some(Gathered { bytes: out, degraded })
    }
}

fn block_bytes() -> usize {
    usize::try_from(BLOCK_BYTES).expect("64 KiB")
}
