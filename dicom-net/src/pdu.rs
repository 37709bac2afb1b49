//! Protocol data units (PS3.8 §9.3).
//!
//! | bytes | what |
//! |---|---|
//! | 0 | type, see [`PduType`] |
//! | 1 | reserved, sent as 00, never tested |
//! | 2..6 | length of what follows, big endian |
//!
//! A P-DATA-TF holds presentation data values (PS3.8 §9.3.5, Annex E):
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | length of what follows, big endian, at least 2 |
//! | 4 | presentation context |
//! | 5 | bit 0: command, bit 1: last fragment; other bits never tested |
//! | 6.. | the fragment |

mod decoder;
mod fragmenter;

pub(crate) use decoder::{Decoder, Event, Fragment, Phase};
pub(crate) use fragmenter::Fragmenter;

/// Bytes of a PDU's type, reserved byte and length.
pub(crate) const HEADER_BYTES: usize = 6;
/// Bytes of a presentation data value before its fragment.
pub(crate) const VALUE_HEADER_BYTES: u32 = 6;
/// Largest A-ASSOCIATE-RQ or -AC we read. The largest sensible one, 128 contexts with 20 transfer
/// syntaxes each, has 70,435 bytes (UL-026, UL-027).
pub(crate) const ASSOCIATE_BYTES_MAX: u32 = 1 << 20;
/// Length of A-ASSOCIATE-RJ, A-RELEASE-RQ, A-RELEASE-RP and A-ABORT after the header.
pub(crate) const FIXED_BODY_BYTES: u32 = 4;

/// What a PDU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PduType {
    AssociateRequest,
    AssociateAccept,
    AssociateReject,
    Data,
    ReleaseRequest,
    ReleaseReply,
    Abort,
}

impl PduType {
    /// Returns the type that a first byte announces.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::AssociateRequest),
            2 => Some(Self::AssociateAccept),
            3 => Some(Self::AssociateReject),
            4 => Some(Self::Data),
            5 => Some(Self::ReleaseRequest),
            6 => Some(Self::ReleaseReply),
            7 => Some(Self::Abort),
            _ => None,
        }
    }
}

/// Why an association is aborted: source and reason of A-ABORT (PS3.8 §9.3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AbortReason {
    /// 0/0: the application gives up; not the peer's fault.
    User,
    /// 2/1: no such PDU type.
    UnrecognizedPdu,
    /// 2/2: a PDU that has no place in this state.
    UnexpectedPdu,
    /// 2/4: an item nobody defined.
    UnrecognizedParameter,
    /// 2/6: a value that is out of its range.
    InvalidParameter,
}

impl AbortReason {
    /// Returns the A-ABORT PDU.
    pub(crate) fn to_pdu(self) -> [u8; 10] {
        let (source, reason) = match self {
            Self::User => (0, 0),
            Self::UnrecognizedPdu => (2, 1),
            Self::UnexpectedPdu => (2, 2),
            Self::UnrecognizedParameter => (2, 4),
            Self::InvalidParameter => (2, 6),
        };
        [7, 0, 0, 0, 0, 4, 0, 0, source, reason]
    }
}

/// Why an association is refused: result, source and reason of A-ASSOCIATE-RJ (PS3.8 §9.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// 1/1/1: refused for a reason that is not told, such as credentials.
    NoReason,
    /// 1/1/2: not the DICOM application context.
    ApplicationContext,
    /// 1/1/3: the calling AE title is not allowed here.
    CallingAe,
    /// 1/1/7: no such AE title here.
    CalledAe,
    /// 1/2/2: not version 1 of the protocol.
    ProtocolVersion,
    /// 2/3/2: as many associations as are allowed are open.
    LocalLimit,
}

impl Rejection {
    /// Returns the A-ASSOCIATE-RJ PDU.
    pub(crate) fn to_pdu(self) -> [u8; 10] {
        let (result, source, reason) = match self {
            Self::NoReason => (1, 1, 1),
            Self::ApplicationContext => (1, 1, 2),
            Self::CallingAe => (1, 1, 3),
            Self::CalledAe => (1, 1, 7),
            Self::ProtocolVersion => (1, 2, 2),
            Self::LocalLimit => (2, 3, 2),
        };
        [3, 0, 0, 0, 0, 4, 0, result, source, reason]
    }
}

/// The A-RELEASE-RQ PDU.
pub(crate) const RELEASE_REQUEST: [u8; 10] = [5, 0, 0, 0, 0, 4, 0, 0, 0, 0];
/// The A-RELEASE-RP PDU.
pub(crate) const RELEASE_REPLY: [u8; 10] = [6, 0, 0, 0, 0, 4, 0, 0, 0, 0];
