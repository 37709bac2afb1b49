//! Where Filmroom keeps sealed instances: containers, erasure code, devices, pools. Knows no SQL and no DICOM attribute.

/// A container's UUIDv7 (contract; the module is written beside it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub uuid::Uuid);

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing of the kind.
    #[error("read container: it is not here")]
    Missing,
}
