//! Where bytes go that were acknowledged but cannot be filed: other bytes under a stored SOP Instance UID that arrived
//! while the index was away. Nothing acknowledged is lost, and the first instance stays (CONFORMANCE ST-041).

use std::io::{self, Write as _};

use crate::Error;
use crate::archive::Inner;
use crate::source::verify_record;
use dicom_data::write_file_meta;
use journal::Record;

/// Bytes copied at a time.
const COPY_BYTES: u64 = 1 << 20;

/// Writes the record as a Part 10 file under `quarantine/`, durable on return. Writing it again changes nothing. What the
/// journal lost is reported and passed over, for trying again would hold up all that follows.
pub(crate) fn put_aside(archive: &Inner, record: &Record) -> Result<(), Error> {
    match verify_record(&archive.journal, &record.at) {
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
    let folder = archive.options.data.join("quarantine");
    let name = format!("{}-{}.dcm", record.head.sop_instance_uid, record.at.lsn.0);
    let write = || -> io::Result<()> {
        disk::files::create_directories(&folder)?;
        disk::files::replace(&folder.join(&name), |file| {
            file.write_all(&write_file_meta(
                &record.head.sop_class_uid,
                &record.head.sop_instance_uid,
                &record.head.transfer_syntax_uid,
                Some(&record.head.calling_ae),
            ))?;
            let mut at = 0;
            while at < record.at.payload_bytes {
                let end = (at + COPY_BYTES).min(record.at.payload_bytes);
                let part = archive.journal.read_payload(&record.at, at..end).map_err(io::Error::other)?;
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
