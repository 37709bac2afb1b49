//! Transfer syntaxes (PS3.5 §10, PS3.6 §A): the table that decides what is accepted and how it is read and sent.
//!
//! The conformance statement prints this table. A syntax without a decoder is stored and returned as it is.

/// Order of the bytes of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first: only Explicit VR Big Endian, retired.
    Big,
}

/// One transfer syntax.
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the standard's table")]
#[derive(Debug, PartialEq, Eq)]
pub struct TransferSyntax {
    /// Its UID.
    pub uid: &'static str,
    /// Its name in PS3.6.
    pub name: &'static str,
    /// Byte order of the data set.
    pub byte_order: ByteOrder,
    /// Whether elements carry their value representation.
    pub explicit_vr: bool,
    /// Whether the data set is one raw deflate stream (PS3.5 §A.5).
    pub deflated: bool,
    /// Whether Pixel Data is in fragments (PS3.5 §A.4).
    pub encapsulated: bool,
    /// Media type of its frames as bulk data (PS3.18 §8.7.3); `application/octet-stream` for native ones.
    pub media_type: &'static str,
    /// Whether instances in it are accepted.
    pub accepted: bool,
}

/// Implicit VR Little Endian, the default transfer syntax of DICOM.
pub const IMPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";
/// Explicit VR Little Endian.
pub const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// Returns the transfer syntax with this UID.
pub fn transfer_syntax(uid: &str) -> Option<&'static TransferSyntax> {
    TRANSFER_SYNTAXES.iter().find(|syntax| syntax.uid == uid)
}

/// Returns all transfer syntaxes that are known, also those that are not accepted.
pub fn transfer_syntaxes() -> &'static [TransferSyntax] {
    TRANSFER_SYNTAXES
}

impl TransferSyntax {
    /// Says whether Pixel Data is one video stream, whose frames cannot be had one by one.
    pub fn is_video(&self) -> bool {
        self.media_type.starts_with("video/")
    }
}

const OCTETS: &str = "application/octet-stream";

const fn native(uid: &'static str, name: &'static str) -> TransferSyntax {
    TransferSyntax {
        uid,
        name,
        byte_order: ByteOrder::Little,
        explicit_vr: true,
        deflated: false,
        encapsulated: false,
        media_type: OCTETS,
        accepted: true,
    }
}

const fn encapsulated(uid: &'static str, name: &'static str, media_type: &'static str) -> TransferSyntax {
    TransferSyntax { encapsulated: true, media_type, ..native(uid, name) }
}

/// One whose pixels are elsewhere, so that keeping the instance would keep nothing.
const fn refused(uid: &'static str, name: &'static str, deflated: bool) -> TransferSyntax {
    TransferSyntax { deflated, accepted: false, ..native(uid, name) }
}

