//! The sub-operations of C-MOVE: C-STORE to another node (CONFORMANCE 2.4, 2.6).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use archive::{Caller, InstanceBody, InstanceRef, Services};
use futures_util::StreamExt;
use tracing::{debug, warn};

use super::get::store_command;
use super::progress::Progress;
use crate::ae_title::AeTitle;
use crate::association::{self, Association, SendError};
use crate::command::{CommandSet, element};
use crate::end::End;
use crate::negotiation::{CONTEXTS_MAX, EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, Proposal};
use crate::options::Timeouts;
use crate::status::Status;

/// How often an association that was lost is opened again.
const RECONNECTS_MAX: usize = 3;

/// Sends instances to a destination and counts them; shared with the one who reports.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The requestor of the move.
    caller: Caller,
    pub(super) host_port: String,
    pub(super) calling_ae: AeTitle,
    pub(super) called_ae: AeTitle,
    /// (0000,1030) and (0000,1031) of the sub-operations (DI-055).
    pub(super) originator_ae: AeTitle,
    pub(super) originator_message_id: u16,
    pub(super) max_pdu_bytes: u32,
    pub(super) timeouts: Timeouts,
    progress: Mutex<Progress>,
    cancelled: AtomicBool,
}

/// Instances that one association can take.
#[derive(Debug, Default)]
struct Batch {
    proposals: Vec<Proposal>,
    instances: Vec<InstanceRef>,
}

impl Delivery {
    pub(super) fn new(
        caller: Caller,
        host_port: &str,
        [calling_ae, called_ae]: [AeTitle; 2],
        (originator_ae, originator_message_id): (AeTitle, u16),
        max_pdu_bytes: u32,
        timeouts: Timeouts,
        total: usize,
    ) -> Self {
        Self {
            caller,
            host_port: host_port.to_owned(),
            calling_ae,
            called_ae,
            originator_ae,
            originator_message_id,
            max_pdu_bytes,
            timeouts,
            progress: Mutex::new(Progress::of(total)),
            cancelled: AtomicBool::new(false),
        }
    }

    /// Returns how far it has come.
    pub(super) fn progress(&self) -> Progress {
        self.locked().clone()
    }

    /// Ends after the running sub-operation (DI-088).
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Sends all instances, over several associations when they need more than 128 contexts
    /// (DI-053). Dropped, it leaves an association that the destination sees closed.
    pub(super) async fn run<A: Services>(&self, archive: &A, instances: Vec<InstanceRef>) {
        for batch in batches(instances) {
            let Batch { proposals, mut instances } = batch;
            for _ in 0..=RECONNECTS_MAX {
                if instances.is_empty() || self.is_cancelled() {
                    break;
                }
                match self.connect(&proposals).await {
                    Some(association) => {
                        instances = self.send_batch(archive, association, instances).await;
                    }
                    None => break,
                }
            }
            if !self.is_cancelled() {
                for instance in &instances {
                    self.locked().fail(instance);
                }
            }
        }
    }

    async fn connect(&self, proposals: &[Proposal]) -> Option<Association> {
        let connected = association::connect(
            &self.host_port,
            &self.calling_ae,
            &self.called_ae,
            proposals,
            self.max_pdu_bytes,
            self.timeouts.clone(),
        );
        match connected.await {
            Ok(association) => Some(association),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(error, destination = %self.called_ae, "destination cannot be reached");
                None
            }
        }
    }

    /// Sends instances in order; returns those that were not tried because the association broke.
    async fn send_batch<A: Services>(
        &self,
        archive: &A,
        mut association: Association,
        instances: Vec<InstanceRef>,
    ) -> Vec<InstanceRef> {
        let (sendable, refused): (Vec<_>, Vec<_>) =
            instances.into_iter().partition(|one| context_for(&association, one).is_some());
        for instance in &refused {
            self.locked().fail(instance); // DI-092
        }
        let mut opened = archive.open_all(&self.caller, sendable.clone());
        let mut tried = 0;
        while let Some((instance, body)) = opened.next().await {
            if self.is_cancelled() {
                break;
            }
            tried += 1;
            let sent = match body {
                Ok(body) => self.send_one(&mut association, &instance, body, tried).await,
                Err(error) => Err(SendError::Unreadable(error)),
            };
            match sent {
                Ok(status) => self.locked().count(&instance, status),
                Err(SendError::Unreadable(error)) => {
                    warn!(sop_instance_uid = %instance.sop_instance_uid, %error, "cannot read");
                    self.locked().fail(&instance);
                }
                Err(SendError::Ended(end)) => {
                    warn!(%end, destination = %self.called_ae, "association with destination ended");
                    self.locked().fail(&instance);
                    drop(association.finish(&end).await);
                    return sendable.into_iter().skip(tried).collect();
                }
            }
        }
        if let Err(end) = association.release().await {
            debug!(%end, "destination did not release");
        }
        Vec::new()
    }

    async fn send_one(
        &self,
        association: &mut Association,
        instance: &InstanceRef,
        body: InstanceBody,
        number: usize,
    ) -> Result<Status, SendError> {
        let Some(context_id) = context_for(association, instance) else {
            return Ok(Status::PROCESSING_FAILURE);
        };
        // IDs only tell outstanding messages apart, and there is one.
        let message_id = u16::try_from(number % usize::from(u16::MAX)).unwrap_or(0);
        association.send_body(context_id, self.command(instance, message_id), body).await?;
        let response = association.response(message_id, |_| {}).await?;
        let status = response.status();
        if status != Status::SUCCESS {
            warn!(sop_instance_uid = %instance.sop_instance_uid, %status, "destination answers");
        }
        Ok(status)
    }

    fn command(&self, instance: &InstanceRef, message_id: u16) -> CommandSet {
        store_command(instance, message_id)
            .with_text(element::MOVE_ORIGINATOR_AE, self.originator_ae.as_str())
            .with_u16(element::MOVE_ORIGINATOR_MESSAGE_ID, self.originator_message_id)
    }

    fn locked(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<SendError> for End {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Ended(end) => end,
            SendError::Unreadable(_) => Self::Torn("instance cannot be read"),
        }
    }
}

