//! Verifying: reads every byte that is stored, compares with the checksums and the index, and changes nothing.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;
use tiering::{ContainerId, Verdict};

use super::control::JobControl;
use crate::Error;
use crate::containers::Containers;
use crate::link::IndexLink;
use crate::tasks::blocking;
use crate::unsealed::Unsealed;

/// Unsealed instances that are listed at one time.
const INSTANCES_AT_ONCE: usize = 10_000;

/// What a verification found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VerifyReport {
    /// Containers read.
    pub containers: u64,
    /// Shards read.
    pub shards: u64,
    /// Unsealed instances read from the journal.
    pub journal_instances: u64,
    /// Instances the index has, sealed or not.
    pub index_instances: u64,
    /// Containers with damage.
    pub faults: Vec<ContainerFault>,
    /// SOP Instance UIDs that the journal cannot give back.
    pub journal_faults: Vec<String>,
    /// Containers that the index names and no device has.
    pub lost_containers: Vec<String>,
    /// Series Instance UIDs whose count in the index differs from the instances it has of them.
    pub contradictions: Vec<String>,
}

/// One container that is not whole.
#[derive(Debug, Clone, Serialize)]
pub struct ContainerFault {
    /// The container.
    pub container: String,
    /// What is wrong, a shard each: `shard 2 on DEVICE: what`.
    pub shards: Vec<String>,
    /// Whether every instance can still be served.
    pub recoverable: bool,
}

impl VerifyReport {
    /// Whether nothing at all was found.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
            && self.journal_faults.is_empty()
            && self.lost_containers.is_empty()
            && self.contradictions.is_empty()
    }
}

/// Compares what is stored with its checksums and the index.
#[derive(Debug)]
pub(crate) struct Verifier {
    unsealed: Arc<Unsealed>,
    containers: Arc<Containers>,
    link: Arc<IndexLink>,
}

impl Verifier {
    pub(crate) fn new(unsealed: Arc<Unsealed>, containers: Arc<Containers>, link: Arc<IndexLink>) -> Self {
        Self { unsealed, containers, link }
    }

    /// Reads everything that is stored.
    pub(crate) async fn verify(&self, control: &JobControl) -> Result<VerifyReport, Error> {
        // No container comes or goes while it is looked at.
        let _others_wait = self.containers.lock_changes().await;
        let index = self.link.get()?;
        let mut report = VerifyReport {
            index_instances: index.counts().await?.instances,
            contradictions: index.contradictions().await?,
            ..VerifyReport::default()
        };
        let found: Vec<ContainerId> =
            self.containers.store().containers().into_iter().map(|places| places.id).collect();
        let on_devices: HashSet<_> = found.iter().copied().collect();
        let named: Vec<ContainerId> = index.containers().await?.into_iter().map(|container| container.id).collect();
        report.lost_containers = named.iter().filter(|id| !on_devices.contains(id)).map(ToString::to_string).collect();
        let total = u64::try_from(found.len()).unwrap_or(u64::MAX);
        for (done, id) in (0..).zip(found) {
            control.report(done, total);
            control.checkpoint().await?;
            let store = self.containers.store().clone();
            let verification = blocking(move || store.verify(id)).await??;
            report.containers += 1;
            report.shards += u64::try_from(verification.shards.len()).unwrap_or(0);
            report.faults.extend(fault(id, &verification));
        }
        control.report(total, total);
        self.verify_journal(control, &mut report).await?;
        Ok(report)
    }

    async fn verify_journal(&self, control: &JobControl, report: &mut VerifyReport) -> Result<(), Error> {
        let index = self.link.get()?;
        let mut last = None;
        loop {
            let rows = index.unsealed_in_order(last.as_ref(), INSTANCES_AT_ONCE).await?;
            control.checkpoint().await?;
            let unsealed = Arc::clone(&self.unsealed);
            let read = blocking(move || {
                let bad = rows.iter().filter(|row| unsealed.verify(&row.record).is_err());
                let bad: Vec<String> = bad.map(|row| row.sop_instance_uid.to_string()).collect();
                (rows, bad)
            });
            let (rows, bad) = read.await?;
            report.journal_instances += u64::try_from(rows.len()).unwrap_or(0);
            report.journal_faults.extend(bad);
            last = match rows.into_iter().next_back() {
                Some(row) => Some(row),
                None => return Ok(()),
            };
        }
    }
}

fn fault(id: ContainerId, verification: &tiering::Verification) -> Option<ContainerFault> {
    let shards: Vec<String> = verification
        .shards
        .iter()
        .filter_map(|shard| {
            let what = match &shard.verdict {
                Verdict::Healthy => return None,
                Verdict::Missing => "missing".to_owned(),
                Verdict::Damaged { what, .. } => (*what).to_owned(),
            };
            let device = shard.device.map_or_else(|| "no device".to_owned(), |device| device.to_string());
            Some(format!("shard {} on {device}: {what}", shard.number))
        })
        .collect();
    if shards.is_empty() {
        return None;
    }
    Some(ContainerFault { container: id.to_string(), shards, recoverable: verification.recoverable })
}
