//! The attributes that lay out native frames, decoded once: instances of a series have the same, and are asked for one by
//! one.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lru::LruCache;

use dicom_data::Attributes;

/// Texts that are remembered, about one for each series and device that is looked at.
const LAYOUTS_MAX: NonZeroUsize = NonZeroUsize::new(1_024).expect("it is not zero");
/// Longest text that is remembered; they have some 500 bytes.
const LAYOUT_BYTES_MAX: usize = 4 << 10;

/// Decoded attributes by their text, which alone decides on them: nothing here is ever out of date.
#[derive(Debug)]
pub(crate) struct Layouts {
    known: Mutex<LruCache<Bytes, Arc<Attributes>>>,
}

impl Default for Layouts {
    fn default() -> Self {
        Self { known: Mutex::new(LruCache::new(LAYOUTS_MAX)) }
    }
}

impl Layouts {
    /// Returns the attributes of a manifest's detail; `None` when it is no DICOM JSON.
    pub(super) fn attributes(&self, detail: &[u8]) -> Option<Arc<Attributes>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(attributes) = known().get(detail) {
            return Some(Arc::clone(attributes));
        }
        let attributes = Arc::new(dicom_data::read_json(detail).ok()?);
        if detail.len() <= LAYOUT_BYTES_MAX {
            // A copy: the text itself is a part of a whole manifest.
            known().put(Bytes::copy_from_slice(detail), Arc::clone(&attributes));
        }
        Some(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_decoded_once_and_a_long_one_is_not_kept() {
        let layouts = Layouts::default();
        let text = r#"{"00280010":{"vr":"US","Value":[512]}}"#;
        let first = layouts.attributes(text.as_bytes()).unwrap();
        assert_eq!(*first, dicom_data::read_json(text.as_bytes()).unwrap());
        assert!(Arc::ptr_eq(&first, &layouts.attributes(text.as_bytes()).unwrap()));
        let long = format!("{text}{}", " ".repeat(LAYOUT_BYTES_MAX));
        let long = long.as_bytes();
        assert!(!Arc::ptr_eq(&layouts.attributes(long).unwrap(), &layouts.attributes(long).unwrap()));
        assert!(layouts.attributes(b"no JSON").is_none());
    }
}
