//! The units of the row being filled.

use disk::Aligned;

/// A unit, in memory that devices take bytes from as it is.
#[derive(Debug, Default)]
pub(super) struct Unit {
    room: Aligned,
    filled: usize,
}

impl Unit {
    /// Returns an empty unit with room for so many bytes.
    pub(super) fn with_room(bytes: usize) -> Self {
        Self { room: Aligned::zeroed(bytes), filled: 0 }
    }

    /// Appends bytes for which there must be room.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        let place = self.room.first_mut(end).get_mut(self.filled..).unwrap_or_default();
        place.copy_from_slice(bytes);
        self.filled = end;
    }

    /// Cuts it, or fills it up with zeros, to this length.
    pub(super) fn resize(&mut self, bytes: usize) {
        let added = self.room.first_mut(bytes).get_mut(self.filled..).unwrap_or_default();
        added.fill(0);
        self.filled = bytes;
    }

    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }
}

impl AsRef<[u8]> for Unit {
    fn as_ref(&self) -> &[u8] {
        self.room.as_slice().get(..self.filled).expect("a unit is filled within its room")
    }
}

impl AsMut<[u8]> for Unit {
    fn as_mut(&mut self) -> &mut [u8] {
        self.room.first_mut(self.filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_what_was_appended_and_zeros() {
        let mut unit = Unit::with_room(10_000);
        unit.extend(&[7; 5_000]);
        unit.extend(&[8; 5_000]);
        unit.clear();
        unit.extend(&[9; 3]);
        unit.resize(5);
        assert_eq!(unit.as_ref(), [9, 9, 9, 0, 0]);
        assert_eq!(unit.as_mut().len(), 5);
        unit.resize(2);
        assert_eq!(unit.as_ref(), [9, 9]);
        assert_eq!(unit.as_ref().as_ptr().align_offset(disk::ALIGN_BYTES), 0);
    }

    #[test]
    #[should_panic(expected = "source slice length")]
    fn what_has_no_room_is_not_left_out_in_silence() {
        Unit::with_room(4).extend(&[1; 5]);
    }
}
