//! How the logical bytes of a container lie in the unit regions of its data shards.
//!
//! Units of one size go row by row over the data shards, so for a logical offset o and unit size u
//!
//! | what | value |
//! |---|---|
//! | unit number | n = o / u |
//! | shard | n mod k |
//! | offset in the shard's unit region | (n / k) · u + o mod u |
//!
//! That holds for the full rows, F = L / ku · ku of L logical bytes. What is left, R = L mod ku, makes a last row of shorter
//! units, v = roundup(R / k, 64 KiB), so that no shard is padded by more than it must be: for o from F on
//!
//! | what | value |
//! |---|---|
//! | shard | (o - F) / v |
//! | offset in the shard's unit region | F / k + (o - F) mod v |
//!
//! So all unit regions of a container have one length, F / k + v. Bytes beyond L are zero. The first writers took v =
//! roundup(min(R, u), 64 KiB) for the region and left the units of the last row whole; readers take v from the region's length.

use std::ops::Range;

use crate::CodeProfile;
use crate::shard::BLOCK_BYTES;

/// Longest run that one piece covers; bounds the buffer of a verified read.
pub(crate) const PIECE_BYTES_MAX: u64 = 1 << 20;
/// Runs up to this length are not cut by a unit boundary, but for those that the shorter units of the last row cut, less than
/// k in a container: one device read for each slice, at 0.7 % padding for slices of 60 KB.
pub(crate) const WHOLE_BYTES_MAX: u64 = 512 * 1024;
/// Largest unit that a reader accepts.
pub(crate) const UNIT_BYTES_LIMIT: u32 = 64 << 20;

const _: () = assert!(PIECE_BYTES_MAX.is_multiple_of(BLOCK_BYTES) && PIECE_BYTES_MAX >= WHOLE_BYTES_MAX);

/// Striping of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    data_shards: u64,
    unit_bytes: u64,
    /// Logical bytes in full rows; without end while the container is written.
    full_bytes: u64,
    /// Size of a unit in the last row.
    last_unit_bytes: u64,
}

/// A run of bytes in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Number of the data shard.
    pub(crate) shard: u8,
    /// Offset in the shard's unit region.
    pub(crate) offset: u64,
    /// Length, at least 1 and at most [`PIECE_BYTES_MAX`].
    pub(crate) bytes: u64,
}

impl Layout {
    /// Returns the striping of so many logical bytes in units of this size, a multiple of the block and not 0, when every
    /// shard's unit region has this length: that says how long the units of the last row are.
    pub(crate) fn of(code: CodeProfile, unit_bytes: u32, logical_bytes: u64, region_bytes: u64) -> Self {
        let endless = Self::endless(code, unit_bytes);
        let full_bytes = logical_bytes - logical_bytes % endless.row_bytes();
        let last_unit_bytes = region_bytes.saturating_sub(full_bytes / endless.data_shards);
        Self { full_bytes, last_unit_bytes, ..endless }
    }

    /// Tells whether the unit regions of so many logical bytes can have this length.
    pub(crate) fn can_have(&self, logical_bytes: u64, region_bytes: u64) -> bool {
        let rest = logical_bytes % self.row_bytes();
        // The first writers did not shorten the units of the last row, but cut all shards to what the first one holds.
        let uncut = logical_bytes / self.row_bytes() * self.unit_bytes
            + rest.min(self.unit_bytes).next_multiple_of(BLOCK_BYTES);
        region_bytes == self.region_bytes(logical_bytes) || region_bytes == uncut
    }

    /// Returns the striping for units of this size while the length of the container is not known.
    fn endless(code: CodeProfile, unit_bytes: u32) -> Self {
        let (data_shards, unit_bytes) = (u64::from(code.data_shards), u64::from(unit_bytes));
        let layout = Self { data_shards, unit_bytes, full_bytes: u64::MAX, last_unit_bytes: unit_bytes };
        assert!(layout.data_shards > 0 && layout.unit_bytes > 0, "profiles and headers are checked before");
        assert!(layout.unit_bytes.is_multiple_of(BLOCK_BYTES), "units hold whole blocks");
        layout
    }

