//! A number of bytes that all clients together may hold.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of bytes that all clients together may hold, counted in KiB. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    left_kib: Arc<Semaphore>,
}

/// The right to hold some bytes of a [`Budget`]; they return to it when this is dropped.
#[derive(Debug)]
pub struct Permit {
    _kib: OwnedSemaphorePermit,
}

/// Bytes with the permit to hold them.
struct Kept {
    bytes: Bytes,
    _permit: Permit,
}

impl Budget {
    /// Returns a budget of this many KiB.
    pub fn of_kib(kib: u32) -> Self {
        let permits = usize::try_from(kib).unwrap_or(Semaphore::MAX_PERMITS);
        Self { left_kib: Arc::new(Semaphore::new(permits)) }
    }

    /// Returns a permit for this many bytes if the budget has them now.
    pub fn try_permit(&self, bytes: u64) -> Option<Permit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        Arc::clone(&self.left_kib).try_acquire_many_owned(kib).ok().map(|kib| Permit { _kib: kib })
    }

    /// Waits for a permit for this many KiB, which must not be more than the whole budget. Callers are served in order.
    pub async fn permit_kib(&self, kib: u32) -> Permit {
        let acquired = Arc::clone(&self.left_kib).acquire_many_owned(kib).await;
        Permit { _kib: acquired.expect("the semaphore is never closed") }
    }
}

impl Permit {
    /// Binds the permit to the bytes: it returns to the budget when the last of them is dropped.
    pub fn keep(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Kept { bytes, _permit: self })
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
    fn a_permit_is_taken_as_long_as_a_part_of_the_bytes_lives() {
        let budget = Budget::of_kib(64 << 10);
        let all = 64 << 20;
        let whole = budget.try_permit(all).unwrap().keep(Bytes::from_static(b"abc"));
        let part = whole.slice(1..2);
        drop(whole);
        assert!(budget.try_permit(1).is_none());
        drop(part);
        assert!(budget.try_permit(all + 1).is_none());
        assert!(budget.try_permit(all).is_some());
    }
}
