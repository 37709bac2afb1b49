//! Finds the fragments of each frame (PS3.5 §A.4): by the Extended or the Basic Offset Table if they are right, by the
//! number of fragments, or by the markers that codestreams begin with.

use std::ops::Range;

use dicom_core::header::Tag;

use super::super::cursor::{Cursor, Erased};
use super::super::parse::PixelData;
use super::super::{Attributes, ReadError, Source, Value};
use super::frame_count;
use super::table::{FRAGMENTS_MAX, Fragment, FragmentTable};

/// Extended Offset Table (7FE0,0001).
pub(super) const EXTENDED_OFFSET_TABLE: Tag = Tag(0x7FE0, 0x0001);
const ITEM_HEADER_BYTES: u64 = 8;
const ITEM_TAG: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];
/// Read-ahead from fragment to fragment.
const WINDOW_BYTES: usize = 512;
/// Beginnings of codestreams and files: JPEG and JPEG-LS, JPEG 2000 and HTJ2K, JP2, JPEG XL bare and boxed.
const MARKERS: [&[u8]; 5] = [
    &[0xFF, 0xD8, 0xFF],
    &[0xFF, 0x4F, 0xFF, 0x51],
    &[0, 0, 0, 12, b'j', b'P'],
    &[0, 0, 0, 12, b'J', b'X', b'L'],
    &[0xFF, 0x0A],
];

/// Finds the fragments of every frame of encapsulated Pixel Data, reading headers and offset tables only.
///
/// `source` is the data set, which encapsulated transfer syntaxes do not deflate. Frames that were
/// cut off have no fragments. A video has fewer fragments than frames: use `FragmentTable::all`.
pub fn fragment_table<S: Source + ?Sized>(
    source: &S,
    pixel_data: &PixelData,
    attributes: &Attributes,
) -> Result<FragmentTable, ReadError> {
    if !pixel_data.encapsulated {
        return Err(ReadError::malformed(pixel_data.offset, "its Pixel Data is in no fragments"));
    }
    let erased = Erased(source);
    let mut cursor = Cursor::new(&erased);
    let (basic, fragments) = items(&mut cursor, pixel_data)?;
    let frames = usize::try_from(frame_count(attributes)).unwrap_or(usize::MAX);
    if frames == 1 {
        let all = 0..fragments.len();
        return Ok(FragmentTable::new(fragments, vec![all]));
    }
    let extended = extended_offsets(source, attributes)?;
    let by_table = extended
        .and_then(|offsets| starts_at(&fragments, &offsets, frames))
        .or_else(|| starts_at(&fragments, &basic, frames));
    let starts = match by_table {
        Some(starts) => starts,
        None if fragments.len() <= frames => (0..fragments.len()).collect(),
        None => by_markers(&mut cursor, &fragments, frames)?,
    };
    let frames = ranges(&starts, fragments.len());
    Ok(FragmentTable::new(fragments, frames))
}

/// Reads the Basic Offset Table and where the fragments are.
fn items(cursor: &mut Cursor<'_>, pixel_data: &PixelData) -> Result<(Vec<u64>, Vec<Fragment>), ReadError> {
    let end = pixel_data.offset.saturating_add(pixel_data.bytes);
    let mut at = pixel_data.offset;
    let mut table = None;
    let mut fragments = Vec::new();
    while let Some(bytes) = item_bytes(cursor, at)? {
        let offset = at.saturating_add(ITEM_HEADER_BYTES);
        let next = offset.saturating_add(bytes);
        if offset > end {
            break;
        }
        let fragment = Fragment { offset, bytes: next.min(end) - offset };
        if table.is_none() {
            table = Some(fragment);
        } else {
            fragments.push(fragment);
        }
        if fragments.len() > FRAGMENTS_MAX {
            return Err(ReadError::malformed(at, "there are too many fragments"));
        }
        at = next;
        if at >= end {
            break;
        }
    }
    let Some(table) = table else {
        return Err(ReadError::malformed(at, "there is no Basic Offset Table item"));
    };
    let len = usize::try_from(table.bytes).unwrap_or(usize::MAX).min(FRAGMENTS_MAX * 4);
    let (offsets, _) = cursor.at_least(table.offset, len, len)?.as_chunks::<4>();
    Ok((offsets.iter().map(|b| u32::from_le_bytes(*b).into()).collect(), fragments))
}

/// Returns the length of the item at an offset, `None` if there is no item.
fn item_bytes(cursor: &mut Cursor<'_>, offset: u64) -> Result<Option<u64>, ReadError> {
    let bytes = cursor.at_least(offset, 8, WINDOW_BYTES)?;
    let length =
        bytes.strip_prefix(&ITEM_TAG).and_then(|length| length.first_chunk()).map(|length| u32::from_le_bytes(*length));
    Ok(length.map(u64::from))
}

fn extended_offsets<S: Source + ?Sized>(source: &S, attributes: &Attributes) -> Result<Option<Vec<u64>>, ReadError> {
    let bytes = match attributes.get(EXTENDED_OFFSET_TABLE).map(|attribute| &attribute.value) {
        Some(Value::Binary(bytes)) => std::borrow::Cow::Borrowed(bytes.as_slice()),
        Some(Value::Bulk { offset, bytes, encapsulated: false }) => {
            let len = usize::try_from(*bytes).unwrap_or(usize::MAX).min(FRAGMENTS_MAX * 8);
            source.read(*offset, len)?
        }
        _ => return Ok(None),
    };
    let (offsets, _) = bytes.as_chunks::<8>();
    Ok(Some(offsets.iter().map(|b| u64::from_le_bytes(*b)).collect()))
}

/// Turns offsets of frames into numbers of fragments; `None` if the table is not right in every entry.
fn starts_at(fragments: &[Fragment], offsets: &[u64], frames: usize) -> Option<Vec<usize>> {
    if offsets.len() != frames || offsets.first() != Some(&0) || !offsets.is_sorted_by(|a, b| a < b) {
        return None;
    }
    // Offsets count from the first fragment's item tag to a frame's first item tag.
    let base = fragments.first()?.offset;
    let start = |offset: &u64| {
        let offset = base.checked_add(*offset)?;
        fragments.binary_search_by_key(&offset, |fragment| fragment.offset).ok()
    };
    offsets.iter().map(start).collect()
}

/// Finds the fragments that codestreams begin in.
fn by_markers(cursor: &mut Cursor<'_>, fragments: &[Fragment], frames: usize) -> Result<Vec<usize>, ReadError> {
    let mut starts = Vec::new();
    for (index, fragment) in fragments.iter().enumerate() {
        let len = usize::try_from(fragment.bytes.min(12)).unwrap_or(0);
        let bytes = cursor.at_least(fragment.offset, len, WINDOW_BYTES)?;
        if MARKERS.iter().any(|marker| bytes.starts_with(marker)) {
            starts.push(index);
        }
    }
    if starts.first() == Some(&0) && starts.len() <= frames {
        return Ok(starts);
    }
    let offset = fragments.first().map_or(0, |fragment| fragment.offset);
    Err(ReadError::malformed(offset, "the fragments of its frames cannot be told apart"))
}

fn ranges(starts: &[usize], fragments: usize) -> Vec<Range<usize>> {
    let ends = starts.iter().skip(1).copied().chain([fragments]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}
