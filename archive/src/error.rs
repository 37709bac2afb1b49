//! What can go wrong in the archive; a variant exists because an adapter answers it differently.

use std::fmt;

use dicom_data::ReadError;
use dicom_data::query::InvalidKey;

/// An error of the archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data set cannot be read; the same bytes fail for ever (C000).
    #[error("read data set at byte {offset}: {reason}")]
    Malformed {
        /// Where reading stopped.
        offset: u64,
        /// What was wrong there.
        reason: &'static str,
    },
    /// A UID without which nothing can be filed is absent or no UID (A900).
    #[error("file instance: {keyword} is absent or invalid")]
    MissingIdentifier {
        /// Keyword of the attribute.
        keyword: &'static str,
    },
    /// The data set contradicts the command set, file meta information or resource (A900, C409).
    #[error("file instance: {keyword} contradicts the request")]
    Contradiction {
        /// Keyword of the attribute.
        keyword: &'static str,
    },
    /// Instances of this SOP class are not stored (0122).
    #[error("file instance: its SOP class is not a storage class that is taken here")]
    SopClassNotSupported,
    /// Data sets in this transfer syntax are not stored (C122).
    #[error("file instance: its transfer syntax is not taken here")]
    TransferSyntaxNotSupported,
    /// The same SOP Instance UID is stored with other bytes; the first is kept (C410).
    #[error("file instance: another instance with the same UIDs is already stored, and the first is kept")]
    Conflict,
    /// The instance was deleted and stays so (C411, 410).
    #[error("file instance: it was deleted")]
    Deleted,
    /// Nothing can be stored now; the sender may try again (A700, 503).
    #[error("store instance: {reason}")]
    OutOfResources {
        /// What is short and what gives it back.
        reason: String,
    },
    /// The data set is longer than the configured limit (A700, 413).
    #[error("store instance: it is longer than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// A query key cannot be used (A900, 400).
    #[error(transparent)]
    InvalidKey(#[from] InvalidKey),
    /// The index cannot be asked now (A700, 503).
    #[error("ask the index: it is away, try again in some seconds")]
    IndexAway(#[source] Option<index::Error>),
    /// The index failed in a way that does not pass by itself (500, Cxxx).
    #[error("use the index")]
    Index(#[source] index::Error),
    /// No such instance, frame or bulk data (404).
    #[error("retrieve: there is no such {what}")]
    NotFound {
        /// Instance, frame or bulk data.
        what: &'static str,
    },
    /// The caller lacks the right (0124, 403).
    #[error("serve caller: it has no right to {right}")]
    NotAllowed {
        /// What it may not do.
        right: crate::rights::Right,
    },
    /// The frame cannot be told apart or decoded as asked (406).
    #[error("retrieve frame: {reason}")]
    NoFrames {
        /// Why.
        reason: &'static str,
    },
    /// A container cannot serve the instance, or no pool takes one; others are served (500, Cxxx).
    #[error("use the pools")]
    Tiering(#[source] tiering::Error),
    /// Devices do not answer, more than the code replaces; they may in some seconds, or others take their place (A700, 503).
    #[error("use the pools: too many devices do not answer, try again in some seconds")]
    DevicesSilent(#[source] tiering::Error),
    /// The journal cannot serve the record.
    #[error("read the journal")]
    Journal(#[from] journal::Error),
    /// The job was cancelled, or the archive stops (A700, 503).
    #[error("run job: it was cancelled")]
    Cancelled,
    /// Another process has the data directory.
    #[error("open the data directory: another filmroom uses it, stop that one first")]
    Locked,
    /// A local file failed.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl From<tiering::Error> for Error {
    fn from(error: tiering::Error) -> Self {
        let silent = matches!(error, tiering::Error::Unanswered { .. });
        if silent { Self::DevicesSilent(error) } else { Self::Tiering(error) }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Malformed { offset, reason } => Self::Malformed { offset, reason },
            ReadError::Missing { keyword } => Self::MissingIdentifier { keyword },
            // What failed below comes out again as what it was: a record that is gone is looked for elsewhere.
            ReadError::Source(source) => match source.0.downcast::<journal::Error>() {
                Ok(error) => Self::Journal(error),
                Err(source) => match source.downcast::<tiering::Error>() {
                    Ok(error) => Self::Tiering(error),
                    Err(source) => Self::Io { doing: "read a data set", source },
                },
            },
        }
    }
}

impl From<index::Error> for Error {
    fn from(error: index::Error) -> Self {
        match error {
            index::Error::InvalidKey(key) => Self::InvalidKey(key),
            index::Error::Away(_) => Self::IndexAway(Some(error)),
            index::Error::Statement(_)
            | index::Error::Migrate(_)
            | index::Error::Unsuitable { .. }
            | index::Error::Damaged { .. }
            | index::Error::NotFound { .. }
            | index::Error::NoPrograms
            | index::Error::ProgramVersion { .. }
            | index::Error::Cluster { .. }
            | index::Error::Io { .. } => Self::Index(error),
        }
    }
}

impl Error {
    /// A journal that cannot take a record: the sender may try again.
    pub(crate) fn from_journal_write(error: &journal::Error) -> Self {
        tracing::warn!(error = %Chain(error), "the journal takes no instance");
        Self::OutOfResources { reason: error.to_string() }
    }
}

/// Shows an error with everything that caused it, on one line.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_may_answer_soon_are_not_told_as_lost_bytes() {
        let container = tiering::ContainerId(uuid::Uuid::nil());
        let silent = tiering::Error::Unanswered { container, shards: vec![1, 2, 4] };
        assert!(matches!(Error::from(silent), Error::DevicesSilent(_)));
        let lost = tiering::Error::Lost { container, missing: vec![1, 2, 4] };
        assert!(matches!(Error::from(lost), Error::Tiering(_)));
    }
}
