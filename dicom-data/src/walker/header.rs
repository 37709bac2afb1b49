//! Headers of elements and items (PS3.5 §7.1).
//!
//! | form | bytes |
//! |---|---|
//! | explicit, short | group 2, element 2, value representation 2, length 2 |
//! | explicit, long | group 2, element 2, value representation 2, zero 2, length 4 |
//! | implicit, item | group 2, element 2, length 4 |

use dicom_core::VR;
use dicom_core::header::Tag;

use super::super::ReadError;
use super::super::cursor::Cursor;
use super::super::dictionary::has_long_length;
use super::Encoding;

/// The length that says that a delimiter ends the value.
pub(super) const UNDEFINED: u32 = u32::MAX;

/// The header of one element or item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) tag: Tag,
    /// As encoded; `None` if it is implicit or unreadable.
    pub(super) vr: Option<VR>,
    /// Length of the value.
    pub(super) length: u32,
    /// Length of the header.
    pub(super) bytes: u64,
}

impl Header {
    /// Reads the header of an item or delimiter, which has no value representation.
    pub(super) fn item(bytes: &[u8], encoding: Encoding) -> Option<Self> {
        let tag = tag(bytes, encoding)?;
        let length = u32_at(bytes, 4, encoding)?;
        Some(Self { tag, vr: None, length, bytes: 8 })
    }
}

/// Reads the tag that `bytes` begin with.
#[inline]
pub(super) fn tag(bytes: &[u8], encoding: Encoding) -> Option<Tag> {
    Some(Tag(u16_at(bytes, 0, encoding)?, u16_at(bytes, 2, encoding)?))
}

/// Reads the header of an element that `bytes` begin with; `None` if it is cut off or of an unknown form.
#[inline]
pub(super) fn of(bytes: &[u8], encoding: Encoding) -> Option<Header> {
    if !encoding.explicit {
        return Header::item(bytes, encoding);
    }
    let tag = tag(bytes, encoding)?;
    let vr = vr_from(bytes.get(4..6)?)?;
    if has_long_length(vr) {
        let length = u32_at(bytes, 8, encoding)?;
        return Some(Header { tag, vr: Some(vr), length, bytes: 12 });
    }
    let length = u32::from(u16_at(bytes, 6, encoding)?);
    Some(Header { tag, vr: Some(vr), length, bytes: 8 })
}

/// Reads a header that `of` could not read, of an element of a data set whose last byte is before `end`.
#[cold]
pub(super) fn unusual(cursor: &mut Cursor<'_>, offset: u64, end: u64, encoding: Encoding) -> Result<Header, ReadError> {
    let bytes = cursor.at(offset, 12)?;
    let known = bytes.get(4..6).is_some_and(|letters| vr_from(letters).is_some());
    let header = if known { None } else { unknown_vr(cursor, offset, end, encoding) };
    header.ok_or(ReadError::malformed(offset, "a header leaves the data set"))
}

/// Finds out whether the elements of a data set that begins with `bytes` carry value representations.
///
/// Devices write implicit elements under an explicit transfer syntax and the reverse. `room` is the
/// length of the data set, which tells a length from letters.
pub(super) fn detect(bytes: &[u8], encoding: Encoding, room: u64) -> Encoding {
    let Some(tag) = tag(bytes, encoding) else {
        return encoding;
    };
    let Some(letters) = bytes.get(4..6) else {
        return encoding;
    };
    if tag.group() == 0xFFFE {
        return encoding;
    }
    let fits_implicit = u32_at(bytes, 4, encoding)
        .is_some_and(|length| length == UNDEFINED || u64::from(length) <= room.saturating_sub(8));
    let explicit = if encoding.explicit {
        letters.iter().all(u8::is_ascii_uppercase) || !fits_implicit
    } else {
        vr_from(letters).is_some() && (!fits_implicit || tag.group() <= 0x0008)
    };
    Encoding { explicit, ..encoding }
}

