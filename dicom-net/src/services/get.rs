//! C-GET SCP (PS3.4 §C.4.3): sub-operations go back over the association they were asked on.

use archive::{Error, InstanceBody, InstanceRef};
use futures_util::StreamExt;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{debug, warn};

use super::progress::Progress;
use super::{Request, Scp};
use crate::association::{Association, SendError};
use crate::command::{CommandSet, element};
use crate::end::End;
use crate::negotiation::{Context, Root};
use crate::status::Status;
use archive::Services;

/// What happened while waiting for the next instance.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack; a box for each instance would cost more")]
enum Next {
    Cancelled,
    Tick,
    Opened(Option<(InstanceRef, Result<InstanceBody, Error>)>),
}

impl<A: Services> Scp<A> {
    /// Sends what was asked for over this association.
    pub(super) async fn c_get(
        &self,
        association: &mut Association,
        request: &Request,
        root: Root,
    ) -> Result<Status, End> {
        let instances = match self.select(association, request, root).await? {
            Ok(instances) => instances,
            Err(status) => return Ok(status),
        };
        let mut progress = Progress::of(instances.len());
        let (sendable, refused): (Vec<_>, Vec<_>) =
            instances.into_iter().partition(|instance| context_for(association, instance).is_some());
        for instance in &refused {
            progress.fail(instance); // DI-102, DI-105
        }
        if !refused.is_empty() {
            warn!(refused = refused.len(), "no context for instances");
        }
        let mut opened = self.archive.open_all(&self.peer.caller, sendable);
        let every = association.timeouts().pending_every;
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut message_id = request.message_id;
        let mut cancelled = false;
        while !cancelled {
            let next = tokio::select! {
                biased;
                cancelled = association.cancelled(request.message_id) => {
                    cancelled.map(|()| Next::Cancelled)
                }
                _ = ticks.tick() => Ok(Next::Tick),
                opened = opened.next() => Ok(Next::Opened(opened)),
            };
            match next? {
                Next::Cancelled => cancelled = true,
                Next::Tick => self.tell_pending(association, request, &progress).await?,
                Next::Opened(None) => break,
                Next::Opened(Some((instance, Err(error)))) => {
                    warn!(sop_instance_uid = %instance.sop_instance_uid, %error, "cannot open");
                    progress.fail(&instance);
                }
                Next::Opened(Some((instance, Ok(body)))) => {
                    message_id = following(message_id, request.message_id);
                    let sent = give(association, &instance, body, message_id).await?;
                    cancelled = sent.cancelled.contains(&request.message_id);
                    progress.count(&instance, sent.status);
                }
            }
        }
        let status = if cancelled { Status::CANCEL } else { progress.final_status() };
        self.finish(association, request, &progress, status).await
    }
}

/// The outcome of one sub-operation.
struct Sent {
    status: Status,
    /// Messages that were cancelled while it ran.
    cancelled: Vec<u16>,
}

async fn give(
    association: &mut Association,
    instance: &InstanceRef,
    body: InstanceBody,
    message_id: u16,
) -> Result<Sent, End> {
    let mut cancelled = Vec::new();
    let failed = Sent { status: Status::PROCESSING_FAILURE, cancelled: Vec::new() };
    let Some(context_id) = context_for(association, instance).map(|context| context.id) else {
        return Ok(failed);
    };
    let command = store_command(instance, message_id);
    match association.send_body(context_id, command, body).await {
        Ok(()) => {}
        Err(SendError::Unreadable(error)) => {
            warn!(sop_instance_uid = %instance.sop_instance_uid, %error, "cannot read");
            return Ok(failed);
        }
        Err(SendError::Ended(end)) => return Err(end),
    }
    let response = association.response(message_id, |id| cancelled.push(id)).await?;
    debug!(sop_instance_uid = %instance.sop_instance_uid, status = %response.status(), "sent");
    Ok(Sent { status: response.status(), cancelled })
}

/// Returns the C-STORE-RQ of a sub-operation.
pub(super) fn store_command(instance: &InstanceRef, message_id: u16) -> CommandSet {
    CommandSet::request(0x0001, message_id, instance.sop_class_uid.as_str())
        .with_uid(element::AFFECTED_SOP_INSTANCE_UID, instance.sop_instance_uid.as_str())
        .with_u16(element::PRIORITY, 0)
}

/// Returns the next message ID of ours, never that of the retrieve itself (DI-103).
fn following(message_id: u16, taken: u16) -> u16 {
    let next = message_id.wrapping_add(1);
    if next == taken { next.wrapping_add(1) } else { next }
}

/// Returns the context in which an instance can be sent as it is stored.
fn context_for<'a>(association: &'a Association, instance: &InstanceRef) -> Option<&'a Context> {
    let contexts = association.contexts();
    let (class, syntax) = (instance.sop_class_uid.as_str(), instance.transfer_syntax_uid.as_str());
    contexts.with_syntax(class, syntax).filter(|context| context.requestor_is_scp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_go_round_and_skip_the_retrieves_own() {
        // DI-103
        assert_eq!(following(7, 7), 8);
        assert_eq!(following(u16::MAX, 7), 0);
        assert_eq!(following(6, 7), 8);
    }
}