    /// Returns the striping of a new container.
    ///
    /// A small container gets smaller units, so that it fills one row. One sixteenth is added for the padding that
    /// keeps instances inside units; without it the padding alone would open a second row.
    pub(crate) fn plan(code: CodeProfile, planned_bytes: u64, unit_bytes_max: u32) -> Self {
        let k = u64::from(code.data_shards);
        let padded = if k == 1 { planned_bytes } else { planned_bytes.saturating_add(planned_bytes / 16) };
        let unit = padded.div_ceil(k).clamp(1, u64::from(unit_bytes_max)).next_multiple_of(BLOCK_BYTES);
        let unit = u32::try_from(unit).expect("clamped to a u32 that is a multiple of the block");
        Self::endless(code, unit)
    }

    /// Returns the size of a unit.
    pub(crate) fn unit_bytes(&self) -> u64 {
        self.unit_bytes
    }

    /// Returns the logical bytes of a full row.
    pub(crate) fn row_bytes(&self) -> u64 {
        self.unit_bytes * self.data_shards
    }

    /// Returns the number of the data shard that a logical offset lies in.
    pub(crate) fn shard_at(&self, offset: u64) -> u8 {
        let shard = if offset < self.full_bytes {
            offset / self.unit_bytes % self.data_shards
        } else {
            (offset - self.full_bytes) / self.last_unit_bytes
        };
        u8::try_from(shard).expect("less than k, which is a u8")
    }

    /// Returns the size of a unit in a last row of so many bytes.
    pub(crate) fn last_unit_bytes(&self, rest: u64) -> u64 {
        rest.div_ceil(self.data_shards).next_multiple_of(BLOCK_BYTES)
    }

    /// Returns the length of every shard's unit region.
    pub(crate) fn region_bytes(&self, logical_bytes: u64) -> u64 {
        let full_rows = logical_bytes / self.row_bytes();
        full_rows * self.unit_bytes + self.last_unit_bytes(logical_bytes % self.row_bytes())
    }

    /// Returns the bytes to skip at `offset` so that a run of this length is not cut by a unit boundary.
    pub(crate) fn padding(&self, offset: u64, bytes: u64) -> u64 {
        let room = self.unit_bytes - offset % self.unit_bytes;
        let whole = self.data_shards > 1 && bytes <= WHOLE_BYTES_MAX.min(self.unit_bytes);
        if whole && bytes > room { room } else { 0 }
    }

