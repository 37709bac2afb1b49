//! Reading: directly where checksums agree, decoded from other shards where they do not.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::cache::{Located, OpenShard};
use super::catalog::Entry;
use super::{Inner, Pool};
use crate::checksum::crc32c;
use crate::layout::{PIECE_BYTES_MAX, Piece};
use crate::shard::file::{ShardFault, ShardFile, Table};
use crate::shard::footer::Geometry;
use crate::shard::{BLOCK_BYTES, name};
use crate::{ContainerId, Error, Toc};

impl Inner {
    /// Reads a range whose blocks are all verified. Blocks.
    pub(super) fn read_verified(&self, id: ContainerId, range: Range<u64>) -> Result<Bytes, Error> {
        let result = self.locate(id).and_then(|at| self.read_pieces(&at, &range));
        if matches!(result, Err(Error::Lost { .. })) {
            self.damage.unreadable_reads.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Reads a range verified by the caller's checksum, by the blocks' only if that differs. Blocks.
    pub(super) fn read_checked(&self, id: ContainerId, range: Range<u64>, crc: u32) -> Result<Bytes, Error> {
        let at = self.locate(id)?;
        let bytes = capacity(&at.geometry, &range)?;
        let exact = self.read_around(&at, &range, bytes).filter(|(bytes, _)| crc32c(bytes) == crc);
        if let Some((bytes, degraded)) = exact {
            self.damage.degraded_reads.fetch_add(u64::from(degraded), Ordering::Relaxed);
            return Ok(Bytes::from(bytes));
        }
        let whole = self.read_verified(id, range.clone())?;
        if crc32c(&whole) == crc {
            return Ok(whole);
        }
        self.damage.caller_mismatches.fetch_add(1, Ordering::Relaxed);
        Err(Error::Mismatch { container: id, offset: range.start, bytes: range.end - range.start })
    }

    /// Reads a verified range if shards and tables are open and the kernel has the bytes; never waits.
    pub(super) fn read_now(&self, id: ContainerId, range: Range<u64>) -> Option<Bytes> {
        let at = self.cache.located(id)?;
        let mut out = Vec::with_capacity(short(&at.geometry, &range)?);
        for piece in at.geometry.layout().pieces(range) {
            let open = self.cache.file(id, piece.shard)?;
            let table = self.cache.table(id, &open.file)?;
            let (first, mut span) = span_of(&piece);
            let whole =
                open.file.read_region_now(&mut span, first * BLOCK_BYTES) && table.differing(first, &span).is_empty();
            out.extend_from_slice(whole.then(|| cut(&span, &piece))??);
        }
        Some(Bytes::from(out))
    }

    /// Reads exactly a range if shards are open and the kernel has the bytes; never waits.
    pub(super) fn read_checked_now(&self, id: ContainerId, range: Range<u64>, crc: u32) -> Option<Bytes> {
        let at = self.cache.located(id)?;
        let mut out = self.buffers.take(short(&at.geometry, &range)?);
        let mut rest = out.space();
        for piece in at.geometry.layout().pieces(range) {
            let (head, tail) = rest.split_at_mut_checked(usize::try_from(piece.bytes).ok()?)?;
            self.cache.file(id, piece.shard)?.file.read_region_now(head, piece.offset).then_some(())?;
            rest = tail;
        }
        (crc32c(out.as_ref()) == crc).then(|| out.into_bytes())
    }

    /// Returns the table of contents from any shard that has a whole one. Blocks.
    pub(super) fn toc(&self, id: ContainerId) -> Result<Arc<Toc>, Error> {
        if let Some(toc) = self.cache.toc(id) {
            return Ok(toc);
        }
        let at = self.locate(id)?;
        let code = at.geometry.code;
        let carriers: Vec<u8> = (0..code.shards()).filter(|shard| code.carries_toc(*shard)).collect();
        for shard in &carriers {
            let Some(open) = self.shard(&at, *shard) else {
                continue;
            };
            let decoded = open.file.toc().map(|raw| Toc::decode(&raw));
            match decoded {
                Ok(Ok(toc)) => {
                    let toc = Arc::new(toc);
                    self.cache.put_toc(id, Arc::clone(&toc));
                    return Ok(toc);
                }
                Ok(Err(_)) => self.note(id, *shard, &ShardFault::Damaged("table of contents does not decode")),
                Err(fault) => self.note_open(id, &open, &fault),
            }
        }
        self.damage.unreadable_reads.fetch_add(1, Ordering::Relaxed);
        Err(Error::Lost { container: id, missing: carriers })
    }

    /// Returns where a container lies and what most of its shards say of it. Blocks.
    pub(super) fn locate(&self, id: ContainerId) -> Result<Located, Error> {
        if let Some(at) = self.cache.located(id) {
            return Ok(at);
        }
        let entries = self.catalog.read().unwrap_or_else(PoisonError::into_inner).find(id);
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
    /// comes back after years may hold an older generation.
    fn vote(&self, id: ContainerId, pool: &Pool, entry: &Entry) -> Option<(Geometry, usize)> {
        let mut votes: HashMap<Geometry, usize> = HashMap::new();
        for shard in 0..pool.config.code.shards() {
            if let Ok(open) = self.open_shard(id, pool, entry, shard) {
                *votes.entry(*open.file.geometry()).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(geometry, votes)| (*votes, geometry.generation))
    }

    fn read_pieces(&self, at: &Located, range: &Range<u64>) -> Result<Bytes, Error> {
        let mut out = Vec::with_capacity(capacity(&at.geometry, range)?);
        let mut degraded = false;
        for piece in at.geometry.layout().pieces(range.clone()) {
            let (first, mut span) = span_of(&piece);
            for block in self.damaged_blocks(at, piece.shard, first, &mut span) {
                degraded = true;
                let whole = self.decode_block(at, piece.shard, block)?;
                let start = usize::try_from((block - first) * BLOCK_BYTES).expect("inside a piece");
                let place = span.get_mut(start..).and_then(|rest| rest.get_mut(..whole.len()));
                place.expect("the block is one of the span's").copy_from_slice(&whole);
            }
            out.extend_from_slice(cut(&span, &piece).expect("the span covers the piece"));
        }
        if degraded {
            self.damage.degraded_reads.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Bytes::from(out))
    }

    /// Fills the span from the shard itself and returns the blocks that must be decoded instead.
    fn damaged_blocks(&self, at: &Located, shard: u8, first: u64, span: &mut [u8]) -> Vec<u64> {
        let id = at.geometry.container;
        let Some((open, table)) = self.shard_and_table(at, shard) else {
            let blocks = span.chunks(usize::try_from(BLOCK_BYTES).expect("64 KiB"));
            return (first..).zip(blocks).map(|(block, _)| block).collect();
        };
        if let Err(fault) = open.file.read_region(span, first * BLOCK_BYTES) {
            // One bad sector fails the whole span: read block by block what can be read.
            self.note_open(id, &open, &fault);
            return readable_blocks(&open, &table, first, span);
        }
        open.device.note_success();
        let differing = table.differing(first, span);
        for _ in &differing {
            self.damage.shard(&self.damage.block_mismatches, id, shard, "block checksum differs");
        }
        differing
    }

    /// Restores one block of a data shard from the same block of k others.
    fn decode_block(&self, at: &Located, wanted: u8, block: u64) -> Result<Vec<u8>, Error> {
        let code = at.geometry.code;
        let mut blocks = Vec::with_capacity(usize::from(code.shards()));
        let mut missing = vec![wanted];
        let mut present = 0;
        for shard in 0..code.shards() {
            let bytes =
                if shard == wanted || present == code.data_shards { None } else { self.block(at, shard, block) };
            if bytes.is_some() {
                present += 1;
            } else if shard != wanted && present < code.data_shards {
                missing.push(shard);
            }
            blocks.push(bytes);
        }
        missing.sort_unstable();
        let erasure = self.pools.get(at.pool).map(|pool| &pool.erasure);
        let decoded =
            erasure.filter(|_| present == code.data_shards).and_then(|erasure| erasure.decode(blocks, wanted));
        decoded.ok_or(Error::Lost { container: at.geometry.container, missing })
    }

    /// Reads one block and checks it.
    fn block(&self, at: &Located, shard: u8, block: u64) -> Option<Vec<u8>> {
        let id = at.geometry.container;
        let (open, table) = self.shard_and_table(at, shard)?;
        let mut bytes = vec![0; usize::try_from(BLOCK_BYTES).expect("64 KiB")];
        if let Err(fault) = open.file.read_region(&mut bytes, block * BLOCK_BYTES) {
            self.note_open(id, &open, &fault);
            return None;
        }
        open.device.note_success();
        if table.matches(block, &bytes) {
            return Some(bytes);
        }
        self.damage.shard(&self.damage.block_mismatches, id, shard, "block checksum differs");
        None
    }

    fn shard_and_table(&self, at: &Located, shard: u8) -> Option<(Arc<OpenShard>, Arc<Table>)> {
        let id = at.geometry.container;
        let open = self.shard(at, shard)?;
        if let Some(table) = self.cache.table(id, &open.file) {
            return Some((open, table));
        }
        match open.file.table() {
            Ok(table) => {
                let table = Arc::new(table);
                self.cache.put_table(id, &open.file, Arc::clone(&table));
                Some((open, table))
            }
            Err(fault) => {
                self.note_open(id, &open, &fault);
                None
            }
        }
    }

    /// Returns an open shard that agrees with the container's geometry; what is wrong with it is counted.
    pub(super) fn shard(&self, at: &Located, shard: u8) -> Option<Arc<OpenShard>> {
        let id = at.geometry.container;
        let known = self.cache.file(id, shard);
        let opened = known.map_or_else(
            || {
                let entries = self.catalog.read().unwrap_or_else(PoisonError::into_inner).find(id);
                let entry = entries.iter().find(|entry| entry.pool == at.pool).ok_or(ShardFault::Missing)?;
                let pool = self.pools.get(at.pool).ok_or(ShardFault::Missing)?;
                self.open_shard(id, pool, entry, shard)
            },
            Ok,
        );
        let fault = match opened {
            Ok(open) if *open.file.geometry() == at.geometry => return Some(open),
            Ok(_) => ShardFault::Damaged("belongs to another writing of the container"),
            Err(fault) => fault,
        };
        self.note(id, shard, &fault);
        None
    }

    /// Opens a shard at the first of its places where it can be opened.
    fn open_shard(&self, id: ContainerId, pool: &Pool, entry: &Entry, shard: u8) -> Result<Arc<OpenShard>, ShardFault> {
        let mut fault = ShardFault::Missing;
        for (_, device_id) in entry.places.iter().filter(|(number, _)| *number == shard) {
            let Some(device) = pool.online(*device_id) else {
                continue;
            };
            let opened = ShardFile::open(&name::path(device.path(), id, shard), id, shard, &pool.erasure);
            match opened {
                Ok(file) => {
                    device.note_success();
                    let open = Arc::new(OpenShard { file, device: Arc::clone(device) });
                    self.cache.put_file(id, shard, Arc::clone(&open));
                    return Ok(open);
                }
                Err(ShardFault::Missing) => device.note_not_found(),
                Err(ShardFault::Io(source)) => {
                    device.note_error(&source, self.options.device_errors_max);
                    fault = ShardFault::Io(source);
                }
                Err(damaged @ ShardFault::Damaged(_)) => fault = damaged,
            }
        }
        Err(fault)
    }

    /// Counts what is wrong with an open shard and closes it.
    pub(super) fn note_open(&self, id: ContainerId, open: &OpenShard, fault: &ShardFault) {
        self.cache.forget_file(id, open.file.shard());
        if let ShardFault::Io(source) = fault {
            open.device.note_error(source, self.options.device_errors_max);
        }
        self.note(id, open.file.shard(), fault);
    }

    /// Counts what is wrong with a shard.
    fn note(&self, id: ContainerId, shard: u8, fault: &ShardFault) {
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
fn readable_blocks(open: &OpenShard, table: &Table, first: u64, span: &mut [u8]) -> Vec<u64> {
    let blocks = (first..).zip(span.chunks_mut(usize::try_from(BLOCK_BYTES).expect("64 KiB")));
    let bad = blocks.filter_map(|(block, bytes)| {
        let read = open.file.read_region(bytes, block * BLOCK_BYTES).is_ok();
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

/// Returns the first block of a piece and a buffer for all its blocks.
fn span_of(piece: &Piece) -> (u64, Vec<u8>) {
    let first = piece.offset / BLOCK_BYTES;
    let blocks = (piece.offset + piece.bytes).div_ceil(BLOCK_BYTES) - first;
    (first, vec![0; usize::try_from(blocks * BLOCK_BYTES).expect("pieces are at most 1 MiB")])
}

/// Returns the piece's own bytes of its blocks.
fn cut<'a>(span: &'a [u8], piece: &Piece) -> Option<&'a [u8]> {
    let start = usize::try_from(piece.offset % BLOCK_BYTES).ok()?;
    span.get(start..)?.get(..usize::try_from(piece.bytes).ok()?)
}
