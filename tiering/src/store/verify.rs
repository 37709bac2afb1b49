//! Checking every byte of a container: reports, changes nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{error, warn};

use super::Inner;
use super::catalog::Entry;
use crate::device::calls::Pulse;
use crate::device::gate::Step;
use crate::erasure::Erasure;
use crate::shard::file::{ShardFault, ShardFile};
use crate::shard::footer::Geometry;
use crate::shard::{BLOCK_BYTES, HASH_BYTES, HEADER_BYTES, name};
use crate::{ContainerId, DeviceId, Error, Toc};
use disk::{Aligned, CHUNK_BYTES, Direct};

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

/// How a shard is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every byte is as it was written.
    Healthy,
    /// It is on no device that is online.
    Missing,
    /// Something in it is not as it was written.
    Damaged {
        /// What.
        what: &'static str,
        /// Numbers of the 64 KiB blocks that differ; empty if it is something else, or all of it.
        blocks: Vec<u64>,
    },
}

impl Verification {
    /// Returns whether every shard is as it was written.
    pub fn is_healthy(&self) -> bool {
        self.shards.iter().all(|shard| shard.verdict == Verdict::Healthy)
    }
}

/// What is known of one shard after reading all of it.
pub(crate) struct Examined {
    pub(crate) verdict: Verdict,
    /// Which of its blocks can be used: all but those in the verdict, or none.
    data_usable: bool,
    toc_whole: bool,
}

impl Examined {
    fn unusable(fault: &ShardFault) -> Self {
        let verdict = match fault {
            ShardFault::Missing => Verdict::Missing,
            ShardFault::Damaged(what) => Verdict::Damaged { what, blocks: Vec::new() },
            ShardFault::Io(_) => Verdict::Damaged { what: "device error", blocks: Vec::new() },
        };
        Self { verdict, data_usable: false, toc_whole: false }
    }
}

