//! Value representations by tag (PS3.6 §6), where the encoding does not carry them.

use dicom_core::VR;
use dicom_core::dictionary::{DataDictionary, VirtualVr};
use dicom_core::header::Tag;
use dicom_dictionary_std::StandardDataDictionary;

/// Item (FFFE,E000).
pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
/// Item Delimitation Item (FFFE,E00D).
pub(super) const ITEM_DELIMITER: Tag = Tag(0xFFFE, 0xE00D);
/// Sequence Delimitation Item (FFFE,E0DD).
pub(super) const SEQUENCE_DELIMITER: Tag = Tag(0xFFFE, 0xE0DD);

/// Returns the value representation of a tag; `None` for unknown and private ones (private creators are LO).
pub(super) fn vr_of(tag: Tag) -> Option<VirtualVr> {
    if tag.element() == 0 {
        return Some(VirtualVr::Exact(VR::UL));
    }
    if tag.group() % 2 == 1 {
        return (0x10..=0xFF).contains(&tag.element()).then_some(VirtualVr::Exact(VR::LO));
    }
    StandardDataDictionary.by_tag(tag).map(|entry| entry.vr)
}

/// Says whether explicit elements of this value representation have a 32-bit length (PS3.5 §7.1.2).
pub(super) fn has_long_length(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SQ
            | VR::SV
            | VR::UC
            | VR::UN
            | VR::UR
            | VR::UT
            | VR::UV
    )
}

/// Bytes of one number or word of the value representation, 1 where bytes are not swapped.
pub(super) fn unit_bytes(vr: VR) -> usize {
    match vr {
        VR::AT | VR::US | VR::SS | VR::OW => 2,
        VR::UL | VR::SL | VR::FL | VR::OF | VR::OL => 4,
        VR::UV | VR::SV | VR::FD | VR::OD | VR::OV => 8,
        VR::AE
        | VR::AS
        | VR::CS
        | VR::DA
        | VR::DS
        | VR::DT
        | VR::IS
        | VR::LO
        | VR::LT
        | VR::OB
        | VR::PN
        | VR::SH
        | VR::SQ
        | VR::ST
        | VR::TM
        | VR::UC
        | VR::UI
        | VR::UN
        | VR::UR
        | VR::UT => 1,
    }
}

/// Says whether values are bytes that stay bytes.
pub(super) fn is_binary(vr: VR) -> bool {
    matches!(vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN)
}

/// Says whether the value is text in the character set of the data set (PS3.5 §6.1.2.3).
pub(super) fn has_charset(vr: VR) -> bool {
    matches!(vr, VR::LO | VR::LT | VR::PN | VR::SH | VR::ST | VR::UC | VR::UT)
}

/// Says whether a backslash separates values.
pub(super) fn is_multi_valued(vr: VR) -> bool {
    !matches!(vr, VR::LT | VR::ST | VR::UT | VR::UR)
}

/// Says whether a long value may be given as bulk data (PS3.18 §10.4.1.1.2), after WE-101's list.
pub(super) fn may_be_bulk(vr: VR) -> bool {
    matches!(
        vr,
        VR::DS
            | VR::FL
            | VR::FD
            | VR::IS
            | VR::LT
            | VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SL
            | VR::SS
            | VR::ST
            | VR::SV
            | VR::UC
            | VR::UL
            | VR::UN
            | VR::US
            | VR::UT
            | VR::UV
    )
}
