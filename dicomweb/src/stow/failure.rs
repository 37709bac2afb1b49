//! Why an instance was not stored (PS3.18 §I).

use archive::Error;

use crate::problem::Chain;

/// Why an instance was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing can be stored now.
    OutOfResources,
    /// The client lacks the right to store.
    NotAllowed,
    /// It is longer than a bound.
    TooLarge,
    /// A UID is absent or contradicts the file meta information.
    DoesNotMatch,
    /// It is no readable Part 10 file.
    CannotUnderstand,
    /// Its SOP class is not taken.
    SopClass,
    /// Its transfer syntax is not taken.
    TransferSyntax,
    /// It belongs to another study than the resource.
    OtherStudy,
    /// Another instance has the same UIDs.
    Conflict,
    /// It was deleted and stays so.
    Deleted,
    /// Something failed on our side.
    Processing,
}

impl Failure {
    /// Returns the Failure Reason (0008,1197) (WE-169, WE-170, WE-171).
    pub(super) fn reason(self) -> u16 {
        match self {
            Self::OutOfResources | Self::TooLarge => 0xA700,
            Self::NotAllowed => 0x0124,
            Self::DoesNotMatch => 0xA900,
            Self::CannotUnderstand => 0xC000,
            Self::SopClass => 0x0122,
            Self::TransferSyntax => 0xC122,
            Self::OtherStudy => 0xC409,
            Self::Conflict => 0xC410,
            Self::Deleted => 0xC411,
            Self::Processing => 0x0110,
        }
    }
}

/// Returns how an error of the archive is reported, and logs what is our fault.
pub(super) fn log_failure(error: &Error) -> Failure {
    let failure = failure_of(error);
    if failure == Failure::Processing || failure == Failure::OutOfResources {
        tracing::warn!(error = %Chain(error), "instance not stored");
    }
    failure
}

/// Every variant by name, so that a new one has to be thought about.
fn failure_of(error: &Error) -> Failure {
    match error {
        Error::Malformed { .. } => Failure::CannotUnderstand,
        Error::Contradiction { keyword: "StudyInstanceUID" } => Failure::OtherStudy,
        Error::MissingIdentifier { .. } | Error::Contradiction { .. } => Failure::DoesNotMatch,
        Error::NotAllowed { .. } => Failure::NotAllowed,
        Error::SopClassNotSupported => Failure::SopClass,
        Error::TransferSyntaxNotSupported => Failure::TransferSyntax,
        Error::Conflict => Failure::Conflict,
        Error::Deleted => Failure::Deleted,
        Error::OutOfResources { .. } | Error::IndexAway(_) | Error::DevicesSilent(_) | Error::Cancelled => {
            Failure::OutOfResources
        }
        Error::TooLarge { .. } => Failure::TooLarge,
        Error::InvalidKey(_)
        | Error::NotFound { .. }
        | Error::NoFrames { .. }
        | Error::Locked
        | Error::Index(_)
        | Error::Tiering(_)
        | Error::Journal(_)
        | Error::Io { .. } => Failure::Processing,
    }
}
