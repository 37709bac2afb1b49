//! Runs of bytes of one shard, as they are asked for and as they come.

use std::ops::Range;

use crate::layout::Piece;
use crate::shard::BLOCK_BYTES;

/// A run of bytes in the unit region of a shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region {
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    /// Whether it is whole blocks, each checked by the shard's table; else the caller has a checksum for what comes of it.
    pub(crate) by_block: bool,
}

/// What a shard has of a region.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) bytes: Vec<u8>,
    /// Numbers, in the region, of the blocks that cannot be used.
    pub(crate) bad: Vec<usize>,
}

impl Region {
    /// Returns the number of blocks that can be good or bad each.
    pub(crate) fn blocks(&self) -> usize {
        if self.by_block { self.bytes.div_ceil(block_bytes()) } else { 1 }
    }

    pub(crate) fn range(&self, block: usize) -> Range<usize> {
        if self.by_block {
            let start = block.saturating_mul(block_bytes());
            start..start.saturating_add(block_bytes()).min(self.bytes)
        } else {
            0..self.bytes
        }
    }
}

impl Part {
    pub(crate) fn is_good(&self, block: usize) -> bool {
        !self.bad.contains(&block)
    }
}

/// Returns all blocks of a piece.
pub(crate) fn span_of(piece: &Piece) -> Region {
    let first = piece.offset / BLOCK_BYTES;
    let blocks = (piece.offset + piece.bytes).div_ceil(BLOCK_BYTES) - first;
    let bytes = usize::try_from(blocks * BLOCK_BYTES).expect("pieces are at most 1 MiB");
    Region { offset: first * BLOCK_BYTES, bytes, by_block: true }
}

/// Returns a piece as it is.
pub(crate) fn exactly(piece: &Piece) -> Region {
    let bytes = usize::try_from(piece.bytes).expect("pieces are at most 1 MiB");
    Region { offset: piece.offset, bytes, by_block: false }
}

/// Returns the piece's own bytes of its blocks.
pub(crate) fn cut<'a>(span: &'a [u8], piece: &Piece) -> Option<&'a [u8]> {
    let start = usize::try_from(piece.offset % BLOCK_BYTES).ok()?;
    span.get(start..)?.get(..usize::try_from(piece.bytes).ok()?)
}

fn block_bytes() -> usize {
    usize::try_from(BLOCK_BYTES).expect("64 KiB")
}
