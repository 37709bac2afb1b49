//! The message services (PS3.7 §9): one operation after the other, each to its end.

mod delivery;
mod find;
mod get;
mod identifier;
mod moving;
mod progress;
mod retrieve;
mod storage;

use std::sync::Arc;
use std::time::Instant;

use archive::{Caller, Operation, Services};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::ae_title::AeTitle;
use crate::association::{Association, Incoming};
use crate::command::{CommandField, CommandSet};
use crate::end::End;
use crate::negotiation::Service;
use crate::options::{Rules, ServerOptions};
use crate::status::Status;

/// Who is at the other end.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) caller: Caller,
    pub(crate) calling_ae: AeTitle,
    pub(crate) called_ae: AeTitle,
    pub(crate) rules: Rules,
}

/// Serves one association.
#[derive(Debug)]
pub(crate) struct Scp<A> {
    pub(crate) archive: A,
    pub(crate) options: Arc<ServerOptions>,
    pub(crate) peer: Peer,
    /// Set when no new operation is to begin.
    pub(crate) stopping: CancellationToken,
    /// Set when nothing is to run any more.
    pub(crate) stopped: CancellationToken,
    /// Owns moves whose requestor is gone.
    pub(crate) leftovers: TaskTracker,
}

/// A request that has been taken apart: what it needs is there.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) context_id: u8,
    pub(crate) message_id: u16,
    pub(crate) command: CommandSet,
}

impl<A: Services> Scp<A> {
    /// Serves until the association ends, and tells why it did.
    pub(crate) async fn run(&self, association: &mut Association) -> End {
        loop {
            let next = self.stopping.run_until_cancelled(association.next()).await;
            let served = match next {
                None => return End::Shutdown,
                Some(Err(end)) => return end,
                Some(Ok(Incoming::Release)) => match association.reply_to_release().await {
                    Ok(()) => return End::Released,
                    Err(end) => return end,
                },
                Some(Ok(Incoming::Command(context_id, command))) => {
                    self.dispatch(association, context_id, command).await
                }
            };
            if let Err(end) = served {
                return end;
            }
        }
    }

    async fn dispatch(&self, association: &mut Association, context_id: u8, command: CommandSet) -> Result<(), End> {
        let field = command.field();
        if field == CommandField::Cancel || field == CommandField::Response {
            // A cancel that came after its operation had ended, or an answer to nothing.
            debug!(?field, "message without an operation");
            return association.drain().await;
        }
        let Some(message_id) = command.message_id() else {
            return Err(End::Violation(crate::pdu::AbortReason::InvalidParameter)); // DI-015
        };
        let context = association.context(context_id)?;
        let service = Service::of(&context.abstract_syntax);
        let class_fits = command.sop_class_uid() == Some(context.abstract_syntax.as_str());
        let request = Request { context_id, message_id, command };
        if association.is_duplicate() && field != CommandField::StoreRequest {
            // DI-012. An instance is not refused for its number: nothing cancels a C-STORE, so nothing is ambiguous.
            let status = Status::DUPLICATE_INVOCATION;
            return refuse(association, &request, status, "message ID is in use").await;
        }
        let begun = Instant::now();
        let (operation, status) = match (field, service) {
            (CommandField::EchoRequest, Some(Service::Verification)) if class_fits => {
                (Operation::CEcho, self.c_echo(association, &request).await?)
            }
            (CommandField::StoreRequest, Some(Service::Storage)) if class_fits => {
                (Operation::CStore, self.c_store(association, &request).await?)
            }
            (CommandField::FindRequest, Some(Service::Find(root))) if class_fits => {
                (Operation::CFind, self.c_find(association, &request, root).await?)
            }
            (CommandField::MoveRequest, Some(Service::Move(root))) if class_fits => {
                (Operation::CMove, self.c_move(association, &request, root).await?)
            }
            (CommandField::GetRequest, Some(Service::Get(root))) if class_fits => {
                (Operation::CGet, self.c_get(association, &request, root).await?)
            }
            (CommandField::Other, _) => {
                let status = Status::UNRECOGNIZED_OPERATION; // DI-011
                return refuse(association, &request, status, "operation is not offered").await;
            }
            (
                CommandField::EchoRequest
                | CommandField::StoreRequest
                | CommandField::FindRequest
                | CommandField::MoveRequest
                | CommandField::GetRequest
                | CommandField::Cancel
                | CommandField::Response,
                _,
            ) => {
                let status = Status::SOP_CLASS_NOT_SUPPORTED; // DI-011, ST-065
                let comment = "SOP class is not the one of the context";
                return refuse(association, &request, status, comment).await;
            }
        };
        self.archive.metrics().observe(operation, &status.to_string(), begun.elapsed());
        Ok(())
    }

    /// Verification (PS3.4 Annex A).
    async fn c_echo(&self, association: &mut Association, request: &Request) -> Result<Status, End> {
        association.drain().await?;
        let response = request.command.response(Status::SUCCESS);
        association.send(request.context_id, &response).await?;
        Ok(Status::SUCCESS)
    }
}

/// Answers a request that is not served, after its data set has been passed over.
async fn refuse(association: &mut Association, request: &Request, status: Status, comment: &str) -> Result<(), End> {
    warn!(%status, comment, "request refused");
    association.drain().await?;
    let response = request.command.response(status).with_comment(comment);
    association.send(request.context_id, &response).await
}