    /// Returns the pieces of a logical range in order.
    pub(crate) fn pieces(self, range: Range<u64>) -> impl Iterator<Item = Piece> {
        let mut at = range.start;
        std::iter::from_fn(move || {
            (at < range.end).then_some(())?;
            let (base, in_unit, unit_bytes) = if at < self.full_bytes {
                (at / self.row_bytes() * self.unit_bytes, at % self.unit_bytes, self.unit_bytes)
            } else {
                let rest = at - self.full_bytes;
                (self.full_bytes / self.data_shards, rest % self.last_unit_bytes, self.last_unit_bytes)
            };
            let bytes = (unit_bytes - in_unit).min(PIECE_BYTES_MAX).min(range.end - at);
            let piece = Piece { shard: self.shard_at(at), offset: base + in_unit, bytes };
            at += bytes;
            Some(piece)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn layout(k: u8, unit: u32) -> Layout {
        Layout::endless(CodeProfile::new(k, 2).unwrap(), unit)
    }

    fn of(k: u8, unit: u32, logical_bytes: u64) -> Layout {
        let region_bytes = layout(k, unit).region_bytes(logical_bytes);
        Layout::of(CodeProfile::new(k, 2).unwrap(), unit, logical_bytes, region_bytes)
    }

    fn check(layout: Layout, range: Range<u64>, want: &Expect) {
        let mut text = String::new();
        for piece in layout.pieces(range) {
            writeln!(text, "shard {} {}..{}", piece.shard, piece.offset, piece.offset + piece.bytes).unwrap();
        }
        want.assert_eq(&text);
    }

    #[test]
    fn a_range_crossing_into_the_next_shard() {
        check(
            layout(4, 65_536),
            65_530..65_546,
            &expect![[r"
            shard 0 65530..65536
            shard 1 0..10
        "]],
        );
    }

    #[test]
    fn a_range_crossing_into_the_next_row() {
        check(
            layout(2, 65_536),
            131_070..131_080,
            &expect![[r"
            shard 1 65534..65536
            shard 0 65536..65544
        "]],
        );
    }

    #[test]
    fn long_pieces_are_cut() {
        check(
            layout(2, 4 << 20),
            100..(1 << 20) + 200,
            &expect![[r"
            shard 0 100..1048676
            shard 0 1048676..1048776
        "]],
        );
    }

    #[test]
    fn the_last_row_has_shorter_units() {
        check(
            of(2, 1 << 20, (2 << 20) + 200_000),
            (2 << 20) - 5..(2 << 20) + 200_000,
            &expect![[r"
            shard 1 1048571..1048576
            shard 0 1048576..1179648
            shard 1 1048576..1117504
        "]],
        );
    }

    #[test]
    fn a_last_row_of_whole_units_is_read_as_it_was_written() {
        let logical_bytes = (2 << 20) + 200_000;
        let region_bytes = (1 << 20) + (200_000_u64).next_multiple_of(BLOCK_BYTES);
        assert!(layout(2, 1 << 20).can_have(logical_bytes, region_bytes));
        assert!(!layout(2, 1 << 20).can_have(logical_bytes, region_bytes + BLOCK_BYTES));
        check(
            Layout::of(CodeProfile::new(2, 2).unwrap(), 1 << 20, logical_bytes, region_bytes),
            (2 << 20) - 5..logical_bytes,
            &expect![[r"
            shard 1 1048571..1048576
            shard 0 1048576..1248576
        "]],
        );
        let rest = (1 << 20) + 7;
        assert!(layout(2, 1 << 20).can_have(rest, 1 << 20));
        check(
            Layout::of(CodeProfile::new(2, 2).unwrap(), 1 << 20, rest, 1 << 20),
            (1 << 20) - 5..rest,
            &expect![[r"
            shard 0 1048571..1048576
            shard 1 0..7
        "]],
        );
    }

    #[test]
    fn an_empty_range_has_no_piece() {
        check(layout(2, 65_536), 7..7, &expect![[""]]);
        check(of(2, 65_536, 0), 0..0, &expect![[""]]);
    }

    #[test]
    fn small_containers_get_small_units() {
        let code = CodeProfile::new(4, 2).unwrap();
        let unit = |planned| Layout::plan(code, planned, 4 << 20).unit_bytes();
        assert_eq!(unit(0), 65_536);
        assert_eq!(unit(1_000_000), 5 * 65_536);
        assert_eq!(unit(1 << 30), 4 << 20);
        assert_eq!(unit(u64::MAX), 4 << 20);
    }

    #[test]
    fn last_rows_are_as_short_as_blocks_allow() {
        let layout = layout(4, 1 << 20);
        assert_eq!(layout.region_bytes(0), 0);
        assert_eq!(layout.region_bytes(1), 65_536);
        assert_eq!(layout.region_bytes(2 << 20), 512 << 10);
        assert_eq!(layout.region_bytes((4 << 20) + 4 * 65_536 + 1), (1 << 20) + 131_072);
        assert_eq!(layout.region_bytes((8 << 20) - 1), 2 << 20);
        assert_eq!(layout.region_bytes(8 << 20), 2 << 20);
    }

    proptest! {
        #[test]
        fn every_byte_has_one_place_inside_the_region(k in 1_u8..7, blocks in 1_u32..40, logical in 1_u64..5_000_000, at in 0_u64..5_000_000, len in 1_u64..2_000_000) {
            let layout = of(k, blocks * 65_536, logical);
            let start = at % logical;
            let end = (start + len).min(logical);
            let mut next = start;
            for piece in layout.pieces(start..end) {
                prop_assert_eq!(piece.shard, layout.shard_at(next));
                let row = piece.offset / layout.unit_bytes();
                let unit_bytes = if row * layout.row_bytes() < layout.full_bytes { layout.unit_bytes() } else { layout.last_unit_bytes };
                let in_row = u64::from(piece.shard) * unit_bytes + piece.offset % layout.unit_bytes();
                prop_assert_eq!(row * layout.row_bytes() + in_row, next);
                prop_assert!(piece.offset % layout.unit_bytes() + piece.bytes <= unit_bytes);
                prop_assert!(piece.bytes <= PIECE_BYTES_MAX && piece.offset + piece.bytes <= layout.region_bytes(logical));
                next += piece.bytes;
            }
            prop_assert_eq!(next, end);
        }

        #[test]
        fn padded_runs_are_never_cut(k in 2_u8..7, blocks in 8_u32..64, at in 0_u64..50_000_000, len in 1_u64..=WHOLE_BYTES_MAX) {
            let layout = layout(k, blocks * 65_536);
            let start = at + layout.padding(at, len);
            prop_assert_eq!(layout.pieces(start..start + len).count(), 1);
        }
    }
}
