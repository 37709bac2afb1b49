//! Taking one instance in: the store service behind C-STORE, STOW-RS and import.

use bytes::Bytes;

use crate::{Error, Uid};

/// Where an instance comes from and what was said about it before its data set.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Encoding of the data set (presentation context or file meta information).
    pub transfer_syntax_uid: Uid,
    /// What the command set or file meta information says; it must not contradict the data set.
    pub sop_class_uid: Option<Uid>,
    /// As above.
    pub sop_instance_uid: Option<Uid>,
    /// Study of the STOW-RS resource, if it names one.
    pub study_instance_uid: Option<Uid>,
    /// Calling AE title, empty for DICOMweb and import.
    pub calling_ae: String,
    /// Called AE title, empty for DICOMweb and import.
    pub called_ae: String,
}

/// Takes the bytes of one data set. Dropped before `finish`, it leaves nothing behind.
#[derive(Debug)]
pub struct Receiver {}

impl Receiver {
    /// Takes the next bytes; waits while the disks are slower than the sender.
    pub async fn write(&mut self, _chunk: Bytes) -> Result<(), Error> {
        Ok(())
    }

    /// Files the instance: returns when it is durable on every journal copy. What was begun is finished
    /// even if the call is dropped.
    pub async fn finish(self) -> Result<Stored, Error> {
        Err(Error::NotFound { what: "receiver" })
    }
}

/// What became of an instance.
#[derive(Debug, Clone)]
pub struct Stored {
    /// SOP Class UID of the data set.
    pub sop_class_uid: Uid,
    /// SOP Instance UID of the data set.
    pub sop_instance_uid: Uid,
    /// Study Instance UID of the data set.
    pub study_instance_uid: Uid,
    /// Series Instance UID of the data set.
    pub series_instance_uid: Uid,
    /// New or known.
    pub outcome: Outcome,
}

/// Whether the instance is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there before.
    New,
    /// The same bytes were already stored.
    Duplicate,
}
