//! Checking every byte of one shard, from its device rather than from memory. Everything here runs on the device's thread.

use crate::Toc;
use crate::device::fault_point::Step;
use crate::device::io_threads::Heartbeat;
use crate::erasure::Erasure;
use crate::medium::Medium;
use crate::medium::name::ShardName;
use crate::shard::file::{ShardFault, ShardFile};
use crate::shard::footer::Geometry;
use crate::shard::{BLOCK_BYTES, HASH_BYTES, HEADER_BYTES};
use disk::{Aligned, CHUNK_BYTES};

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
        /// Numbers of the 64 KiB blocks that differ; empty if something else differs, or all of it.
        blocks: Vec<u64>,
    },
}

/// What is known of one shard after reading all of it.
pub(crate) struct Examined {
    pub(crate) verdict: Verdict,
    /// Which of its blocks can be used: all but those in the verdict, or none.
    pub(crate) data_usable: bool,
    pub(crate) toc_whole: bool,
}

impl Examined {
    pub(crate) fn unusable(fault: &ShardFault) -> Self {
        let verdict = match fault {
            ShardFault::Missing => Verdict::Missing,
            ShardFault::Damaged(what) => Verdict::Damaged { what, blocks: Vec::new() },
            ShardFault::Io(_) => Verdict::Damaged { what: "device error", blocks: Vec::new() },
        };
        Self { verdict, data_usable: false, toc_whole: false }
    }
}

/// Checks every byte of one shard, from the device rather than the page cache.
pub(crate) fn examine_here(
    medium: &Medium,
    name: ShardName,
    erasure: &Erasure,
    geometry: Option<&Geometry>,
    heartbeat: &Heartbeat,
) -> Examined {
    let examined =
        open_expected(medium, name, erasure, geometry, heartbeat).and_then(|file| examine_open(&file, heartbeat));
    examined.unwrap_or_else(|fault| Examined::unusable(&fault))
}

/// Reads a shard that was just written from its device and compares all of it with what was meant: `table` has the checksums of
/// its blocks, taken before they were written.
///
/// The hash is not computed again, which was a tenth of what packing took: it serves later checks, when no table of this process can
/// tell whether block or checksum is wrong.
pub(crate) fn is_as_written(
    medium: &Medium,
    name: ShardName,
    erasure: &Erasure,
    geometry: &Geometry,
    table: &[u8],
    heartbeat: &Heartbeat,
) -> Result<bool, ShardFault> {
    let file = open_expected(medium, name, erasure, Some(geometry), heartbeat)?;
    heartbeat.step(Step::Read)?;
    let found = file.table()?;
    if found.as_bytes() != table {
        return Ok(false);
    }
    let mut same = true;
    for_each_chunk(&file, heartbeat, |at, chunk| {
        same &= at < HEADER_BYTES || found.differing((at - HEADER_BYTES) / BLOCK_BYTES, chunk).is_empty();
    })?;
    let toc_whole = !geometry.code.carries_toc(file.shard()) || toc_fault(&file).is_none();
    Ok(same && toc_whole && file.hashes().is_ok())
}

/// Opens a shard to read all of it from the device.
fn open_expected(
    medium: &Medium,
    name: ShardName,
    erasure: &Erasure,
    geometry: Option<&Geometry>,
    heartbeat: &Heartbeat,
) -> Result<ShardFile, ShardFault> {
    heartbeat.step(Step::Open)?;
    let file = ShardFile::check(medium.open_uncached(name)?, name, erasure)?;
    if geometry.is_some_and(|geometry| geometry != file.geometry()) {
        return Err(ShardFault::Damaged("belongs to another writing of the container"));
    }
    file.forget_cached(); // what the device has counts, not what memory remembers
    Ok(file)
}

fn examine_open(file: &ShardFile, heartbeat: &Heartbeat) -> Result<Examined, ShardFault> {
    let geometry = file.geometry();
    let (blocks, hash) = read_all(file, heartbeat)?;
    heartbeat.step(Step::Read)?;
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
fn read_all(file: &ShardFile, heartbeat: &Heartbeat) -> Result<(Vec<u64>, [u8; HASH_BYTES]), ShardFault> {
    heartbeat.step(Step::Read)?;
    let table = file.table()?;
    let mut hasher = blake3::Hasher::new();
    let mut differing = Vec::new();
    for_each_chunk(file, heartbeat, |at, chunk| {
        hasher.update(chunk);
        if at >= HEADER_BYTES {
            differing.extend(table.differing((at - HEADER_BYTES) / BLOCK_BYTES, chunk));
        }
    })?;
    Ok((differing, *hasher.finalize().as_bytes()))
}

/// Reads the header and then the unit region in whole blocks, and hands over each piece with its offset in the file.
fn for_each_chunk(file: &ShardFile, heartbeat: &Heartbeat, mut take: impl FnMut(u64, &[u8])) -> Result<(), ShardFault> {
    let mut buffer = Aligned::zeroed(CHUNK_BYTES);
    let end = HEADER_BYTES + file.geometry().region_bytes;
    let (mut at, mut most) = (0, HEADER_BYTES);
    while at < end {
        let bytes = usize::try_from(most.min(end - at)).unwrap_or(CHUNK_BYTES);
        let chunk = buffer.first_mut(bytes);
        heartbeat.step(Step::Read)?;
        file.read_uncached(chunk, at)?;
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
