//! Sizes, counts and states, for people, scripts and metrics.

use std::sync::Arc;

use serde::Serialize;

use crate::Metrics;
use crate::barrier::Barrier;
use crate::containers::Containers;
use crate::jobs::Scheduler;
use crate::link::IndexLink;
use crate::unsealed::Unsealed;

/// How the archive is.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Whether instances can be stored now.
    pub can_store: bool,
    /// Whether the index answers.
    pub index: bool,
    /// Journal bytes that are not yet in the index.
    pub index_lag_bytes: u64,
    /// Journal bytes in use.
    pub journal_used_bytes: u64,
    /// Limit of the journal.
    pub journal_bytes_max: u64,
    /// Journal copies that can be written.
    pub journal_copies_healthy: usize,
    /// Instances that lie in the journal.
    pub unsealed_instances: u64,
    /// Containers on the devices.
    pub containers: u64,
    /// The pools and their devices.
    pub pools: Vec<PoolState>,
}

/// How one pool is.
#[derive(Debug, Clone, Serialize)]
pub struct PoolState {
    /// Its name.
    pub name: String,
    /// hot, warm or cold.
    pub tier: String,
    /// Its code, "4+2".
    pub code: String,
    /// Its devices.
    pub devices: Vec<DeviceState>,
}

/// How one device is.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceState {
    /// Where it is mounted.
    pub path: String,
    /// Its UUID, if it has been seen.
    pub id: Option<String>,
    /// Whether it can be read and written.
    pub online: bool,
    /// Size of its file system in bytes.
    pub total_bytes: u64,
    /// Free bytes of its file system.
    pub free_bytes: u64,
    /// Shards on it.
    pub shards: u64,
}

/// Reads how the parts are, for people, scripts and metrics.
#[derive(Debug)]
pub(crate) struct Gauges {
    unsealed: Arc<Unsealed>,
    containers: Arc<Containers>,
    barrier: Arc<Barrier>,
    link: Arc<IndexLink>,
    scheduler: Arc<Scheduler>,
    metrics: Metrics,
    /// Journal copies without which nothing is acknowledged.
    copies_required: usize,
}

impl Gauges {
    pub(crate) fn new(
        (unsealed, containers): (Arc<Unsealed>, Arc<Containers>),
        (barrier, link): (Arc<Barrier>, Arc<IndexLink>),
        scheduler: Arc<Scheduler>,
        metrics: Metrics,
        copies_required: usize,
    ) -> Self {
        Self { unsealed, containers, barrier, link, scheduler, metrics, copies_required }
    }

    /// Returns how the archive is.
    pub(crate) async fn status(&self) -> Status {
        self.refresh();
        let index = match self.link.get() {
            Ok(index) => index.answers().await,
            Err(_) => false,
        };
        let journal = self.unsealed.status();
        let healthy = journal.copies.iter().filter(|copy| copy.healthy).count();
        Status {
            can_store: healthy >= self.copies_required && journal.used_bytes < journal.bytes_max,
            index,
            index_lag_bytes: self.barrier.lag_bytes(),
            journal_used_bytes: journal.used_bytes,
            journal_bytes_max: journal.bytes_max,
            journal_copies_healthy: healthy,
            unsealed_instances: u64::try_from(self.unsealed.len()).unwrap_or(u64::MAX),
            containers: u64::try_from(self.containers.store().containers().len()).unwrap_or(u64::MAX),
            pools: self.containers.store().pools().iter().map(pool).collect(),
        }
    }

    /// Brings the gauges up to date.
    pub(crate) fn refresh(&self) {
        let (metrics, journal) = (&self.metrics, self.unsealed.status());
        metrics.state("journal_used_bytes", journal.used_bytes);
        metrics.state("journal_bytes_max", journal.bytes_max);
        metrics.state("journal_copies_healthy", count(journal.copies.iter().filter(|copy| copy.healthy)));
        metrics.state("index_lag_bytes", self.barrier.lag_bytes());
        metrics.state("index_connected", u64::from(self.link.get().is_ok()));
        metrics.state("unsealed_instances", u64::try_from(self.unsealed.len()).unwrap_or(u64::MAX));
        metrics.state("containers", count(self.containers.store().containers().iter()));
        let pools = self.containers.store().pools();
        let devices = || pools.iter().flat_map(|pool| &pool.devices);
        metrics.state("devices", count(devices()));
        metrics.state("devices_online", count(devices().filter(|device| device.online)));
        for device in devices() {
            let path = device.path.display().to_string();
            metrics.device(&path, "online", u64::from(device.online));
            metrics.device(&path, "hedges", device.hedges);
            metrics.device(&path, "timeouts", device.timeouts);
        }
        let damage = self.containers.store().damage();
        metrics.damage("block_mismatches", damage.block_mismatches);
        metrics.damage("missing_shards", damage.missing_shards);
        metrics.damage("damaged_shards", damage.damaged_shards);
        metrics.damage("device_errors", damage.device_errors);
        metrics.damage("degraded_reads", damage.degraded_reads);
        metrics.damage("unreadable_reads", damage.unreadable_reads);
        metrics.damage("caller_mismatches", damage.caller_mismatches);
        self.scheduler.refresh_metrics();
    }
}

fn pool(pool: &tiering::PoolStatus) -> PoolState {
    let devices = pool.devices.iter().map(|device| DeviceState {
        path: device.path.display().to_string(),
        id: device.id.map(|id| id.to_string()),
        online: device.online,
        total_bytes: device.total_bytes,
        free_bytes: device.free_bytes,
        shards: device.shards,
    });
    PoolState {
        name: pool.name.clone(),
        tier: pool.tier.to_string(),
        code: pool.code.to_string(),
        devices: devices.collect(),
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    u64::try_from(items.count()).unwrap_or(u64::MAX)
}
