//! C-FIND SCP (PS3.4 §C.4.1): matches are sent as they are found.

use archive::Error;
use dicom_data::Attributes;
use futures_util::StreamExt;
use tracing::{debug, warn};

use super::identifier::{Asked, BadIdentifier, IDENTIFIER_BYTES_MAX, Identifier};
use super::{Request, Scp};
use crate::association::Association;
use crate::end::End;
use crate::negotiation::Root;
use crate::status::Status;
use archive::Services;

impl<A: Services> Scp<A> {
    /// Answers a query.
    pub(super) async fn c_find(
        &self,
        association: &mut Association,
        request: &Request,
        root: Root,
    ) -> Result<Status, End> {
        let identifier = match self.read_identifier(association, request, root).await? {
            Ok(identifier) => identifier,
            Err(bad) => return self.refuse_identifier(association, request, bad).await,
        };
        match identifier.query(self.is_strict(association, request)?) {
            Ok(asked) => self.answer(association, request, &identifier, asked).await,
            Err(bad) => self.refuse_identifier(association, request, bad).await,
        }
    }

    /// Tells whether an identifier must name the levels above its own (QR-011).
    pub(super) fn is_strict(&self, association: &Association, request: &Request) -> Result<bool, End> {
        let relational = association.context(request.context_id)?.relational;
        Ok(self.peer.rules.strict_identifiers && !relational)
    }

    /// Reads the identifier of a query or retrieve.
    pub(super) async fn read_identifier(
        &self,
        association: &mut Association,
        request: &Request,
        root: Root,
    ) -> Result<Result<Identifier, BadIdentifier>, End> {
        let Some(bytes) = association.read_data(IDENTIFIER_BYTES_MAX).await? else {
            let comment = "identifier is too long";
            return Ok(Err(BadIdentifier { status: Status::OUT_OF_RESOURCES, comment }));
        };
        let syntax = &association.context(request.context_id)?.transfer_syntax;
        Ok(Identifier::read(&bytes, syntax, root))
    }

    /// Answers a query or retrieve whose identifier cannot be used.
    pub(super) async fn refuse_identifier(
        &self,
        association: &mut Association,
        request: &Request,
        bad: BadIdentifier,
    ) -> Result<Status, End> {
        warn!(status = %bad.status, comment = bad.comment, "identifier refused");
        let response = request.command.response(bad.status).with_comment(bad.comment);
        association.send(request.context_id, &response).await?;
        Ok(bad.status)
    }

    async fn answer(
        &self,
        association: &mut Association,
        request: &Request,
        identifier: &Identifier,
        asked: Asked,
    ) -> Result<Status, End> {
        let pending = if asked.has_unmatched_keys { Status::PENDING_UNMATCHED_KEYS } else { Status::PENDING };
        debug!(level = ?identifier.level, keys = asked.query.keys.len(), "query");
        let searched = tokio::select! {
            biased;
            cancelled = association.cancelled(request.message_id) => cancelled.map(|()| None),
            searched = self.archive.search(&self.peer.caller, asked.query) => Ok(Some(searched)),
        };
        let mut matches = match searched? {
            None => return self.conclude(association, request, Status::CANCEL).await,
            Some(Ok(matches)) => matches,
            Some(Err(error)) => return self.fail(association, request, &error).await,
        };
        loop {
            // The socket is looked at before each match, so that a cancel is never overtaken.
            let found = tokio::select! {
                biased;
                cancelled = association.cancelled(request.message_id) => cancelled.map(|()| None),
                found = matches.next() => Ok(Some(found)),
            };
            match found? {
                None => return self.conclude(association, request, Status::CANCEL).await,
                Some(None) => return self.conclude(association, request, Status::SUCCESS).await,
                Some(Some(Ok(found))) => {
                    let answer = identifier.answer(&found, self.retrieve_ae());
                    self.send_match(association, request, pending, &answer).await?;
                }
                Some(Some(Err(error))) => return self.fail(association, request, &error).await,
            }
        }
    }

    async fn send_match(
        &self,
        association: &mut Association,
        request: &Request,
        pending: Status,
        answer: &Attributes,
    ) -> Result<(), End> {
        let response = request.command.response(pending);
        let data = encoded(association, request, answer)?;
        association.send_with_data(request.context_id, response, data).await
    }

    async fn conclude(&self, association: &mut Association, request: &Request, status: Status) -> Result<Status, End> {
        association.send(request.context_id, &request.command.response(status)).await?;
        Ok(status)
    }

    /// Answers a query or retrieve that the archive cannot serve.
    pub(super) async fn fail(
        &self,
        association: &mut Association,
        request: &Request,
        error: &Error,
    ) -> Result<Status, End> {
        let (status, comment) = failure(error);
        warn!(%status, %error, "query failed");
        let response = request.command.response(status).with_comment(comment);
        association.send(request.context_id, &response).await?;
        Ok(status)
    }

    /// Returns the title under which what is found can be retrieved.
    pub(super) fn retrieve_ae(&self) -> &str {
        self.options.ae_titles.first().unwrap_or(&self.peer.called_ae).as_str()
    }
}

/// Encodes a response identifier in the transfer syntax of the request's context.
pub(super) fn encoded(
    association: &Association,
    request: &Request,
    attributes: &Attributes,
) -> Result<bytes::Bytes, End> {
    let syntax = &association.context(request.context_id)?.transfer_syntax;
    let syntax = dicom_data::transfer_syntax(syntax).ok_or(End::Torn("response identifier has no transfer syntax"))?;
    Ok(dicom_data::encode(attributes, syntax).into())
}

/// Maps an error to a status of PS3.4 §C.4.1.1.4.
fn failure(error: &Error) -> (Status, &'static str) {
    match error {
        Error::InvalidKey(invalid) => (Status::DATA_SET_MISMATCH, invalid.reason),
        Error::IndexAway(_) | Error::OutOfResources { .. } | Error::Cancelled => {
            (Status::OUT_OF_RESOURCES, "index is away, try again")
        }
        Error::NotAllowed { .. } => (Status::NOT_AUTHORIZED, "this peer may not do that"),
        Error::Malformed { .. }
        | Error::MissingIdentifier { .. }
        | Error::Contradiction { .. }
        | Error::Conflict
        | Error::Deleted
        | Error::TooLarge { .. }
        | Error::NotFound { .. }
        | Error::NoFrames { .. }
        | Error::SopClassNotSupported
        | Error::TransferSyntaxNotSupported
        | Error::Locked
        | Error::Index(_)
        | Error::Tiering(_)
        | Error::DevicesSilent(_)
        | Error::Journal(_)
        | Error::Io { .. } => (Status::CANNOT_UNDERSTAND, "query failed"),
    }
}
