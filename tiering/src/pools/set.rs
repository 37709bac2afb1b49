//! Pools in use: which devices there are, and how they do.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Catalog;
use crate::device::Device;
use crate::erasure::Erasure;
use crate::{DeviceId, DeviceStatus, PoolConfig, PoolStatus};

/// Shortest time that a shard is waited for before others are asked: disks answer in a tenth of it.
const PATIENCE_MIN: Duration = Duration::from_millis(50);
/// Longest such time.
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// How many times the usual time of the pool's devices a shard is waited for.
const PATIENCE_FACTOR: u32 = 8;

/// One pool in use.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) config: PoolConfig,
    pub(crate) erasure: Erasure,
    pub(crate) devices: Vec<Arc<Device>>,
}

/// All pools, known by their index in the configuration.
#[derive(Debug)]
pub(crate) struct Pools(Vec<Arc<Pool>>);

impl Pool {
    /// Returns a device that is in use.
    pub(crate) fn online(&self, id: DeviceId) -> Option<&Arc<Device>> {
        self.devices.iter().find(|device| device.id() == Some(id) && device.is_online())
    }

    /// Returns the devices that are in use.
    pub(crate) fn all_online(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.devices.iter().filter(|device| device.is_online())
    }

    /// Returns how long a device is waited for before others are asked.
    pub(crate) fn patience(&self) -> Duration {
        let known = self.devices.iter().map(|device| device.latency()).filter(|latency| !latency.is_zero());
        let mut latencies: Vec<Duration> = known.collect();
        latencies.sort_unstable();
        let median = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
        median.saturating_mul(PATIENCE_FACTOR).clamp(PATIENCE_MIN, PATIENCE_MAX)
    }

    fn status(&self, catalog: &Catalog) -> PoolStatus {
        let devices = self.devices.iter().map(|device| {
            let online = device.is_online();
            let (total_bytes, free_bytes) = if online { device.space() } else { (0, 0) };
            let shards = device.id().map_or(0, |id| catalog.shards(id));
            let (hedges, timeouts) = device.slowness();
            let (path, id) = (device.label().to_owned(), device.id());
            DeviceStatus { path, id, online, total_bytes, free_bytes, shards, hedges, timeouts }
        });
        let devices = devices.collect();
        PoolStatus { name: self.config.name.clone(), tier: self.config.tier, code: self.config.code, devices }
    }
}

impl Pools {
    pub(crate) fn new(pools: Vec<Pool>) -> Self {
        Self(pools.into_iter().map(Arc::new).collect())
    }

    /// Returns the pool of an index.
    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Pool>> {
        self.0.get(index)
    }

    /// Returns all pools in the order of the configuration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.0.iter()
    }

    /// Returns the devices of all pools, each with the index of its pool.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (usize, &Arc<Device>)> {
        self.0.iter().enumerate().flat_map(|(index, pool)| pool.devices.iter().map(move |device| (index, device)))
    }

    /// Returns the state of all pools.
    pub(crate) fn status(&self, catalog: &Catalog) -> Vec<PoolStatus> {
        self.0.iter().map(|pool| pool.status(catalog)).collect()
    }
}
