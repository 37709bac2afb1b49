//! Reading ranges of containers: directly where checksums agree, decoded from other shards where they do not.

pub(crate) mod cache;
mod hedged;
pub(crate) mod locate;
mod region;
pub(crate) mod shards;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use disk::{Buffers, crc32c};

use crate::layout::{PIECE_BYTES_MAX, Piece};
use crate::shard::file::ShardFault;
use crate::shard::footer::Geometry;
use crate::{ContainerId, Error, Toc};
use cache::Located;
use locate::locate;
use region::{cut, exactly, span_of};
use shards::Shards;

/// What proves that the bytes of a range are those that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// The container's own checksums of the 64 KiB blocks that the range lies in; those are read whole.
    Blocks,
    /// A CRC-32C of exactly this range, which the caller knows: no byte more is read unless it differs. If it differs, the
    /// blocks are read and verified, and the result is compared again.
    Crc(u32),
}

/// Whether a read tries the kernel's memory before it moves to a thread that may wait for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Tries the kernel's memory first, on the caller's thread.
    IfNeeded,
    /// Moves to a thread that may wait at once: one read call less for bytes that are seldom in memory, or that take
    /// longer to use than another thread takes to begin.
    AtOnce,
}
/// How a range is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By blocks that are verified, of the kernel's memory first.
    Verified,
    /// Exactly and unverified, of the kernel's memory first.
    Exact,
    /// Exactly and unverified, of the devices at once: a read call less for what is seldom in memory.
    Devices,
}

/// Longest piece that is decoded on a thread of the runtime: some 20 us.
const DECODED_NOW_BYTES_MAX: usize = 256 * 1024;

/// Reads containers.
#[derive(Debug)]
pub(crate) struct Reader {
    shards: Arc<Shards>,
    buffers: Arc<Buffers>,
}

impl Reader {
    pub(crate) fn new(shards: Arc<Shards>) -> Self {
        Self { shards, buffers: Arc::default() }
    }

    /// Reads a range as [`crate::Store::read`] says. Blocks.
    pub(crate) fn read(
        &self,
        id: ContainerId,
        range: Range<u64>,
        checked: Checked,
        wait: Wait,
    ) -> Result<Bytes, Error> {
        match (checked, wait) {
            (Checked::Blocks, _) => self.read_verified(id, range),
            (Checked::Crc(crc32c), Wait::IfNeeded) => self.read_checked(id, range, crc32c, Way::Exact),
            (Checked::Crc(crc32c), Wait::AtOnce) => self.read_checked(id, range, crc32c, Way::Devices),
        }
    }