/// Returns the context in which an instance can be sent as it is stored.
fn context_for(association: &Association, instance: &InstanceRef) -> Option<u8> {
    let (class, syntax) = (instance.sop_class_uid.as_str(), instance.transfer_syntax_uid.as_str());
    association.contexts().with_syntax(class, syntax).map(|context| context.id)
}

/// Sorts instances into batches: each SOP class and stored transfer syntax is a context of its
/// own, and each SOP class another one with the uncompressed syntaxes (DI-050).
fn batches(instances: Vec<InstanceRef>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for instance in instances {
        let fitting = batches.iter_mut().find_map(|batch| {
            let fits = batch.makes_room_for(&instance);
            fits.then_some(batch)
        });
        if let Some(batch) = fitting {
            batch.instances.push(instance);
        } else {
            let mut batch = Batch::default();
            batch.makes_room_for(&instance);
            batch.instances.push(instance);
            batches.push(batch);
        }
    }
    batches
}

impl Batch {
    /// Adds the proposals an instance needs; `false` when the batch is full.
    fn makes_room_for(&mut self, instance: &InstanceRef) -> bool {
        let class = instance.sop_class_uid.as_str();
        let own = [instance.transfer_syntax_uid.to_string()];
        let uncompressed = [EXPLICIT_LITTLE_ENDIAN.to_owned(), IMPLICIT_LITTLE_ENDIAN.to_owned()];
        let has = |proposals: &[Proposal], syntaxes: &[String]| {
            proposals.iter().any(|one| one.abstract_syntax == class && one.transfer_syntaxes == syntaxes)
        };
        let missing: Vec<Proposal> = [&own[..], &uncompressed[..]]
            .into_iter()
            .filter(|syntaxes| !has(&self.proposals, syntaxes))
            .map(|syntaxes| Proposal {
                abstract_syntax: class.to_owned(),
                transfer_syntaxes: syntaxes.to_vec(),
                as_scp: false,
            })
            .collect();
        if self.proposals.len() + missing.len() > CONTEXTS_MAX {
            return false;
        }
        self.proposals.extend(missing);
        true
    }
}

#[cfg(test)]
mod tests {
    use archive::Location;
    use journal::{Lsn, RecordRef};

    use super::*;

    fn instance(class: usize, syntax: usize) -> InstanceRef {
        let uid = |text: String| text.parse().unwrap();
        let record = RecordRef { lsn: Lsn(0), head_bytes: 0, payload_bytes: 0, crc32c: 0, large: false };
        InstanceRef {
            study_instance_uid: uid("1".to_owned()),
            series_instance_uid: uid("1.1".to_owned()),
            sop_instance_uid: uid("1.1.1".to_owned()),
            sop_class_uid: uid(format!("1.2.{class}")),
            transfer_syntax_uid: uid(format!("1.9.{syntax}")),
            bytes: 0,
            location: Location::Journal(record),
        }
    }

    #[test]
    fn a_class_has_its_stored_syntaxes_one_by_one_and_the_uncompressed_ones() {
        // DI-050
        let batches = batches(vec![instance(1, 1), instance(1, 1), instance(1, 2)]);
        assert_eq!(batches.len(), 1);
        let syntaxes: Vec<usize> = batches[0].proposals.iter().map(|one| one.transfer_syntaxes.len()).collect();
        assert_eq!(syntaxes, [1, 2, 1]);
        assert_eq!(batches[0].instances.len(), 3);
    }

    #[test]
    fn more_than_128_contexts_make_several_associations() {
        // DI-053
        let classes = (0..100).map(|class| instance(class, 1));
        let again = (0..100).map(|class| instance(class, 1));
        let batches = batches(classes.chain(again).collect());
        let sizes: Vec<(usize, usize)> =
            batches.iter().map(|batch| (batch.proposals.len(), batch.instances.len())).collect();
        assert_eq!(sizes, [(128, 128), (72, 72)]);
    }
}
