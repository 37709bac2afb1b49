//! Buffers for short reads, used again and again: a new one has to be zeroed, and one that was sent
//! a moment ago is still in the processor's cache. They are aligned, so a device can fill them
//! beside the page cache.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::direct::Aligned;

/// Lengths of the buffers that are kept: slices of CT and MR with their headers, in whole pages,
/// and the pieces in which longer instances are read.
const KEPT_BYTES: [usize; 4] = [72 << 10, 136 << 10, 264 << 10, 544 << 10];
/// Longest buffer that is not kept: zeroing it costs little.
const SHORT_BYTES_MAX: usize = 32 << 10;
/// Most unused buffers of each length: 16 MiB together.
const UNUSED_MAX: usize = 16;

/// The unused buffers, by the index of their length.
#[derive(Debug, Default)]
pub struct Buffers {
    unused: [Mutex<Vec<Aligned>>; KEPT_BYTES.len()],
}

/// A buffer in use. It may still hold an earlier read: fill all of it.
#[derive(Debug)]
pub struct Buffer {
    bytes: Aligned,
    len: usize,
    /// The shelf to which it returns when it is dropped.
    home: Option<(Arc<Buffers>, usize)>,
}

impl Buffers {
    /// Returns a buffer of this length, which may hold anything.
    pub fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let class = KEPT_BYTES.iter().position(|kept| len <= *kept).filter(|_| len > SHORT_BYTES_MAX);
        let kept = class.and_then(|class| Some((class, KEPT_BYTES.get(class)?, self.unused.get(class)?)));
        let Some((class, bytes, unused)) = kept else {
            return Buffer { bytes: Aligned::zeroed(len), len, home: None };
        };
        let used = unused.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: used.unwrap_or_else(|| Aligned::zeroed(*bytes)), len, home: Some((Arc::clone(self), class)) }
    }
}

impl Buffer {
    /// Returns the bytes to fill.
    pub fn space(&mut self) -> &mut [u8] {
        self.bytes.first_mut(self.len)
    }

    /// Returns the bytes; the buffer can be used again when the last clone of them is dropped.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_slice().get(..self.len).expect("a buffer is as long as it was asked for")
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some((home, class)) = self.home.take() else { return };
        let Some(unused) = home.unused.get(class) else { return };
        let mut unused = unused.lock().unwrap_or_else(PoisonError::into_inner);
        if unused.len() < UNUSED_MAX {
            unused.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_only_its_part_is_seen() {
        let buffers = Arc::new(Buffers::default());
        let mut first = buffers.take(61_000);
        first.space().fill(7);
        let place = first.space().as_ptr();
        let bytes = first.into_bytes();
        let (kept, whole) = (bytes.slice(5..10), bytes.len());
        drop(bytes);
        assert_eq!(whole, 61_000);
        assert_ne!(buffers.take(61_000).space().as_ptr(), place, "a part of it is still in use");
        drop(kept);
        let mut second = buffers.take(40_000);
        assert_eq!((second.space().as_ptr(), second.as_ref().len()), (place, 40_000));
    }

    #[test]
    fn any_length_can_be_taken_and_few_are_kept() {
        let buffers = Arc::new(Buffers::default());
        for len in [0, 1, 32 << 10, (32 << 10) + 1, 72 << 10, (72 << 10) + 1, 544 << 10, (544 << 10) + 1] {
            let mut buffer = buffers.take(len);
            assert_eq!(buffer.space().len(), len);
            assert_eq!(buffer.into_bytes().len(), len);
        }
        let many: Vec<Buffer> = (0..UNUSED_MAX + 3).map(|_| buffers.take(100 << 10)).collect();
        drop(many);
        let kept: Vec<usize> = buffers.unused.iter().map(|unused| unused.lock().unwrap().len()).collect();
        assert_eq!(kept, [1, UNUSED_MAX, 0, 1]);
    }
}
