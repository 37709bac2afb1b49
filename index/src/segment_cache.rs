//! Decoded segments that were read before.

use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use crate::segment::Segment;

/// Most bytes of decoded manifests that are kept, as far as they can be estimated.
const CACHE_BYTES_MAX: usize = 128 << 20;
/// Decoded segments by row and number of dead instances, which grows with every change.
#[derive(Debug)]
pub(crate) struct SegmentCache {
    cached: Mutex<Cached>,
}

#[derive(Debug)]
struct Cached {
    segments: LruCache<(i64, i32), Arc<Segment>>,
    bytes: usize,
}

impl Default for SegmentCache {
    fn default() -> Self {
        Self { cached: Mutex::new(Cached { segments: LruCache::unbounded(), bytes: 0 }) }
    }
}

impl SegmentCache {
    pub(crate) fn clear(&self) {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.segments.clear();
        cached.bytes = 0;
    }

    pub(crate) fn get(&self, key: (i64, i32)) -> Option<Arc<Segment>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).segments.get(&key).cloned()
    }

    pub(crate) fn put(&self, key: (i64, i32), segment: &Arc<Segment>) {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.bytes += segment.memory_bytes();
        if let Some(old) = cached.segments.put(key, Arc::clone(segment)) {
            cached.bytes -= old.memory_bytes();
        }
        while cached.bytes > CACHE_BYTES_MAX {
            let Some((_, old)) = cached.segments.pop_lru() else {
                return;
            };
            cached.bytes -= old.memory_bytes();
        }
    }
}