    /// Reads a range whose blocks are all verified. Blocks.
    fn read_verified(&self, id: ContainerId, range: Range<u64>) -> Result<Bytes, Error> {
        let result = locate(&self.shards, id).and_then(|at| self.read_pieces(&at, &range, Way::Verified));
        if matches!(result, Err(Error::Lost { .. } | Error::Unanswered { .. })) {
            self.shards.damage().unreadable_reads.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Reads a range verified by the caller's checksum, by the blocks' only if that differs. Blocks.
    fn read_checked(&self, id: ContainerId, range: Range<u64>, crc: u32, way: Way) -> Result<Bytes, Error> {
        let at = locate(&self.shards, id)?;
        capacity(&at.geometry, &range)?;
        match self.read_pieces(&at, &range, way) {
            Ok(bytes) if crc32c(&bytes) == crc => return Ok(bytes),
            Err(error @ Error::Unanswered { .. }) => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let whole = self.read_verified(id, range.clone())?;
        if crc32c(&whole) == crc {
            return Ok(whole);
        }
        self.shards.damage().caller_mismatches.fetch_add(1, Ordering::Relaxed);
        Err(Error::Mismatch { container: id, offset: range.start, bytes: range.end - range.start })
    }

    /// Reads a verified range if shards and tables are open and the kernel has the bytes; never waits.
    pub(crate) fn read_verified_now(&self, id: ContainerId, range: Range<u64>) -> Option<Bytes> {
        let at = self.shards.cache().located(id)?;
        let mut out = Vec::with_capacity(short(&at.geometry, &range)?);
        for piece in at.geometry.layout().pieces(range) {
            let span = self.shards.part_now(&at, piece.shard, span_of(&piece))?;
            out.extend_from_slice(cut(&span, &piece)?);
        }
        Some(Bytes::from(out))
    }

    /// Reads exactly a range if shards are open and the kernel has the bytes, those of shards that are gone decoded from
    /// others; never waits.
    pub(crate) fn read_checked_now(&self, id: ContainerId, range: Range<u64>, crc: u32) -> Option<Bytes> {
        let at = self.shards.cache().located(id)?;
        let mut out = self.buffers.take(short(&at.geometry, &range)?);
        let mut rest = out.space();
        let mut degraded = false;
        for piece in at.geometry.layout().pieces(range) {
            let (head, tail) = rest.split_at_mut_checked(usize::try_from(piece.bytes).ok()?)?;
            if let Some(open) = self.shards.cache().file(id, piece.shard) {
                open.file().read_region_now(head, piece.offset).then_some(())?;
            } else {
                self.decode_now(&at, &piece, head)?;
                degraded = true;
            }
            rest = tail;
        }
        (crc32c(out.as_ref()) == crc).then_some(())?;
        self.shards.damage().degraded_reads.fetch_add(u64::from(degraded), Ordering::Relaxed);
        Some(out.into_bytes())
    }

    /// Restores a piece of a shard whose device is not in use, if the kernel has the same bytes of k others; never waits.
    fn decode_now(&self, at: &Located, piece: &Piece, out: &mut [u8]) -> Option<()> {
        let (id, pool, bytes) = (at.geometry.container, self.shards.pools().get(at.pool)?, out.len());
        let places = self.shards.catalog().places(id, at.pool);
        let gone = places.iter().all(|(shard, device)| *shard != piece.shard || pool.online(*device).is_none());
        (gone && bytes > 0 && bytes <= DECODED_NOW_BYTES_MAX).then_some(())?;
        let code = at.geometry.code;
        let mut room = vec![0; bytes.checked_mul(usize::from(code.data_shards))?];
        let mut parts: Vec<(u8, &[u8])> = Vec::with_capacity(usize::from(code.data_shards));
        let mut others = (0..code.shards()).filter(|shard| *shard != piece.shard);
        for part in room.chunks_exact_mut(bytes) {
            let (shard, open) = others.find_map(|shard| Some((shard, self.shards.open_of(at, shard)?)))?;
            open.file().read_region_now(part, piece.offset).then_some(())?;
            parts.push((shard, part));
        }
        pool.erasure.decode(&parts, piece.shard, out)?;
        self.shards.note(id, piece.shard, &ShardFault::Missing);
        Some(())
    }

    /// Returns the table of contents from any shard that has a whole one. Blocks.
    pub(crate) fn toc(&self, id: ContainerId) -> Result<Toc, Error> {
        let at = locate(&self.shards, id)?;
        let code = at.geometry.code;
        let mut carriers = self.shards.places(&at).into_iter().filter(|(shard, _)| code.carries_toc(*shard));
        let patience = self.shards.patience(at.pool);
        let deadline = self.shards.deadline();
        let mut asked = self.shards.fan_out();
        let mut next = carriers.next();
        while next.is_some() || asked.waiting() > 0 {
            if let Some((shard, device)) = next.take() {
                let (shards, on) = (Arc::clone(&self.shards), Arc::clone(&device));
                asked.ask(shard, &device, move |heartbeat| shards.toc_here(&at, shard, &on, heartbeat));
            }
            let until = deadline.min(self.shards.now() + patience);
            match asked.next(until) {
                Some((_, Ok(toc))) => return Ok(toc),
                Some((shard, Err(fault))) => self.shards.note(id, shard, &fault),
                None if self.shards.now() >= deadline => {
                    asked.note_silence();
                    return Err(Error::Unanswered { container: id, shards: carriers_of(&at.geometry) });
                }
                None => asked.note_hedge(),
            }
            next = carriers.next();
        }
        self.shards.damage().unreadable_reads.fetch_add(1, Ordering::Relaxed);
        Err(Error::Lost { container: id, missing: carriers_of(&at.geometry) })
    }

    /// Reads a range piece by piece.
    fn read_pieces(&self, at: &Located, range: &Range<u64>, way: Way) -> Result<Bytes, Error> {
        let by_block = way == Way::Verified;
        let mut out = Vec::with_capacity(capacity(&at.geometry, range)?);
        let mut degraded = false;
        for piece in at.geometry.layout().pieces(range.clone()) {
            let region = if by_block { span_of(&piece) } else { exactly(&piece) };
            let run = hedged::read(&self.shards, at, piece.shard, region, way != Way::Devices)?;
            degraded |= run.degraded;
            if !by_block && out.is_empty() && run.bytes.len() == out.capacity() {
                out = run.bytes;
            } else {
                let bytes = if by_block { cut(&run.bytes, &piece) } else { Some(run.bytes.as_slice()) };
                out.extend_from_slice(bytes.expect("the span covers the piece"));
            }
        }
        if degraded {
            self.shards.damage().degraded_reads.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Bytes::from(out))
    }
}

/// Returns the length of a range that lies in the container.
fn capacity(geometry: &Geometry, range: &Range<u64>) -> Result<usize, Error> {
    let (container, logical_bytes) = (geometry.container, geometry.logical_bytes);
    let inside = range.end <= logical_bytes;
    let bytes = range.end.checked_sub(range.start).filter(|_| inside).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or(Error::OutOfRange { container, end: range.end, logical_bytes })
}

/// Returns the length of a range that is short enough to be copied on a thread of the runtime.
fn short(geometry: &Geometry, range: &Range<u64>) -> Option<usize> {
    let bytes = capacity(geometry, range).ok()?;
    u64::try_from(bytes).is_ok_and(|bytes| bytes <= PIECE_BYTES_MAX).then_some(bytes)
}

fn carriers_of(geometry: &Geometry) -> Vec<u8> {
    (0..geometry.code.shards()).filter(|shard| geometry.code.carries_toc(*shard)).collect()
}
