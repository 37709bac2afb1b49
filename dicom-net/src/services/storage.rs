//! Storage SCP (PS3.4 Annex B): data sets stream into the archive as they arrive.

use archive::{Error, Origin, Outcome};
use tracing::{debug, warn};

use super::{Request, Scp};
use crate::ae_title::AeTitle;
use crate::association::Association;
use crate::command::element;
use crate::end::End;
use crate::status::Status;
use archive::{ReceiveInstance as _, Services};

/// Why an instance was not stored; the comment says nothing about a patient.
struct Refused {
    status: Status,
    comment: &'static str,
}

impl<A: Services> Scp<A> {
    /// Takes one instance in and answers when it is durable (PS3.4 §B.2.3). Whatever goes wrong
    /// with the instance, its message is read to the end and the association goes on (DI-014).
    pub(super) async fn c_store(&self, association: &mut Association, request: &Request) -> Result<Status, End> {
        let taken = match self.begin(association, request) {
            Ok(receiver) => self.take_in(association, request, receiver).await?,
            Err(refused) => Err(refused),
        };
        association.drain().await?;
        let response = match &taken {
            Ok(()) => request.command.response(Status::SUCCESS),
            Err(refused) => request.command.response(refused.status).with_comment(refused.comment),
        };
        association.send(request.context_id, &response).await?;
        Ok(taken.map_or_else(|refused| refused.status, |()| Status::SUCCESS))
    }

    fn begin(&self, association: &Association, request: &Request) -> Result<A::Receiver, Refused> {
        let invalid =
            |_| Refused { status: Status::INVALID_ARGUMENT, comment: "SOP class or transfer syntax is no UID" };
        let no_instance = Refused { status: Status::INVALID_SOP_INSTANCE, comment: "(0000,1000) is absent or no UID" };
        if !request.command.has_data_set() {
            return Err(Refused { status: Status::CANNOT_UNDERSTAND, comment: "C-STORE without a data set" });
        }
        let context = association
            .context(request.context_id)
            .map_err(|_| Refused { status: Status::SOP_CLASS_NOT_SUPPORTED, comment: "context is not accepted" })?;
        let instance = request.command.text(element::AFFECTED_SOP_INSTANCE_UID);
        let instance = instance.and_then(|uid| uid.parse().ok()).ok_or(no_instance)?;
        let originator = request.command.text(element::MOVE_ORIGINATOR_AE);
        if let Some(Ok(move_originator)) = originator.map(str::parse::<AeTitle>) {
            debug!(%move_originator, "instance comes from a move"); // DI-040
        }
        let origin = Origin {
            transfer_syntax_uid: context.transfer_syntax.parse().map_err(invalid)?,
            sop_class_uid: Some(context.abstract_syntax.parse().map_err(invalid)?),
            sop_instance_uid: Some(instance),
            study_instance_uid: None,
            calling_ae: self.peer.calling_ae.to_string(),
            called_ae: self.peer.called_ae.to_string(),
        };
        self.archive.receive(&self.peer.caller, origin).map_err(|error| refused(&error))
    }

    async fn take_in(
        &self,
        association: &mut Association,
        request: &Request,
        mut receiver: A::Receiver,
    ) -> Result<Result<(), Refused>, End> {
        let bytes_max = self.options.instance_bytes_max;
        let mut room = bytes_max;
        while let Some(chunk) = association.next_data().await? {
            let chunk_bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            let Some(rest) = room.checked_sub(chunk_bytes) else {
                return Ok(Err(refused(&Error::TooLarge { bytes_max })));
            };
            room = rest;
            // Waiting here is what slows the sender down when the disks are slower (DI-042).
            if let Err(error) = receiver.write(chunk).await {
                return Ok(Err(refused(&error)));
            }
        }
        let finished = beside(association, request.message_id, receiver.finish()).await?;
        Ok(match finished {
            Ok(stored) => {
                let instance = &stored.sop_instance_uid;
                match stored.outcome {
                    Outcome::New => debug!(sop_instance_uid = %instance, "instance stored"),
                    Outcome::Duplicate => debug!(sop_instance_uid = %instance, "instance known"),
                }
                Ok(())
            }
            Err(error) => Err(refused(&error)),
        })
    }
}

/// Waits for `work` unless the association ends first; a cancel changes nothing (PS3.7 §9.3.1).
async fn beside<T>(association: &mut Association, message_id: u16, work: impl Future<Output = T>) -> Result<T, End> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            cancelled = association.cancelled(message_id) => cancelled?,
        }
    }
}

/// Maps an error to the status of PS3.4 §B.2.3, and logs it.
fn refused(error: &Error) -> Refused {
    let (status, comment) = match error {
        Error::Malformed { .. } => (Status::CANNOT_UNDERSTAND, "data set cannot be read"),
        Error::MissingIdentifier { keyword } | Error::Contradiction { keyword } => {
            (Status::DATA_SET_MISMATCH, *keyword)
        }
        Error::NotAllowed { .. } => (Status::NOT_AUTHORIZED, "this peer may not store"),
        Error::Conflict => (Status::CONFLICT, "SOP Instance UID is stored with other content"),
        Error::SopClassNotSupported => (Status::SOP_CLASS_NOT_SUPPORTED, "no storage SOP class"),
        Error::TransferSyntaxNotSupported => (Status::CANNOT_UNDERSTAND, "transfer syntax is not taken"),
        Error::Deleted => (Status::DELETED, "instance was deleted and stays so"),
        Error::OutOfResources { .. } => (Status::OUT_OF_RESOURCES, "no room now, try again"),
        Error::TooLarge { .. } => (Status::OUT_OF_RESOURCES, "instance is too large"),
        Error::IndexAway(_) => (Status::OUT_OF_RESOURCES, "index is away, try again"),
        Error::DevicesSilent(_) => (Status::OUT_OF_RESOURCES, "devices do not answer, try again"),
        Error::Journal(_) | Error::Io { .. } => (Status::OUT_OF_RESOURCES, "store failed, try again"),
        Error::Cancelled => (Status::OUT_OF_RESOURCES, "server is stopping, try again"),
        Error::InvalidKey(_)
        | Error::NotFound { .. }
        | Error::NoFrames { .. }
        | Error::Locked
        | Error::Index(_)
        | Error::Tiering(_) => (Status::PROCESSING_FAILURE, "store failed"),
    };
    warn!(%status, %error, "instance refused");
    Refused { status, comment }
}
