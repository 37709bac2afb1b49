//! Reading: directly where checksums agree, decoded from other shards where they do not.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;

use super::cache::{Located, OpenShard};
use super::catalog::Entry;
use super::gather::{Part, Region};
use super::{Checked, Inner, Pool, Wait};
use crate::device::Device;
use crate::device::asked::Asked;
use crate::device::calls::Pulse;
use crate::device::gate::Step;
use crate::layout::{PIECE_BYTES_MAX, Piece};
use crate::shard::file::{ShardFault, ShardFile, Table};
use crate::shard::footer::Geometry;
use crate::shard::{BLOCK_BYTES, name};
use crate::{ContainerId, Error, Toc};
use disk::crc32c;

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

impl Inner {
    /// Reads a range as [`crate::Store::read`] says. Blocks.
    pub(super) fn read(
        self: &Arc<Self>,
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
    fn read_verified(self: &Arc<Self>, id: ContainerId, range: Range<u64>) -> Result<Bytes, Error> {
        let result = self.locate(id).and_then(|at| self.read_pieces(&at, &range, Way::Verified));
        if matches!(result, Err(Error::Lost { .. } | Error::Unanswered { .. })) {
            self.damage.unreadable_reads.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Reads a range verified by the caller's checksum, by the blocks' only if that differs. Blocks.
    fn read_checked(self: &Arc<Self>, id: ContainerId, range: Range<u64>, crc: u32, way: Way) -> Result<Bytes, Error> {
        let at = self.locate(id)?;
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
        self.damage.caller_mismatches.fetch_add(1, Ordering::Relaxed);
        Err(Error::Mismatch { container: id, offset: range.start, bytes: range.end - range.start })
    }

    /// Reads a verified range if shards and tables are open and the kernel has the bytes; never waits.
    pub(super) fn read_verified_now(&self, id: ContainerId, range: Range<u64>) -> Option<Bytes> {
        let at = self.cache.located(id)?;
        let mut out = Vec::with_capacity(short(&at.geometry, &range)?);
        for piece in at.geometry.layout().pieces(range) {
            let span = self.part_now(&at, piece.shard, span_of(&piece))?;
            out.extend_from_slice(cut(&span, &piece)?);
        }
        Some(Bytes::from(out))
    }

    /// Reads exactly a range if shards are open and the kernel has the bytes, those of shards that are gone decoded from
    /// others; never waits.
    pub(super) fn read_checked_now(&self, id: ContainerId, range: Range<u64>, crc: u32) -> Option<Bytes> {
        let at = self.cache.located(id)?;
        let mut out = self.buffers.take(short(&at.geometry, &range)?);
        let mut rest = out.space();
        let mut degraded = false;
        for piece in at.geometry.layout().pieces(range) {
            let (head, tail) = rest.split_at_mut_checked(usize::try_from(piece.bytes).ok()?)?;
            if let Some(open) = self.cache.file(id, piece.shard) {
                open.file.read_region_now(head, piece.offset).then_some(())?;
            } else {
                self.decode_now(&at, &piece, head)?;
                degraded = true;
            }
            rest = tail;
        }
        (crc32c(out.as_ref()) == crc).then_some(())?;
        self.damage.degraded_reads.fetch_add(u64::from(degraded), Ordering::Relaxed);
        Some(out.into_bytes())
    }

    /// Restores a piece of a shard whose device is not in use, if the kernel has the same bytes of k others; never waits.
    fn decode_now(&self, at: &Located, piece: &Piece, out: &mut [u8]) -> Option<()> {
        let (id, pool, bytes) = (at.geometry.container, self.pools.get(at.pool)?, out.len());
        let places = self.catalog().places(id, at.pool);
        let gone = places.iter().all(|(shard, device)| *shard != piece.shard || pool.online(*device).is_none());
        (gone && bytes > 0 && bytes <= DECODED_NOW_BYTES_MAX).then_some(())?;
        let code = at.geometry.code;
        let mut room = vec![0; bytes.checked_mul(usize::from(code.data_shards))?];
        let mut parts: Vec<(u8, &[u8])> = Vec::with_capacity(usize::from(code.data_shards));
        let mut others = (0..code.shards()).filter(|shard| *shard != piece.shard);
        for part in room.chunks_exact_mut(bytes) {
            let (shard, open) = others.find_map(|shard| Some((shard, self.open_of(at, shard)?)))?;
            open.file.read_region_now(part, piece.offset).then_some(())?;
            parts.push((shard, part));
        }
        pool.erasure.decode(&parts, piece.shard, out)?;
        self.note(id, piece.shard, &ShardFault::Missing);
        Some(())
    }

    /// Reads a region of a shard if it is open and the kernel has the bytes, and checks the blocks; never waits.
    pub(super) fn part_now(&self, at: &Located, shard: u8, region: Region) -> Option<Vec<u8>> {
        let open = self.open_of(at, shard)?;
        let table = if region.by_block { Some(self.cache.table(at.geometry.container, &open.file)?) } else { None };
        let mut bytes = vec![0; region.bytes];
        open.file.read_region_now(&mut bytes, region.offset).then_some(())?;
        let whole = table.is_none_or(|table| table.differing(region.offset / BLOCK_BYTES, &bytes).is_empty());
        whole.then_some(bytes)
    }

    /// Returns a shard that is open and belongs to this writing of the container.
    fn open_of(&self, at: &Located, shard: u8) -> Option<Arc<OpenShard>> {
        self.cache.file(at.geometry.container, shard).filter(|open| *open.file.geometry() == at.geometry)
    }

    /// Returns the table of contents from any shard that has a whole one. Blocks.
    pub(super) fn toc(self: &Arc<Self>, id: ContainerId) -> Result<Toc, Error> {
        let at = self.locate(id)?;
        let code = at.geometry.code;
        let mut carriers = self.places(&at).into_iter().filter(|(shard, _)| code.carries_toc(*shard));
        let patience = self.patience(at.pool);
        let deadline = Instant::now() + self.options.device_answer_max;
        let mut asked = Asked::new();
        let mut next = carriers.next();
        while next.is_some() || asked.waiting() > 0 {
            if let Some((shard, device)) = next.take() {
                let (inner, on) = (Arc::clone(self), Arc::clone(&device));
                asked.ask(shard, &device, move |pulse| inner.toc_here(&at, shard, &on, pulse));
            }
            let until = deadline.min(Instant::now() + patience);
            match asked.next(until) {
                Some((_, Ok(toc))) => return Ok(toc),
                Some((shard, Err(fault))) => self.note(id, shard, &fault),
                None if Instant::now() >= deadline => {
                    asked.note_silence();
                    return Err(Error::Unanswered { container: id, shards: carriers_of(&at.geometry) });
                }
                None => asked.note_hedge(),
            }
            next = carriers.next();
        }
        self.damage.unreadable_reads.fetch_add(1, Ordering::Relaxed);
        Err(Error::Lost { container: id, missing: carriers_of(&at.geometry) })
    }

    /// Returns where a container lies and what most of its shards say of it. Blocks.
    pub(super) fn locate(self: &Arc<Self>, id: ContainerId) -> Result<Located, Error> {
        if let Some(at) = self.cache.located(id) {
            return Ok(at);
        }
        let entries = self.catalog().find(id);
        let mut lost = Error::Missing { container: id };
        for entry in entries {
            let Some(pool) = self.pools.get(entry.pool) else {
                continue;
            };
            if let Some((geometry, votes)) = self.vote(id, pool, &entry) {
                let at = Located { pool: entry.pool, geometry };
                // With fewer than k shards this may be an old disk's word alone: ask again next time.
                if votes >= usize::from(geometry.code.data_shards) {
                    self.cache.put_located(id, at);
                }
                return Ok(at);
            }
            lost = Error::Lost { container: id, missing: (0..pool.config.code.shards()).collect() };
        }
        Err(lost)
    }

    /// Opens all shards and returns the geometry that most have, the newest of equals, and how many have it.
    ///
    /// A single shard suffices: what it holds can still be served. It is all shards, not the first, because a disk that
    /// comes back after years may hold an older generation. Slow ones are not waited for when k agree.
    fn vote(self: &Arc<Self>, id: ContainerId, pool: &Pool, entry: &Entry) -> Option<(Geometry, usize)> {
        let mut asked = Asked::new();
        let online = |(shard, device)| Some((shard, Arc::clone(pool.online(device)?)));
        let mut places: Vec<_> = entry.places.iter().copied().filter_map(online).collect();
        places.dedup_by_key(|(shard, _)| *shard);
        for (shard, device) in places {
            let (inner, pool, on) = (Arc::clone(self), entry.pool, Arc::clone(&device));
            asked.ask(shard, &device, move |pulse| {
                let open = inner.open_here(id, pool, shard, &on, pulse);
                open.map(|open| *open.file.geometry())
            });
        }
        let deadline = Instant::now() + self.options.device_answer_max;
        let patient = Instant::now() + self.patience(entry.pool);
        let mut votes: HashMap<Geometry, usize> = HashMap::new();
        while asked.waiting() > 0 {
            let agreed = votes.values().any(|votes| *votes >= usize::from(pool.config.code.data_shards));
            match asked.next(if agreed { patient } else { deadline }) {
                Some((_, Ok(geometry))) => *votes.entry(geometry).or_default() += 1,
                Some((_, Err(_))) => {}
                None => {
                    asked.note_hedge();
                    asked.note_silence();
                    break;
                }
            }
        }
        votes.into_iter().max_by_key(|(geometry, votes)| (*votes, geometry.generation))
    }

    /// Reads a range piece by piece.
    fn read_pieces(self: &Arc<Self>, at: &Located, range: &Range<u64>, way: Way) -> Result<Bytes, Error> {
        let by_block = way == Way::Verified;
        let mut out = Vec::with_capacity(capacity(&at.geometry, range)?);
        let mut degraded = false;
        for piece in at.geometry.layout().pieces(range.clone()) {
            let region = if by_block { span_of(&piece) } else { exactly(&piece) };
            let gathered = self.gather(at, piece.shard, region, way != Way::Devices)?;
            degraded |= gathered.degraded;
            if !by_block && out.is_empty() && gathered.bytes.len() == out.capacity() {
                out = gathered.bytes;
            } else {
                let bytes = if by_block { cut(&gathered.bytes, &piece) } else { Some(gathered.bytes.as_slice()) };
                out.extend_from_slice(bytes.expect("the span covers the piece"));
            }
        }
        if degraded {
            self.damage.degraded_reads.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Bytes::from(out))
    }

    /// Reads a region of a shard, opening it if need be, and checks the blocks; on the device's thread.
    pub(super) fn part_here(
        &self,
        at: &Located,
        shard: u8,
        device: &Arc<Device>,
        region: Region,
        pulse: &Pulse,
    ) -> Result<Part, ShardFault> {
        let open = self.shard_here(at, shard, device, pulse)?;
        let table = if region.by_block { Some(self.table_here(at, &open, pulse)?) } else { None };
        let mut bytes = vec![0; region.bytes];
        let read = pulse.step(Step::Read).map_err(ShardFault::from);
        let read = read.and_then(|()| open.file.read_region(&mut bytes, region.offset));
        let first = region.offset / BLOCK_BYTES;
        let bad = match (read, table) {
            (Err(fault), Some(table)) => {
                // One bad sector fails the whole span: read block by block what can be read.
                self.note_open(at.geometry.container, &open, &fault);
                self.note(at.geometry.container, shard, &fault);
                readable_blocks(&open, &table, first, &mut bytes, pulse)
            }
            (Err(fault), None) => {
                self.note_open(at.geometry.container, &open, &fault);
                return Err(fault);
            }
            (Ok(()), table) => {
                device.note_success();
                let bad = table.map(|table| table.differing(first, &bytes)).unwrap_or_default();
                for _ in &bad {
                    let counter = &self.damage.block_mismatches;
                    self.damage.shard(counter, at.geometry.container, shard, "block checksum differs");
                }
                bad
            }
        };
        let bad = bad.into_iter().filter_map(|block| usize::try_from(block - first).ok()).collect();
        Ok(Part { bytes, bad })
    }

    fn toc_here(&self, at: &Located, shard: u8, device: &Arc<Device>, pulse: &Pulse) -> Result<Toc, ShardFault> {
        let open = self.shard_here(at, shard, device, pulse)?;
        let raw = pulse.step(Step::Read).map_err(ShardFault::from).and_then(|()| open.file.toc());
        let raw = raw.inspect_err(|fault| self.note_open(at.geometry.container, &open, fault))?;
        Toc::decode(&raw).map_err(|_| ShardFault::Damaged("table of contents does not decode"))
    }

    fn table_here(&self, at: &Located, open: &OpenShard, pulse: &Pulse) -> Result<Arc<Table>, ShardFault> {
        let id = at.geometry.container;
        if let Some(table) = self.cache.table(id, &open.file) {
            return Ok(table);
        }
        let table = pulse.step(Step::Read).map_err(ShardFault::from).and_then(|()| open.file.table());
        let table = Arc::new(table.inspect_err(|fault| self.note_open(id, open, fault))?);
        self.cache.put_table(id, &open.file, Arc::clone(&table));
        Ok(table)
    }

    /// Returns an open shard that agrees with the container's geometry; on the device's thread.
    fn shard_here(
        &self,
        at: &Located,
        shard: u8,
        device: &Arc<Device>,
        pulse: &Pulse,
    ) -> Result<Arc<OpenShard>, ShardFault> {
        let open = self.open_here(at.geometry.container, at.pool, shard, device, pulse)?;
        if *open.file.geometry() == at.geometry {
            return Ok(open);
        }
        Err(ShardFault::Damaged("belongs to another writing of the container"))
    }

    /// Opens a shard, or takes it if it is open; on the device's thread.
    fn open_here(
        &self,
        id: ContainerId,
        pool: usize,
        shard: u8,
        device: &Arc<Device>,
        pulse: &Pulse,
    ) -> Result<Arc<OpenShard>, ShardFault> {
        if let Some(open) = self.cache.file(id, shard).filter(|open| Arc::ptr_eq(&open.device, device)) {
            return Ok(open);
        }
        let erasure = &self.pools.get(pool).ok_or(ShardFault::Missing)?.erasure;
        let path = name::path(device.path(), id, shard);
        let opened = pulse.step(Step::Open).map_err(ShardFault::from);
        match opened.and_then(|()| ShardFile::open(&path, id, shard, erasure)) {
            Ok(file) => {
                device.note_success();
                let open = Arc::new(OpenShard { file, device: Arc::clone(device) });
                self.cache.put_file(id, shard, Arc::clone(&open));
                Ok(open)
            }
            Err(fault) => {
                match &fault {
                    ShardFault::Missing => device.note_not_found_here(),
                    ShardFault::Io(source) => device.note_error(source, self.options.device_errors_max),
                    ShardFault::Damaged(_) => {}
                }
                Err(fault)
            }
        }
    }

    /// Closes a shard that could not be read.
    fn note_open(&self, id: ContainerId, open: &OpenShard, fault: &ShardFault) {
        self.cache.forget_file(id, open.file.shard());
        if let ShardFault::Io(source) = fault {
            open.device.note_error(source, self.options.device_errors_max);
        }
    }

    /// Counts what is wrong with a shard.
    pub(super) fn note(&self, id: ContainerId, shard: u8, fault: &ShardFault) {
        let damage = &self.damage;
        let (counter, what) = match fault {
            ShardFault::Missing => (&damage.missing_shards, "shard is missing"),
            ShardFault::Damaged(what) => (&damage.damaged_shards, *what),
            ShardFault::Io(_) => (&damage.device_errors, "device error"),
        };
        damage.shard(counter, id, shard, what);
    }
}

/// Reads block by block what can be read; returns the blocks that cannot.
fn readable_blocks(open: &OpenShard, table: &Table, first: u64, span: &mut [u8], pulse: &Pulse) -> Vec<u64> {
    let blocks = (first..).zip(span.chunks_mut(usize::try_from(BLOCK_BYTES).expect("64 KiB")));
    let bad = blocks.filter_map(|(block, bytes)| {
        let read = pulse.step(Step::Read).is_ok() && open.file.read_region(bytes, block * BLOCK_BYTES).is_ok();
        (!read || !table.matches(block, bytes)).then_some(block)
    });
    bad.collect()
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

/// Returns all blocks of a piece.
fn span_of(piece: &Piece) -> Region {
    let first = piece.offset / BLOCK_BYTES;
    let blocks = (piece.offset + piece.bytes).div_ceil(BLOCK_BYTES) - first;
    let bytes = usize::try_from(blocks * BLOCK_BYTES).expect("pieces are at most 1 MiB");
    Region { offset: first * BLOCK_BYTES, bytes, by_block: true }
}

/// Returns a piece as it is.
fn exactly(piece: &Piece) -> Region {
    let bytes = usize::try_from(piece.bytes).expect("pieces are at most 1 MiB");
    Region { offset: piece.offset, bytes, by_block: false }
}

fn carriers_of(geometry: &Geometry) -> Vec<u8> {
    (0..geometry.code.shards()).filter(|shard| geometry.code.carries_toc(*shard)).collect()
}

/// Returns the piece's own bytes of its blocks.
fn cut<'a>(span: &'a [u8], piece: &Piece) -> Option<&'a [u8]> {
    let start = usize::try_from(piece.offset % BLOCK_BYTES).ok()?;
    span.get(start..)?.get(..usize::try_from(piece.bytes).ok()?)
}