#[rustfmt::skip]
static TRANSFER_SYNTAXES: &[TransferSyntax] = &[
    TransferSyntax { explicit_vr: false, ..native("1.2.840.10008.1.2", "Implicit VR Little Endian") },
    native("1.2.840.10008.1.2.1", "Explicit VR Little Endian"),
    encapsulated("1.2.840.10008.1.2.1.98", "Encapsulated Uncompressed Explicit VR Little Endian", OCTETS),
    TransferSyntax { deflated: true, ..native("1.2.840.10008.1.2.1.99", "Deflated Explicit VR Little Endian") },
    TransferSyntax { byte_order: ByteOrder::Big, ..native("1.2.840.10008.1.2.2", "Explicit VR Big Endian") },
    encapsulated("1.2.840.10008.1.2.4.50", "JPEG Baseline (Process 1)", "image/jpeg"),
    encapsulated("1.2.840.10008.1.2.4.51", "JPEG Extended (Process 2 and 4)", "image/jpeg"),
    encapsulated("1.2.840.10008.1.2.4.52", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.53", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.54", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.55", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.56", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.57", "JPEG Lossless, Non-Hierarchical (Process 14)", "image/jpeg"),
    encapsulated("1.2.840.10008.1.2.4.58", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.59", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.60", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.61", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.62", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.63", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.64", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.65", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.66", "Retired JPEG process", OCTETS),
    encapsulated("1.2.840.10008.1.2.4.70", "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14, Selection Value 1)", "image/jpeg"),
    encapsulated("1.2.840.10008.1.2.4.80", "JPEG-LS Lossless", "image/jls"),
    encapsulated("1.2.840.10008.1.2.4.81", "JPEG-LS Lossy (Near-Lossless)", "image/jls"),
    encapsulated("1.2.840.10008.1.2.4.90", "JPEG 2000 (Lossless Only)", "image/jp2"),
    encapsulated("1.2.840.10008.1.2.4.91", "JPEG 2000", "image/jp2"),
    encapsulated("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2 Multi-component (Lossless Only)", "image/jpx"),
    encapsulated("1.2.840.10008.1.2.4.93", "JPEG 2000 Part 2 Multi-component", "image/jpx"),
    refused("1.2.840.10008.1.2.4.94", "JPIP Referenced", false),
    refused("1.2.840.10008.1.2.4.95", "JPIP Referenced Deflate", true),
    encapsulated("1.2.840.10008.1.2.4.100", "MPEG2 Main Profile / Main Level", "video/mpeg"),
    encapsulated("1.2.840.10008.1.2.4.100.1", "Fragmentable MPEG2 Main Profile / Main Level", "video/mpeg"),
    encapsulated("1.2.840.10008.1.2.4.101", "MPEG2 Main Profile / High Level", "video/mpeg"),
    encapsulated("1.2.840.10008.1.2.4.101.1", "Fragmentable MPEG2 Main Profile / High Level", "video/mpeg"),
    encapsulated("1.2.840.10008.1.2.4.102", "MPEG-4 AVC/H.264 High Profile / Level 4.1", "video/mp4"),
    encapsulated("1.2.840.10008.1.2.4.102.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1", "video/mp4"),
    encapsulated("1.2.840.10008.1.2.4.103", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", "video/mp4"),
    encapsulated("1.2.840.10008.1.2.4.103.1", "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", "video/mp4"),
    encapsulated("1.2.840.10008.1.2.4.104", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", "video/mp4"),
    encapsulated("1.2.840.10008.1.2.4.104.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", "video/mp4"),
    encapsulated("1.2.840.10008.1.2.4.105", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", "video/mp4"),
    encapsulated("1.2.840.10008.1.2.4.105.1", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", "video/mp4"),
    encapsulated("1.2.840.10008.1.2.4.106", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", "video/mp4"),
    encapsulated("1.2.840.10008.1.2.4.106.1", "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", "video/mp4"),
    encapsulated("1.2.840.10008.1.2.4.107", "HEVC/H.265 Main Profile / Level 5.1", "video/H265"),
    encapsulated("1.2.840.10008.1.2.4.108", "HEVC/H.265 Main 10 Profile / Level 5.1", "video/H265"),
    encapsulated("1.2.840.10008.1.2.4.110", "JPEG XL Lossless", "image/jxl"),
    encapsulated("1.2.840.10008.1.2.4.111", "JPEG XL JPEG Recompression", "image/jxl"),
    encapsulated("1.2.840.10008.1.2.4.112", "JPEG XL", "image/jxl"),
    encapsulated("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000 (Lossless Only)", "image/jphc"),
    encapsulated("1.2.840.10008.1.2.4.202", "High-Throughput JPEG 2000 with RPCL Options (Lossless Only)", "image/jphc"),
    encapsulated("1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000", "image/jphc"),
    refused("1.2.840.10008.1.2.4.204", "JPIP HTJ2K Referenced", false),
    refused("1.2.840.10008.1.2.4.205", "JPIP HTJ2K Referenced Deflate", true),
    encapsulated("1.2.840.10008.1.2.5", "RLE Lossless", "image/dicom-rle"),
    encapsulated("1.2.840.10008.1.2.8.1", "Deflated Image Frame Compression", OCTETS),
    refused("1.2.840.10008.1.2.7.1", "SMPTE ST 2110-20 Uncompressed Progressive Active Video", false),
    refused("1.2.840.10008.1.2.7.2", "SMPTE ST 2110-20 Uncompressed Interlaced Active Video", false),
    refused("1.2.840.10008.1.2.7.3", "SMPTE ST 2110-30 PCM Digital Audio", false),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_there_once() {
        // ST-030
        let mut uids: Vec<_> = transfer_syntaxes().iter().map(|s| s.uid).collect();
        let count = uids.len();
        uids.sort_unstable();
        uids.dedup();
        assert_eq!(uids.len(), count);
        assert!(uids.iter().all(|uid| uid.starts_with("1.2.840.10008.1.2")));
    }

    #[test]
    fn rows_say_how_to_read_and_what_to_send() {
        // WE-122
        let row = |uid| {
            let s = transfer_syntax(uid).unwrap();
            (s.explicit_vr, s.deflated, s.encapsulated, s.media_type, s.accepted)
        };
        assert_eq!(row("1.2.840.10008.1.2"), (false, false, false, OCTETS, true));
        assert_eq!(row("1.2.840.10008.1.2.1.99"), (true, true, false, OCTETS, true));
        assert_eq!(row("1.2.840.10008.1.2.4.90"), (true, false, true, "image/jp2", true));
        assert_eq!(row("1.2.840.10008.1.2.4.94"), (true, false, false, OCTETS, false));
        assert!(transfer_syntax("1.2.840.10008.1.2.4.102.1").unwrap().is_video());
        assert!(transfer_syntax("1.2.840.10008.1.2.99").is_none());
    }
}
