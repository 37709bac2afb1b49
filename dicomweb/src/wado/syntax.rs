//! Which stored transfer syntaxes satisfy a request (PS3.18 §8.7.3.5.2). Nothing is transcoded here.

use dicom_data::{TransferSyntax, transfer_syntax};

use crate::accept::Requested;

/// Explicit VR Little Endian.
pub(super) const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
/// Explicit VR Big Endian; never produced on request either.
const EXPLICIT_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
/// Implicit VR Little Endian; never produced on request (WE-030), though it is returned as stored.
const IMPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";
/// Encapsulated Uncompressed Explicit VR Little Endian.
const ENCAPSULATED_UNCOMPRESSED: &str = "1.2.840.10008.1.2.1.98";
/// What a client can do when the stored syntax is not what it asked for.
pub(super) const HINT: &str = "the stored transfer syntax is not among the accepted ones and nothing is transcoded: \
    ask for it as stored with transfer-syntax=*";

/// Tells whether an instance stored in this syntax satisfies the request as a file (WE-029, WE-031).
pub(super) fn allows_file(stored: &str, requested: Requested<'_>) -> bool {
    match requested {
        Requested::Anything | Requested::AsStored => true,
        Requested::Default => stored == EXPLICIT_LITTLE_ENDIAN || is_lossy(stored),
        Requested::Uid(uid) => uid == stored && uid != IMPLICIT_LITTLE_ENDIAN && uid != EXPLICIT_BIG_ENDIAN,
    }
}

/// How frames of one transfer syntax are returned.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrameMedia {
    /// Media type of a part (WE-121, WE-122).
    pub(super) media: &'static str,
    /// The legacy name of the media type, which is understood and not sent.
    legacy: Option<&'static str>,
    /// Transfer syntax named with it.
    pub(super) syntax: String,
    /// Frames need no decoder.
    native: bool,
}

/// Octets as they are.
pub(super) const OCTETS: &str = "application/octet-stream";

impl FrameMedia {
    /// Returns how frames stored in this syntax are returned.
    pub(super) fn of(stored: &str) -> Self {
        let known = transfer_syntax(stored);
        let native = known.is_some_and(|known| !known.encapsulated) || stored == ENCAPSULATED_UNCOMPRESSED;
        if native {
            return Self { media: OCTETS, legacy: None, syntax: EXPLICIT_LITTLE_ENDIAN.to_owned(), native };
        }
        let media = known.map_or(OCTETS, |known| known.media_type);
        let legacy = match media {
            "image/dicom-rle" => Some("image/x-dicom-rle"),
            "image/jls" => Some("image/x-jls"),
            _ => None,
        };
        Self { media, legacy, syntax: stored.to_owned(), native }
    }

    /// Tells whether frames lie apart, each a codestream; a video is one stream and native pixels are one value.
    pub(super) fn has_frames(&self) -> bool {
        !self.native && !self.is_video()
    }

    /// Tells whether it is a video, which has no single frames (WE-124).
    pub(super) fn is_video(&self) -> bool {
        transfer_syntax(&self.syntax).is_some_and(TransferSyntax::is_video)
    }

    /// Returns the names by which a client may ask for it.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let octets = (self.media != OCTETS).then_some(OCTETS);
        [Some(self.media), self.legacy, octets].into_iter().flatten()
    }

    /// Tells whether a request for frames by this name is satisfied.
    pub(super) fn allows(&self, name: &str, requested: Requested<'_>) -> bool {
        match requested {
            Requested::Anything | Requested::AsStored => true,
            // Octets without a transfer syntax are native pixels; an image type without one is its own default.
            Requested::Default => self.native || name != OCTETS,
            Requested::Uid(uid) => uid == self.syntax,
        }
    }

    /// Returns the `Content-Type` of a part.
    pub(super) fn content_type(&self) -> String {
        format!("{}; transfer-syntax={}", self.media, self.syntax)
    }
}

/// Tells whether pixels in this syntax have, or may have, lost something: they are not decompressed unasked.
fn is_lossy(uid: &str) -> bool {
    let Some(suffix) = uid.strip_prefix("1.2.840.10008.1.2.4.") else {
        return false;
    };
    let process = suffix.split('.').next().unwrap_or(suffix);
    matches!(
        process,
        "50" | "51"
            | "81"
            | "91"
            | "93"
            | "112"
            | "203"
            | "100"
            | "101"
            | "102"
            | "103"
            | "104"
            | "105"
            | "106"
            | "107"
            | "108"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &str = "1.2.840.10008.1.2.4.50";
    const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
    const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";

    #[test]
    fn files() {
        // WE-029, WE-030, WE-031
        let table = [
            (EXPLICIT_LITTLE_ENDIAN, Requested::Default, true),
            (EXPLICIT_LITTLE_ENDIAN, Requested::Uid(EXPLICIT_LITTLE_ENDIAN), true),
            (IMPLICIT_LITTLE_ENDIAN, Requested::Default, false),
            (IMPLICIT_LITTLE_ENDIAN, Requested::AsStored, true),
            (IMPLICIT_LITTLE_ENDIAN, Requested::Uid(IMPLICIT_LITTLE_ENDIAN), false),
            (EXPLICIT_BIG_ENDIAN, Requested::Uid(EXPLICIT_BIG_ENDIAN), false),
            (JPEG, Requested::Default, true),
            (JPEG_LOSSLESS, Requested::Default, false),
            (JPEG_LOSSLESS, Requested::Anything, true),
            (JPEG_LOSSLESS, Requested::Uid(JPEG_LOSSLESS), true),
            (JPEG_LOSSLESS, Requested::Uid(JPEG), false),
            ("1.2.840.10008.1.2.4.102.1", Requested::Default, true),
        ];
        for (stored, requested, expected) in table {
            assert_eq!(allows_file(stored, requested), expected, "{stored} {requested:?}");
        }
    }

    #[test]
    fn frames() {
        // WE-121, WE-122, OHIF 2.1 row 7
        let native = FrameMedia::of(IMPLICIT_LITTLE_ENDIAN);
        assert_eq!(native.content_type(), "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1");
        assert!(native.allows(OCTETS, Requested::Default));
        assert!(native.allows(OCTETS, Requested::AsStored));
        assert!(!native.allows(OCTETS, Requested::Uid(IMPLICIT_LITTLE_ENDIAN)));
        let coded = FrameMedia::of(JPEG_LS);
        assert_eq!(coded.content_type(), format!("image/jls; transfer-syntax={JPEG_LS}"));
        assert_eq!(coded.names().collect::<Vec<_>>(), ["image/jls", "image/x-jls", OCTETS]);
        assert!(coded.allows("image/jls", Requested::Default));
        assert!(coded.allows(OCTETS, Requested::AsStored));
        assert!(!coded.allows(OCTETS, Requested::Default));
        assert!(!coded.allows("image/jls", Requested::Uid(JPEG)));
    }
}
