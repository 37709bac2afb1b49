//! Why a data set cannot be read.

use super::SourceError;

/// An error of reading a data set, a file's meta information or DICOM JSON.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes are no data set in the transfer syntax; the same bytes fail for ever.
    #[error("read data set at byte {offset}: {reason}")]
    Malformed {
        /// Where reading stopped, counted from the first byte.
        offset: u64,
        /// What was wrong there.
        reason: &'static str,
    },
    /// An attribute without which the instance cannot be filed is absent or no UID.
    #[error("read data set: {keyword} is absent or no UID")]
    Missing {
        /// Keyword of the attribute.
        keyword: &'static str,
    },
    /// The bytes could not be had.
    #[error("read data set: its bytes cannot be had")]
    Source(#[from] SourceError),
}

impl ReadError {
    /// Builds the error for bytes that are wrong at `offset`.
    pub(crate) fn malformed(offset: u64, reason: &'static str) -> Self {
        Self::Malformed { offset, reason }
    }
}
