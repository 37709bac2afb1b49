//! What C-MOVE and C-GET have in common: which instances, and the responses (PS3.4 §C.4.2, §C.4.3).

use archive::InstanceRef;
use tracing::info;

use super::find::encoded;
use super::identifier::failed_list;
use super::progress::Progress;
use super::{Request, Scp};
use crate::association::Association;
use crate::end::End;
use crate::negotiation::Root;
use crate::status::Status;
use archive::Services;

impl<A: Services> Scp<A> {
    /// Reads the identifier and finds the instances; `Err` is the status that was answered.
    pub(super) async fn select(
        &self,
        association: &mut Association,
        request: &Request,
        root: Root,
    ) -> Result<Result<Vec<InstanceRef>, Status>, End> {
        let identifier = self.read_identifier(association, request, root).await?;
        let strict = self.is_strict(association, request)?;
        let selector = match identifier.and_then(|identifier| identifier.selector(strict)) {
            Ok(selector) => selector,
            Err(bad) => {
                return Ok(Err(self.refuse_identifier(association, request, bad).await?));
            }
        };
        let located = tokio::select! {
            biased;
            cancelled = association.cancelled(request.message_id) => cancelled.map(|()| None),
            located = self.archive.locate(&self.peer.caller, &selector) => Ok(Some(located)),
        };
        match located? {
            None => {
                let nothing = Progress::default();
                Ok(Err(self.finish(association, request, &nothing, Status::CANCEL).await?))
            }
            Some(Ok(instances)) => Ok(Ok(instances)),
            Some(Err(error)) => Ok(Err(self.fail(association, request, &error).await?)),
        }
    }

    /// Tells how far a retrieve has come.
    pub(super) async fn tell_pending(
        &self,
        association: &mut Association,
        request: &Request,
        progress: &Progress,
    ) -> Result<(), End> {
        let response = request.command.response(Status::PENDING);
        association.send(request.context_id, &progress.put(response, Status::PENDING)).await
    }

    /// Answers a retrieve for the last time, with the list of what failed (DI-086).
    pub(super) async fn finish(
        &self,
        association: &mut Association,
        request: &Request,
        progress: &Progress,
        status: Status,
    ) -> Result<Status, End> {
        info!(%status, %progress, "retrieve ended");
        let response = progress.put(request.command.response(status), status);
        if progress.has_failed() {
            let data = encoded(association, request, &failed_list(progress.failed()))?;
            association.send_with_data(request.context_id, response, data).await?;
        } else {
            association.send(request.context_id, &response).await?;
        }
        Ok(status)
    }
}
