//! The data set to append.

use bytes::Bytes;
use uuid::Uuid;

use crate::large::LargePayload;

/// The data set to append.
#[derive(Debug)]
pub enum Payload {
    /// In memory, in pieces; at most `JournalOptions::inline_bytes_max` together.
    Inline(Vec<Bytes>),
    /// Already on the disks.
    Large(LargePayload),
}

impl Payload {
    /// Returns the pieces in memory; none if it has a file of its own.
    pub(crate) fn pieces(&self) -> &[Bytes] {
        match self {
            Self::Inline(pieces) => pieces,
            Self::Large(_) => &[],
        }
    }

    /// Returns the name of its file, if it has one.
    pub(crate) fn large_id(&self) -> Option<Uuid> {
        match self {
            Self::Large(large) => Some(large.id()),
            Self::Inline(_) => None,
        }
    }
}
