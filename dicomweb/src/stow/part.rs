//! One part on its way into the archive.

use archive::{Caller, Origin};
use bytes::{Bytes, BytesMut};
use dicom_data::Uid;
use dicom_data::{FileMeta, FileMetaRead, read_file_meta, transfer_syntax};

use super::answer::Outcome;
use super::failure::{Failure, log_failure};
use archive::{ReceiveInstance, Services};

/// Longest preamble with file meta information that is waited for.
const META_BYTES_MAX: usize = 128 * 1024;

/// A part of which some bytes have arrived. A part that fails swallows the rest of its bytes (WE-167).
pub(super) struct Part<R> {
    outcome: Outcome,
    state: State<R>,
    bytes: u64,
    bytes_max: u64,
}

enum State<R> {
    /// Reading preamble and file meta information.
    Meta(BytesMut),
    /// Reading the data set.
    DataSet(R),
    Failed,
}

impl<R: ReceiveInstance> Part<R> {
    /// Begins part number `part` of a request.
    pub(super) fn new(part: u64, content_type: Option<&str>, bytes_max: u64) -> Self {
        let mut new =
            Self { outcome: Outcome::of_part(part), state: State::Meta(BytesMut::new()), bytes: 0, bytes_max };
        let essence = content_type.map(|text| text.split(';').next().unwrap_or(text).trim());
        if essence.is_some_and(|essence| !essence.eq_ignore_ascii_case("application/dicom")) {
            new.fail(Failure::CannotUnderstand);
        }
        new
    }

    /// Takes the next bytes.
    pub(super) async fn write<A>(&mut self, archive: &A, caller: &Caller, study: Option<&Uid>, data: Bytes)
    where
        A: Services<Receiver = R>,
    {
        self.bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
        let data = match &mut self.state {
            State::Failed => return,
            State::DataSet(_) => data,
            State::Meta(prefix) => {
                prefix.extend_from_slice(&data);
                match self.open(archive, caller, study) {
                    Ok(Some(data)) => data,
                    Ok(None) => return,
                    Err(failure) => return self.fail(failure),
                }
            }
        };
        // Checked when the UIDs are known, so that the sender learns which instance it was.
        if self.bytes > self.bytes_max {
            self.fail(Failure::TooLarge);
        }
        if let State::DataSet(receiver) = &mut self.state
            && !data.is_empty()
            && let Err(error) = receiver.write(data).await
        {
            self.fail(log_failure(&error));
        }
    }

    /// Ends the part: what is left to do is to file it.
    pub(super) fn end(mut self) -> Result<(R, Outcome), Outcome> {
        match self.state {
            State::DataSet(receiver) => Ok((receiver, self.outcome)),
            State::Failed => Err(self.outcome),
            State::Meta(_) => {
                self.outcome.fail(Failure::CannotUnderstand);
                Err(self.outcome)
            }
        }
    }

    fn fail(&mut self, failure: Failure) {
        if !matches!(self.state, State::Failed) {
            self.outcome.fail(failure);
            self.state = State::Failed;
        }
    }

    /// Reads the file meta information if all of it is there; returns the first bytes of the data set.
    fn open<A>(&mut self, archive: &A, caller: &Caller, study: Option<&Uid>) -> Result<Option<Bytes>, Failure>
    where
        A: Services<Receiver = R>,
    {
        let State::Meta(prefix) = &mut self.state else {
            return Ok(None);
        };
        let (meta, offset) = match read_file_meta(prefix) {
            Ok(FileMetaRead::Meta { meta, data_set_offset }) => (meta, data_set_offset),
            Ok(FileMetaRead::NeedMore) if prefix.len() <= META_BYTES_MAX => return Ok(None),
            Ok(FileMetaRead::NeedMore | FileMetaRead::NotPart10) | Err(_) => {
                return Err(Failure::CannotUnderstand);
            }
        };
        // The preamble is dropped: files we write have a zero one (WE-177).
        let data = prefix.split_off(offset.min(prefix.len())).freeze();
        self.outcome.sop_class_uid.clone_from(&meta.media_storage_sop_class_uid);
        self.outcome.sop_instance_uid.clone_from(&meta.media_storage_sop_instance_uid);
        let receiver = archive.receive(caller, origin(meta, study)?).map_err(|error| log_failure(&error))?;
        self.state = State::DataSet(receiver);
        Ok(Some(data))
    }
}

/// Says what is known before the data set; its transfer syntax must be one we take.
fn origin(meta: FileMeta, study: Option<&Uid>) -> Result<Origin, Failure> {
    let transfer_syntax_uid = meta.transfer_syntax_uid.ok_or(Failure::CannotUnderstand)?;
    if !transfer_syntax(transfer_syntax_uid.as_str()).is_some_and(|known| known.accepted) {
        return Err(Failure::TransferSyntax);
    }
    Ok(Origin {
        transfer_syntax_uid,
        sop_class_uid: meta.media_storage_sop_class_uid,
        sop_instance_uid: meta.media_storage_sop_instance_uid,
        study_instance_uid: study.cloned(),
        calling_ae: String::new(),
        called_ae: String::new(),
    })
}
