//! The fragments of each frame, and their compact form.
//!
//! | field | form |
//! |---|---|
//! | version | byte, 1 |
//! | fragments, frames | numbers |
//! | first fragment's offset | number |
//! | every fragment | number: gap to the one before, less 8; number: length |
//! | every frame, unless there are as many as fragments | number: its fragments |
//!
//! Numbers are LEB128: seven bits a byte, the lowest first, the highest bit set in all but the last.

use std::ops::Range;

/// Bytes of an item's header, which is between two fragments.
const ITEM_HEADER_BYTES: u64 = 8;
const VERSION: u8 = 1;
/// Most fragments of one instance: some 40 hours of video frames.
pub(super) const FRAGMENTS_MAX: usize = 1 << 22;

/// A fragment's value within the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// First byte, counted from the first byte of the data set.
    pub offset: u64,
    /// Length.
    pub bytes: u64,
}

/// Which fragments each frame has, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FragmentTable {
    fragments: Vec<Fragment>,
    /// Ranges of `fragments`, a frame each.
    frames: Vec<Range<usize>>,
}

impl FragmentTable {
    pub(super) fn new(fragments: Vec<Fragment>, frames: Vec<Range<usize>>) -> Self {
        Self { fragments, frames }
    }

    /// Returns how many frames have fragments.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Returns the fragments of a frame, counted from zero; `None` if it is not there.
    pub fn frame(&self, frame: usize) -> Option<&[Fragment]> {
        self.fragments.get(self.frames.get(frame)?.clone())
    }

    /// Returns the fragments of all frames: the stream of a video.
    pub fn all(&self) -> &[Fragment] {
        &self.fragments
    }

    /// Returns the compact form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put(&mut out, wide(self.fragments.len()));
        put(&mut out, wide(self.frames.len()));
        let mut end = 0;
        for fragment in &self.fragments {
            let gap = if end == 0 { 0 } else { ITEM_HEADER_BYTES };
            put(&mut out, fragment.offset.saturating_sub(end).saturating_sub(gap));
            put(&mut out, fragment.bytes);
            end = fragment.offset.saturating_add(fragment.bytes);
        }
        if self.frames.len() != self.fragments.len() {
            for frame in &self.frames {
                put(&mut out, wide(frame.len()));
            }
        }
        out
    }

    /// Reads the compact form; `None` if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, mut rest) = bytes.split_first()?;
        let fragment_count = count(&mut rest)?;
        let frame_count = count(&mut rest)?;
        // Two bytes a fragment at least: what the lengths promise must be there before it is allocated.
        if version != VERSION || fragment_count > rest.len() || frame_count > fragment_count {
            return None;
        }
        let mut fragments = Vec::with_capacity(fragment_count);
        let mut end = 0_u64;
        for _ in 0..fragment_count {
            let gap = if end == 0 { 0 } else { ITEM_HEADER_BYTES };
            let offset = end.checked_add(gap)?.checked_add(take(&mut rest)?)?;
            let bytes = take(&mut rest)?;
            end = offset.checked_add(bytes)?;
            fragments.push(Fragment { offset, bytes });
        }
        let mut frames = Vec::with_capacity(frame_count);
        let mut first = 0_usize;
        for _ in 0..frame_count {
            let len = if frame_count == fragment_count { 1 } else { count(&mut rest)? };
            let next = first.checked_add(len).filter(|next| *next <= fragment_count)?;
            frames.push(first..next);
            first = next;
        }
        rest.is_empty().then_some(Self { fragments, frames })
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).expect("a count is below 2^64")
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = (value & 0x7F).to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7F);
        if bits.checked_shl(shift)? >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn count(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(take(rest)?).ok().filter(|count| *count <= FRAGMENTS_MAX)
}
