//! Bulk data: how a value outside the metadata is named, and where it is found again.

use std::fmt;
use std::str::FromStr;

use dicom_core::VR;
use dicom_core::header::Tag;

use super::cursor::Erased;
use super::inflate::inflate;
use super::parse::Limits;
use super::transfer_syntax::TransferSyntax;
use super::walker::{Bounds, Element, Encoding, Token, Walker};
use super::{ReadError, Source};

/// Most steps of a path; as many as sequences are read within sequences.
const STEPS_MAX: usize = 64;

/// Names a value in a data set: `7FE00010`, or `54000100/0/54001010` for one in the first item of a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BulkPath {
    /// Sequences on the way with the number of the item, counted from zero.
    pub items: Vec<(Tag, u32)>,
    /// The attribute itself.
    pub tag: Tag,
}

/// Says that a text names no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("read bulk data path: it must be tags of 8 hex digits with item numbers between, separated by /")]
pub struct InvalidBulkPath;

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkLocation {
    /// First byte of the value, counted from the first byte of the data set (of the inflated one).
    pub offset: u64,
    /// Length of the value.
    pub bytes: u64,
    /// Whether it is in fragments (PS3.5 §A.4).
    pub encapsulated: bool,
    /// Its value representation.
    pub vr: VR,
}

/// Finds the value that a path names; `None` if the data set has none there or ends before it.
pub fn find_bulk<S: Source + ?Sized>(
    source: &S,
    syntax: &TransferSyntax,
    path: &BulkPath,
) -> Result<Option<BulkLocation>, ReadError> {
    if syntax.deflated {
        let inflated = inflate(source, &Limits::default())?;
        return find_plain(&Erased(inflated.as_slice()), Encoding::of(syntax), path);
    }
    find_plain(&Erased(source), Encoding::of(syntax), path)
}

fn find_plain(source: &dyn Source, encoding: Encoding, path: &BulkPath) -> Result<Option<BulkLocation>, ReadError> {
    let limits = Limits::default();
    let bounds = Bounds { depth_max: limits.depth_max, elements_max: limits.elements_max, flat: false };
    let mut walker = Walker::new(source, encoding, bounds)?;
    let mut here: Vec<(Tag, u32)> = Vec::new();
    let mut next_item: Vec<(Tag, u32)> = Vec::new();
    loop {
        match walker.next() {
            Ok(Some(Token::SequenceStart { tag })) => next_item.push((tag, 0)),
            Ok(Some(Token::SequenceEnd)) => drop(next_item.pop()),
            Ok(Some(Token::ItemStart)) => {
                if let Some((tag, item)) = next_item.last_mut() {
                    here.push((*tag, *item));
                    *item += 1;
                }
            }
            Ok(Some(Token::ItemEnd)) => drop(here.pop()),
            Ok(Some(Token::Element(element))) if element.tag == path.tag && here == path.items => {
                return Ok(Some(location(&element)));
            }
            Ok(Some(Token::Element(_))) => {}
            Ok(None) | Err(ReadError::Malformed { .. }) => return Ok(None),
            Err(error @ (ReadError::Source(_) | ReadError::Missing { .. })) => return Err(error),
        }
    }
}

fn location(element: &Element) -> BulkLocation {
    let vr = if element.encapsulated { VR::OB } else { element.vr.relaxed() };
    let Element { offset, bytes, encapsulated, .. } = *element;
    BulkLocation { offset, bytes, encapsulated, vr }
}

impl fmt::Display for BulkPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (tag, item) in &self.items {
            write!(f, "{:04X}{:04X}/{item}/", tag.group(), tag.element())?;
        }
        write!(f, "{:04X}{:04X}", self.tag.group(), self.tag.element())
    }
}

impl FromStr for BulkPath {
    type Err = InvalidBulkPath;

    fn from_str(text: &str) -> Result<Self, InvalidBulkPath> {
        let mut items = Vec::new();
        let mut parts = text.split('/');
        loop {
            let tag = parts.next().and_then(tag_of).ok_or(InvalidBulkPath)?;
            let Some(item) = parts.next() else {
                return Ok(Self { items, tag });
            };
            let digits = !item.is_empty() && item.bytes().all(|b| b.is_ascii_digit());
            let item = item.parse().ok().filter(|_| digits).ok_or(InvalidBulkPath)?;
            items.push((tag, item));
            if items.len() > STEPS_MAX {
                return Err(InvalidBulkPath);
            }
        }
    }
}

/// Reads a tag of eight hexadecimal digits.
pub(super) fn tag_of(text: &str) -> Option<Tag> {
    if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let (group, element) = text.split_at_checked(4)?;
    Some(Tag(u16::from_str_radix(group, 16).ok()?, u16::from_str_radix(element, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        // WE-103
        for text in ["7FE00010", "54000100/0/54001010", "30060039/1/30060040/12/30060050"] {
            assert_eq!(text.parse::<BulkPath>().unwrap().to_string(), text);
        }
        for text in ["", "7FE0001", "54000100/0", "54000100/+1/54001010", "x/0/7FE00010", "7FE00010/"] {
            assert_eq!(text.parse::<BulkPath>(), Err(InvalidBulkPath), "{text}");
        }
    }
}