/// Reads an explicit header whose value representation is none that we know: `??`, zeros, one of a later edition.
///
/// The forms are tried in turn; the first after which another element can follow is taken.
fn unknown_vr(cursor: &mut Cursor<'_>, offset: u64, end: u64, encoding: Encoding) -> Option<Header> {
    let bytes: Vec<u8> = cursor.at(offset, 12).ok()?.to_vec();
    let tag = tag(&bytes, encoding)?;
    let reserved_is_zero = u16_at(&bytes, 6, encoding)? == 0;
    let un = Some(VR::UN);
    let long = u32_at(&bytes, 8, encoding).filter(|_| reserved_is_zero).map(|length| Header {
        tag,
        vr: un,
        length,
        bytes: 12,
    });
    let length = u32::from(u16_at(&bytes, 6, encoding)?);
    let short = Header { tag, vr: un, length, bytes: 8 };
    let implicit = Header { tag, vr: None, length: u32_at(&bytes, 4, encoding)?, bytes: 8 };
    let forms = [long, Some(short), Some(implicit)];
    let fitting = forms.into_iter().flatten().find(|header| {
        if header.length == UNDEFINED {
            return header.bytes == 12;
        }
        let next = offset.saturating_add(header.bytes).saturating_add(u64::from(header.length));
        next <= end && can_follow(cursor, next, end, tag, encoding)
    });
    fitting.or(long).or(Some(short))
}

/// Says whether an element after `before` can begin at `offset`.
fn can_follow(cursor: &mut Cursor<'_>, offset: u64, end: u64, before: Tag, encoding: Encoding) -> bool {
    if offset == end {
        return true;
    }
    let Ok(bytes) = cursor.at(offset, 8) else {
        return false;
    };
    let Some(after) = tag(bytes, encoding) else {
        return false;
    };
    let known_vr = bytes.get(4..6).is_some_and(|b| vr_from(b).is_some() || b == b"??" || b == [0, 0]);
    after.group() == 0xFFFE || (after > before && known_vr)
}

/// Reads a value representation. `VR::from_binary` compares texts, which took most of the time of a walk.
#[inline]
fn vr_from(letters: &[u8]) -> Option<VR> {
    Some(match letters.first_chunk::<2>()? {
        b"AE" => VR::AE,
        b"AS" => VR::AS,
        b"AT" => VR::AT,
        b"CS" => VR::CS,
        b"DA" => VR::DA,
        b"DS" => VR::DS,
        b"DT" => VR::DT,
        b"FL" => VR::FL,
        b"FD" => VR::FD,
        b"IS" => VR::IS,
        b"LO" => VR::LO,
        b"LT" => VR::LT,
        b"OB" => VR::OB,
        b"OD" => VR::OD,
        b"OF" => VR::OF,
        b"OL" => VR::OL,
        b"OV" => VR::OV,
        b"OW" => VR::OW,
        b"PN" => VR::PN,
        b"SH" => VR::SH,
        b"SL" => VR::SL,
        b"SQ" => VR::SQ,
        b"SS" => VR::SS,
        b"ST" => VR::ST,
        b"SV" => VR::SV,
        b"TM" => VR::TM,
        b"UC" => VR::UC,
        b"UI" => VR::UI,
        b"UL" => VR::UL,
        b"UN" => VR::UN,
        b"UR" => VR::UR,
        b"US" => VR::US,
        b"UT" => VR::UT,
        b"UV" => VR::UV,
        _ => return None,
    })
}

#[inline]
fn u16_at(bytes: &[u8], at: usize, encoding: Encoding) -> Option<u16> {
    let bytes = *bytes.get(at..)?.first_chunk()?;
    Some(if encoding.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
}

#[inline]
fn u32_at(bytes: &[u8], at: usize, encoding: Encoding) -> Option<u32> {
    let bytes = *bytes.get(at..)?.first_chunk()?;
    Some(if encoding.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
}
