//! The attributes that can be keys, and the level each belongs to (PS3.4 §C.6.1.1, §C.6.2.1).

use dicom_core::{Tag, VR};

use super::Level;
use crate::TagPath;

/// An attribute that restricts a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownKey {
    /// The attribute; more than one tag for one inside a sequence.
    pub path: &'static [Tag],
    /// The level that it describes.
    pub level: Level,
    /// Its value representation, which decides what a match is.
    pub vr: VR,
}

/// Returns what is known about a key; `None` for an attribute that the index does not keep.
pub fn known_key(path: &TagPath) -> Option<&'static KnownKey> {
    KEYS.iter().find(|known| known.path == path.0)
}

const fn key(level: Level, path: &'static [Tag], vr: VR) -> KnownKey {
    KnownKey { path, level, vr }
}

use Level::{Instance, Patient, Series, Study};

/// QR-001 to QR-005, WE-051: required and unique keys, and the optional ones that the index keeps.
static KEYS: &[KnownKey] = &[
    key(Patient, &[Tag(0x0010, 0x0010)], VR::PN),
    key(Patient, &[Tag(0x0010, 0x0020)], VR::LO),
    key(Patient, &[Tag(0x0010, 0x0021)], VR::LO),
    key(Patient, &[Tag(0x0010, 0x0030)], VR::DA),
    key(Patient, &[Tag(0x0010, 0x0032)], VR::TM),
    key(Patient, &[Tag(0x0010, 0x0040)], VR::CS),
    key(Patient, &[Tag(0x0010, 0x1001)], VR::PN),
    key(Patient, &[Tag(0x0010, 0x1002), Tag(0x0010, 0x0020)], VR::LO),
    key(Patient, &[Tag(0x0010, 0x2160)], VR::SH),
    key(Patient, &[Tag(0x0010, 0x4000)], VR::LT),
    key(Study, &[Tag(0x0020, 0x000D)], VR::UI),
    key(Study, &[Tag(0x0008, 0x0020)], VR::DA),
    key(Study, &[Tag(0x0008, 0x0030)], VR::TM),
    key(Study, &[Tag(0x0008, 0x0050)], VR::SH),
    key(Study, &[Tag(0x0020, 0x0010)], VR::SH),
    key(Study, &[Tag(0x0008, 0x0061)], VR::CS),
    key(Study, &[Tag(0x0008, 0x0062)], VR::UI),
    key(Study, &[Tag(0x0008, 0x0090)], VR::PN),
    key(Study, &[Tag(0x0008, 0x1030)], VR::LO),
    key(Study, &[Tag(0x0008, 0x1060)], VR::PN),
    key(Study, &[Tag(0x0008, 0x1080)], VR::LO),
    key(Study, &[Tag(0x0008, 0x1032), Tag(0x0008, 0x0100)], VR::SH),
    key(Study, &[Tag(0x0008, 0x1032), Tag(0x0008, 0x0102)], VR::SH),
    key(Study, &[Tag(0x0010, 0x1010)], VR::AS),
    key(Study, &[Tag(0x0010, 0x1020)], VR::DS),
    key(Study, &[Tag(0x0010, 0x1030)], VR::DS),
    key(Series, &[Tag(0x0020, 0x000E)], VR::UI),
    key(Series, &[Tag(0x0008, 0x0060)], VR::CS),
    key(Series, &[Tag(0x0020, 0x0011)], VR::IS),
    key(Series, &[Tag(0x0008, 0x103E)], VR::LO),
    key(Series, &[Tag(0x0008, 0x0021)], VR::DA),
    key(Series, &[Tag(0x0008, 0x0031)], VR::TM),
    key(Series, &[Tag(0x0018, 0x0015)], VR::CS),
    key(Series, &[Tag(0x0018, 0x1030)], VR::LO),
    key(Series, &[Tag(0x0008, 0x1010)], VR::SH),
    key(Series, &[Tag(0x0008, 0x0070)], VR::LO),
    key(Series, &[Tag(0x0040, 0x0244)], VR::DA),
    key(Series, &[Tag(0x0040, 0x0245)], VR::TM),
    key(Series, &[Tag(0x0040, 0x0275), Tag(0x0040, 0x0009)], VR::SH),
    key(Series, &[Tag(0x0040, 0x0275), Tag(0x0040, 0x1001)], VR::SH),
    key(Instance, &[Tag(0x0008, 0x0018)], VR::UI),
    key(Instance, &[Tag(0x0008, 0x0016)], VR::UI),
    key(Instance, &[Tag(0x0020, 0x0013)], VR::IS),
    key(Instance, &[Tag(0x0008, 0x0008)], VR::CS),
    key(Instance, &[Tag(0x0008, 0x001A)], VR::UI),
    key(Instance, &[Tag(0x0008, 0x3002)], VR::UI),
    key(Instance, &[Tag(0x0040, 0xA043), Tag(0x0008, 0x0100)], VR::SH),
    key(Instance, &[Tag(0x0040, 0xA043), Tag(0x0008, 0x0102)], VR::SH),
    key(Instance, &[Tag(0x0028, 0x0008)], VR::IS),
    key(Instance, &[Tag(0x0028, 0x0010)], VR::US),
    key(Instance, &[Tag(0x0028, 0x0011)], VR::US),
    key(Instance, &[Tag(0x0028, 0x0100)], VR::US),
];
