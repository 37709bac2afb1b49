//! Where bytes go that were acknowledged but cannot be filed: other bytes under a stored SOP Instance UID that arrived
//! while the index was away. Nothing acknowledged is lost, and the first instance stays (CONFORMANCE ST-041).

use std::io::{self, Write as _};
use std::path::PathBuf;

use dicom_data::write_file_meta;
use journal::Record;

use crate::Error;
use crate::unsealed::Unsealed;

/// Bytes copied at a time.
const COPY_BYTES: u64 = 1 << 20;

/// The directory of what was put aside.
#[derive(Debug, Clone)]
pub(crate) struct Quarantine {
    folder: PathBuf,
}

impl Quarantine {
    /// Takes the data directory; the quarantine is made in it when it is needed.
    pub(crate) fn new(data: &std::path::Path) -> Self {
        Self { folder: data.join("quarantine") }
    }

    /// Writes the record as a Part 10 file, durable on return. Writing it again changes nothing. A record that the journal
    /// lost is reported and passed over, for trying again would hold up all that follows. Blocks.
    pub(crate) fn put_aside(&self, unsealed: &Unsealed, record: &Record) -> Result<(), Error> {
        match unsealed.verify(&record.at) {
            Ok(()) => {}
            Err(error @ (journal::Error::Damaged(_) | journal::Error::Gone)) => {
                tracing::error!(
                    study_instance_uid = %record.head.study_instance_uid,
                    sop_instance_uid = %record.head.sop_instance_uid,
                    error = %crate::Chain(&error),
                    "other bytes of a stored instance cannot be put in quarantine: the journal lost them"
                );
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        let name = format!("{}-{}.dcm", record.head.sop_instance_uid, record.at.lsn.0);
        let write = || -> io::Result<()> {
            disk::files::create_directories(&self.folder)?;
            disk::files::replace(&self.folder.join(&name), |file| {
                file.write_all(&write_file_meta(
                    &record.head.sop_class_uid,
                    &record.head.sop_instance_uid,
                    &record.head.transfer_syntax_uid,
                    Some(&record.head.calling_ae),
                ))?;
                let mut at = 0;
                while at < record.at.payload_bytes {
                    let end = (at + COPY_BYTES).min(record.at.payload_bytes);
                    let part = unsealed.read(&record.at, at..end).map_err(io::Error::other)?;
                    file.write_all(&part)?;
                    at = end;
                }
                Ok(())
            })
        };
        write().map_err(|source| Error::Io { doing: "put an instance aside in quarantine", source })?;
        tracing::error!(
            study_instance_uid = %record.head.study_instance_uid,
            sop_instance_uid = %record.head.sop_instance_uid,
            file = name,
            "an instance with other bytes was already stored: the first is kept, this one is in quarantine"
        );
        Ok(())
    }
}
