//! What goes wrong with a cluster of our own, as errors.

use crate::error::Error;

pub(super) fn cluster_error(reason: impl Into<String>) -> Error {
    Error::Cluster { reason: reason.into() }
}

pub(super) fn io_error(doing: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io { doing, source }
}
