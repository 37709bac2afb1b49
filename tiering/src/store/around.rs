//! Reading around shards that are gone, when the caller knows the checksum of what it wants: exactly the range, decoded from
//! the same range of other shards. Block checksums need not be asked: the caller's covers all that was decoded from.

use std::ops::Range;

use super::Inner;
use super::cache::Located;
use crate::layout::Piece;

impl Inner {
    /// Reads a range, pieces of shards that cannot be opened or read decoded from others, and tells whether there were
    /// such; unverified. Blocks.
    pub(super) fn read_around(&self, at: &Located, range: &Range<u64>, bytes: usize) -> Option<(Vec<u8>, bool)> {
        let mut out = vec![0; bytes];
        let mut rest = out.as_mut_slice();
        let mut degraded = false;
        for piece in at.geometry.layout().pieces(range.clone()) {
            let (head, tail) = rest.split_at_mut_checked(usize::try_from(piece.bytes).ok()?)?;
            if !self.fill(at, piece.shard, piece.offset, head) {
                degraded = true;
                head.copy_from_slice(&self.decode_piece(at, &piece)?);
            }
            rest = tail;
        }
        Some((out, degraded))
    }

    /// Reads from one shard; what keeps it from being read is counted.
    fn fill(&self, at: &Located, shard: u8, offset: u64, out: &mut [u8]) -> bool {
        let Some(open) = self.shard(at, shard) else { return false };
        let read = open.file.read_region(out, offset);
        if let Err(fault) = &read {
            self.note_open(at.geometry.container, &open, fault);
        }
        read.is_ok()
    }

    /// Restores a piece of a data shard from the same bytes of k others.
    fn decode_piece(&self, at: &Located, piece: &Piece) -> Option<Vec<u8>> {
        let code = at.geometry.code;
        let mut present = 0;
        let mut parts = Vec::with_capacity(usize::from(code.shards()));
        for shard in 0..code.shards() {
            let mut part = Vec::new();
            let wanted = shard != piece.shard && present < code.data_shards;
            let read = wanted && {
                part.resize(usize::try_from(piece.bytes).ok()?, 0);
                self.fill(at, shard, piece.offset, &mut part)
            };
            present += u8::from(read);
            parts.push(read.then_some(part));
        }
        let erasure = &self.pools.get(at.pool)?.erasure;
        if present < code.data_shards { None } else { erasure.decode(parts, piece.shard) }
    }
}
