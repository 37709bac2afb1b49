//! Where the frames of Pixel Data are: by arithmetic in native data, by fragments in encapsulated data (PS3.5 §A.4).

mod fragments;
mod table;

pub use fragments::fragment_table;
pub use table::{Fragment, FragmentTable};

use std::ops::Range;

use dicom_core::header::Tag;

use super::Attributes;

const SAMPLES_PER_PIXEL: Tag = Tag(0x0028, 0x0002);
const PHOTOMETRIC_INTERPRETATION: Tag = Tag(0x0028, 0x0004);
const NUMBER_OF_FRAMES: Tag = Tag(0x0028, 0x0008);
const ROWS: Tag = Tag(0x0028, 0x0010);
const COLUMNS: Tag = Tag(0x0028, 0x0011);
const BITS_ALLOCATED: Tag = Tag(0x0028, 0x0100);

/// All that says how frames lie, Extended Offset Table (7FE0,0001) included.
pub(super) const FRAME_ATTRIBUTES: [Tag; 7] = [
    SAMPLES_PER_PIXEL,
    PHOTOMETRIC_INTERPRETATION,
    NUMBER_OF_FRAMES,
    ROWS,
    COLUMNS,
    BITS_ALLOCATED,
    fragments::EXTENDED_OFFSET_TABLE,
];

/// Where a native frame is in its Pixel Data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeFrame {
    /// Bytes that have all of the frame, counted from the first byte of the value.
    pub bytes: Range<u64>,
    /// Bit of the first byte at which the frame begins, bit 0 the lowest: 0 unless pixels are single bits.
    pub shift: u8,
    /// Bits of the frame.
    pub bits: u64,
}

/// Returns Number of Frames (0028,0008), 1 where it is absent or no number.
pub fn frame_count(attributes: &Attributes) -> u32 {
    let frames = attributes.integer(NUMBER_OF_FRAMES).and_then(|n| u32::try_from(n).ok());
    frames.filter(|n| *n > 0).unwrap_or(1)
}

/// Returns where a native frame is, counted from zero, in Pixel Data of `pixel_bytes` bytes; `None` if it
/// is not there.
pub fn native_frame_range(attributes: &Attributes, pixel_bytes: u64, frame: u32) -> Option<NativeFrame> {
    let frames = frame_count(attributes);
    if frame >= frames {
        return None;
    }
    let bits = frame_bits(attributes, pixel_bytes, frames).filter(|bits| *bits > 0)?;
    let start = bits.checked_mul(u64::from(frame))?;
    let end = start.checked_add(bits)?.div_ceil(8);
    let shift = u8::try_from(start % 8).ok()?;
    (end <= pixel_bytes).then_some(NativeFrame { bytes: start / 8..end, shift, bits })
}

/// Moves a frame of single bits to begin at bit 0, and clears the bits after its end. Other frames stay
/// as they are.
pub fn align_frame(frame: &NativeFrame, bytes: &mut Vec<u8>) {
    if frame.shift > 0 {
        let mut above = bytes.iter().skip(1).copied().chain([0]).collect::<Vec<_>>().into_iter();
        for byte in bytes.iter_mut() {
            let next = u16::from(above.next().unwrap_or(0));
            let pair = (next << 8 | u16::from(*byte)) >> frame.shift;
            *byte = pair.to_le_bytes()[0];
        }
    }
    let len = usize::try_from(frame.bits.div_ceil(8)).unwrap_or(usize::MAX);
    bytes.truncate(len);
    let used = frame.bits % 8;
    if let Some(last) = bytes.last_mut().filter(|_| used > 0) {
        *last &= (1_u8 << used) - 1;
    }
}

/// Bits of one native frame; `None` if an attribute that says so is absent.
fn frame_bits(attributes: &Attributes, pixel_bytes: u64, frames: u32) -> Option<u64> {
    let number = |tag| attributes.integer(tag).and_then(|n| u64::try_from(n).ok());
    let samples = number(SAMPLES_PER_PIXEL).unwrap_or(1);
    let pixels = number(ROWS)?.checked_mul(number(COLUMNS)?)?;
    let sample_bits = pixels.checked_mul(number(BITS_ALLOCATED)?)?;
    let full = sample_bits.checked_mul(samples)?;
    let halved =
        attributes.text(PHOTOMETRIC_INTERPRETATION).is_some_and(|p| p == "YBR_FULL_422" || p == "YBR_PARTIAL_422");
    // Two chrominance samples for two pixels (PS3.3 §C.7.6.3.1.2); some devices write all and say 422.
    let all_written = full.checked_mul(u64::from(frames))?.div_ceil(8) <= pixel_bytes;
    if halved && samples == 3 && !all_written { sample_bits.checked_mul(2) } else { Some(full) }
}
