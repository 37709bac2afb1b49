//! How much memory answers take that clients have not read yet.
//!
//! Reading ahead and long pieces make answers fast, but what was read stays until the client took it, and a thousand clients
//! that take it slowly would each keep some MiB. So both cost room here, for as long as their bytes live; who
//! finds none goes on in short pieces and opens one instance at a time. Nobody waits: the slow would keep out the fast.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of all answers together that are more than each may have anyway, in KiB.
const ALL_KIB: u32 = 64 << 10;

/// The room that is left.
#[derive(Debug)]
pub(crate) struct Held(Arc<Semaphore>);

/// Room for some bytes.
#[derive(Debug)]
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
}

/// Bytes with their room.
struct Kept {
    bytes: Bytes,
    _room: Room,
}

impl Held {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(usize::try_from(ALL_KIB).unwrap_or(Semaphore::MAX_PERMITS))))
    }

    /// Returns room for so many bytes if there is some.
    pub(crate) fn room(&self, bytes: u64) -> Option<Room> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(kib).ok().map(|permit| Room { _permit: permit })
    }
}

impl Room {
    /// Binds the room to the bytes: it is free again when the last of them are let go.
    pub(crate) fn keep(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Kept { bytes, _room: self })
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_as_long_as_a_part_of_the_bytes_lives() {
        let held = Held::new();
        let all = u64::from(ALL_KIB) << 10;
        let whole = held.room(all).unwrap().keep(Bytes::from_static(b"abc"));
        let part = whole.slice(1..2);
        drop(whole);
        assert!(held.room(1).is_none());
        drop(part);
        assert!(held.room(all + 1).is_none());
        assert!(held.room(all).is_some());
    }
}