impl Inner {
    /// Checks a container as [`crate::Store::verify`] says.
    pub(super) fn verify(self: &Arc<Self>, id: ContainerId) -> Result<Verification, Error> {
        let entries = self.catalog().find(id);
        let entry = entries.first().ok_or(Error::Missing { container: id })?;
        let pool = self.pools.get(entry.pool).ok_or(Error::Missing { container: id })?;
        let geometry = self.locate(id).map(|at| at.geometry).ok();
        let numbers: Vec<u8> = (0..pool.config.code.shards()).collect();
        let mut found = Vec::with_capacity(numbers.len());
        for group in numbers.chunks(SHARDS_AT_ONCE) {
            found.extend(std::thread::scope(|scope| {
                let examine = |number: u8| move || self.examine_places(entry, id, number, geometry);
                let running: Vec<_> = group.iter().map(|number| scope.spawn(examine(*number))).collect();
                running.into_iter().map(|thread| thread.join().expect("examining does not panic")).collect::<Vec<_>>()
            }));
        }
        let recoverable = geometry.is_some_and(|geometry| is_recoverable(&geometry, &found));
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
        self: &Arc<Self>,
        entry: &Entry,
        id: ContainerId,
        number: u8,
        geometry: Option<Geometry>,
    ) -> (Option<DeviceId>, Examined) {
        let mut result = (None, Examined::unusable(&ShardFault::Missing));
        let Some(pool) = self.pools.get(entry.pool) else { return result };
        for (_, device_id) in entry.places.iter().filter(|(shard, _)| *shard == number) {
            let Some(device) = pool.online(*device_id) else {
                continue;
            };
            let (inner, index) = (Arc::clone(self), entry.pool);
            let path = name::path(device.path(), id, number);
            let called = device.call(move |pulse| {
                let erasure = inner.pools.get(index).map(|pool| &pool.erasure);
                let missing = || Examined::unusable(&ShardFault::Missing);
                erasure
                    .map_or_else(missing, |erasure| examine_here(&path, id, number, erasure, geometry.as_ref(), pulse))
            });
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

    /// Counts and logs what is wrong: reads may never touch it, as parity while the data is whole.
    fn report(&self, container: ContainerId, verification: &Verification) {
        let count = |counter: &AtomicU64, by: usize| {
            counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
        };
        for shard in &verification.shards {
            match &shard.verdict {
                Verdict::Healthy => {}
                Verdict::Missing => {
                    count(&self.damage.missing_shards, 1);
                    warn!(%container, shard = shard.number, "verified shard is missing");
                }
                Verdict::Damaged { what, blocks } => {
                    let whole_shard = blocks.is_empty();
                    let counter = if whole_shard { &self.damage.damaged_shards } else { &self.damage.block_mismatches };
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

/// Checks every byte of one shard file, from the device rather than the page cache; on the device's thread.
pub(crate) fn examine_here(
    path: &Path,
    id: ContainerId,
    number: u8,
    erasure: &Erasure,
    geometry: Option<&Geometry>,
    pulse: &Pulse,
) -> Examined {
    match open_expected(path, (id, number), erasure, geometry, pulse) {
        Ok(file) => examine_open(&file, &Direct::reader(path), pulse),
        Err(fault) => Err(fault),
    }
    .unwrap_or_else(|fault| Examined::unusable(&fault))
}

/// Reads a shard that was just written from its device and compares all of it with what was meant: `table` has the checksums of
/// its blocks, taken before they were written. On the device's thread.
///
/// The hash is not computed again, which was a tenth of what packing took: it is for later, when no table of this process can
/// tell whether block or checksum is wrong.
pub(crate) fn is_as_written(
    path: &Path,
    shard: (ContainerId, u8),
    erasure: &Erasure,
    geometry: &Geometry,
    table: &[u8],
    pulse: &Pulse,
) -> Result<bool, ShardFault> {
    let file = open_expected(path, shard, erasure, Some(geometry), pulse)?;
    pulse.step(Step::Read)?;
    let found = file.table()?;
    if found.as_bytes() != table {
        return Ok(false);
    }
    let mut same = true;
    for_each_chunk(&file, &Direct::reader(path), pulse, |at, chunk| {
        same &= at < HEADER_BYTES || found.differing((at - HEADER_BYTES) / BLOCK_BYTES, chunk).is_empty();
    })?;
    let toc_whole = !geometry.code.carries_toc(file.shard()) || toc_fault(&file).is_none();
    Ok(same && toc_whole && file.hashes().is_ok())
}

/// Opens a shard to read all of it from the device.
fn open_expected(
    path: &Path,
    (id, number): (ContainerId, u8),
    erasure: &Erasure,
    geometry: Option<&Geometry>,
    pulse: &Pulse,
) -> Result<ShardFile, ShardFault> {
    pulse.step(Step::Open)?;
    let file = ShardFile::open(path, id, number, erasure)?;
    if geometry.is_some_and(|geometry| geometry != file.geometry()) {
        return Err(ShardFault::Damaged("belongs to another writing of the container"));
    }
    file.forget_pages(); // what the device has counts, not what memory remembers
    Ok(file)
}

fn examine_open(file: &ShardFile, direct: &Direct, pulse: &Pulse) -> Result<Examined, ShardFault> {
    let geometry = file.geometry();
    let (blocks, hash) = read_all(file, direct, pulse)?;
    pulse.step(Step::Read)?;
    let toc = if geometry.code.carries_toc(file.shard()) { Some(toc_fault(file)) } else { None };
    let toc_whole = matches!(toc, Some(None));
    let at = usize::from(file.shard()) * HASH_BYTES;
    let hashes = file.hashes();
    let hash_fault = match &hashes {
        Err(ShardFault::Damaged(what)) => Some(*what),
        Err(_) => Some("list of hashes cannot be read"),
        Ok(list) if list.get(at..at + HASH_BYTES) == Some(hash.as_slice()) => None,
        Ok(_) => Some("hash differs"),
    };
    // With whole blocks and another hash either the hash or a block checksum lies: trust neither.
    let data_usable = !blocks.is_empty() || hash_fault != Some("hash differs");
    let what = if blocks.is_empty() { hash_fault.or(toc.flatten()) } else { Some("block checksums differ") };
    let verdict = what.map_or(Verdict::Healthy, |what| Verdict::Damaged { what, blocks });
    Ok(Examined { verdict, data_usable, toc_whole })
}

/// Reads header and unit region; returns the blocks that differ and the hash of all.
fn read_all(file: &ShardFile, direct: &Direct, pulse: &Pulse) -> Result<(Vec<u64>, [u8; HASH_BYTES]), ShardFault> {
    pulse.step(Step::Read)?;
    let table = file.table()?;
    let mut hasher = blake3::Hasher::new();
    let mut differing = Vec::new();
    for_each_chunk(file, direct, pulse, |at, chunk| {
        hasher.update(chunk);
        if at >= HEADER_BYTES {
            differing.extend(table.differing((at - HEADER_BYTES) / BLOCK_BYTES, chunk));
        }
    })?;
    Ok((differing, *hasher.finalize().as_bytes()))
}

/// Reads the header and then the unit region in whole blocks, and hands over each piece with its offset in the file.
fn for_each_chunk(
    file: &ShardFile,
    direct: &Direct,
    pulse: &Pulse,
    mut take: impl FnMut(u64, &[u8]),
) -> Result<(), ShardFault> {
    let mut buffer = Aligned::zeroed(CHUNK_BYTES);
    let end = HEADER_BYTES + file.geometry().region_bytes;
    let (mut at, mut most) = (0, HEADER_BYTES);
    while at < end {
        let bytes = usize::try_from(most.min(end - at)).unwrap_or(CHUNK_BYTES);
        let chunk = buffer.first_mut(bytes);
        pulse.step(Step::Read)?;
        file.read_file(direct, chunk, at)?;
        take(at, chunk);
        at += u64::try_from(bytes).expect("at most 1 MiB");
        most = u64::try_from(CHUNK_BYTES).expect("1 MiB");
    }
    Ok(())
}

/// Returns what is wrong with the shard's copy of the table of contents.
fn toc_fault(file: &ShardFile) -> Option<&'static str> {
    match file.toc() {
        Ok(raw) => Toc::decode(&raw).is_err().then_some("table of contents does not decode"),
        Err(ShardFault::Damaged(what)) => Some(what),
        Err(_) => Some("table of contents cannot be read"),
    }
}

/// Returns whether at most m shards are bad at every block and one table of contents is whole.
fn is_recoverable(geometry: &Geometry, found: &[(Option<DeviceId>, Examined)]) -> bool {
    let unusable = found.iter().filter(|(_, examined)| !examined.data_usable).count();
    let mut bad_at: HashMap<u64, usize> = HashMap::new();
    for (_, examined) in found.iter().filter(|(_, examined)| examined.data_usable) {
        if let Verdict::Damaged { blocks, .. } = &examined.verdict {
            for block in blocks {
                *bad_at.entry(*block).or_default() += 1;
            }
        }
    }
    let worst = unusable + bad_at.into_values().max().unwrap_or(0);
    let toc = found.iter().any(|(_, examined)| examined.toc_whole);
    toc && worst <= usize::from(geometry.code.parity_shards)
}
