//! The error of the crate: a variant for each thing that a caller can do about it.

use std::path::{Path, PathBuf};

use crate::record::Lsn;

/// An error of the journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The record is not there any more: its segment was recycled.
    #[error("read journal record: its segment was recycled")]
    Gone,
    /// No copy has the record's bytes as they were written.
    #[error("read journal record {}: no copy has it undamaged; restore the copy or have the instance sent again", .0.0)]
    Damaged(Lsn),
    /// The journal has reached its limit or the disk is full; space returns as studies are packed.
    #[error("append to journal: it is full; space returns as studies are packed (limit {bytes_max} bytes)")]
    Full {
        /// The configured limit.
        bytes_max: u64,
    },
    /// Too few copies work; only a restart helps, with the failed devices replaced.
    #[error("use journal: {healthy} of {required} required copies work; replace the device and restart")]
    Poisoned {
        /// Copies that still work.
        healthy: usize,
        /// Copies that must.
        required: usize,
    },
    /// The journal was closed.
    #[error("append to journal: it is closed")]
    Closed,
    /// This cannot be done with this record, ever.
    #[error("use journal: {reason}")]
    Refused {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The options contradict themselves.
    #[error("open journal: {reason}")]
    Options {
        /// What is wrong and what to set.
        reason: &'static str,
    },
    /// Another server uses the directory.
    #[error("open journal copy {}: another server has it open; stop that one or configure another directory", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The directories belong to two journals.
    #[error("open journal copy {}: it belongs to another journal than {}; configure copies of one journal", path.display(), other.display())]
    Foreign {
        /// One directory.
        path: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// Each directory holds records that the other lacks.
    #[error(
        "open journal copy {}: it and {} were each used without the other; configure one of them alone, and import the other one's instances from its segments",
        path.display(), other.display()
    )]
    Forked {
        /// One directory.
        path: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// A directory cannot be used as a copy.
    #[error("open journal copy {}: {reason}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A file operation failed.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or copy.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}
