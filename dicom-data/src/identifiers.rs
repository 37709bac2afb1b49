//! The four UIDs that say which instance a data set is, read without decoding anything else.

use super::cursor::Erased;
use super::inflate::inflate_prefix;
use super::parse::IDENTIFIERS;
use super::transfer_syntax::TransferSyntax;
use super::walker::{Bounds, Encoding, Token, Walker};
use super::{ReadError, Source};
use crate::Uid;

/// The UIDs without which nothing can be filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifiers {
    /// SOP Class UID (0008,0016).
    pub sop_class_uid: Uid,
    /// SOP Instance UID (0008,0018).
    pub sop_instance_uid: Uid,
    /// Study Instance UID (0020,000D).
    pub study_instance_uid: Uid,
    /// Series Instance UID (0020,000E).
    pub series_instance_uid: Uid,
}

const KEYWORDS: [&str; 4] = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"];

/// Values of this length and more are no UIDs, padding included.
const UID_BYTES_MAX: u64 = 128;
/// Bytes of a deflated data set that are inflated to find them.
const INFLATED_BYTES_MAX: u64 = 4 << 20;
/// Elements that are stepped over to find them.
const ELEMENTS_MAX: u64 = 1_000_000;
/// Depth to which sequences of undefined length are followed to step over them.
const DEPTH_MAX: usize = 64;

/// Reads the UIDs of an instance. Stops as soon as all four are found; of several elements with one tag
/// the first counts.
pub fn read_identifiers<S: Source + ?Sized>(source: &S, syntax: &TransferSyntax) -> Result<Identifiers, ReadError> {
    if syntax.deflated {
        let inflated = inflate_prefix(source, INFLATED_BYTES_MAX)?;
        return read_plain(&Erased(inflated.as_slice()), Encoding::of(syntax));
    }
    read_plain(&Erased(source), Encoding::of(syntax))
}

fn read_plain(source: &dyn Source, encoding: Encoding) -> Result<Identifiers, ReadError> {
    let bounds = Bounds { depth_max: DEPTH_MAX, elements_max: ELEMENTS_MAX, flat: true };
    let mut walker = Walker::new(source, encoding, bounds)?;
    let mut found: [Option<Option<Uid>>; 4] = [None, None, None, None];
    let mut seen = 0_usize;
    while seen < IDENTIFIERS.len() {
        let Some(token) = walker.next()? else { break };
        let Token::Element(element) = token else {
            continue;
        };
        if walker.depth() > 0 {
            continue;
        }
        let slot = IDENTIFIERS.iter().zip(&mut found).find(|(tag, _)| **tag == element.tag);
        let Some((_, slot)) = slot.filter(|(_, slot)| slot.is_none()) else {
            continue;
        };
        let len = usize::try_from(element.bytes.min(UID_BYTES_MAX)).unwrap_or_default();
        let bytes = walker.cursor.at(element.offset, len)?;
        *slot = Some(std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()));
        seen += 1;
    }
    let mut uids =
        KEYWORDS.into_iter().zip(found).map(|(keyword, uid)| uid.flatten().ok_or(ReadError::Missing { keyword }));
    let mut next = || uids.next().expect("there are four");
    Ok(Identifiers {
        sop_class_uid: next()?,
        sop_instance_uid: next()?,
        study_instance_uid: next()?,
        series_instance_uid: next()?,
    })
}
