//! Starting a container: asks the devices for their room, lets [`placement`] decide, and opens the shards.

use std::sync::Arc;
use std::time::Duration;

use super::ContainerWriter;
use super::rows::{Plan, Rows};
use crate::catalog::Catalog;
use crate::device::Device;
use crate::placement::{self, Offer, Wanted};
use crate::pools::{Pool, Pools};
use crate::{ContainerId, Error, Tier};

/// How long a device may take to tell its space; one that takes longer gets no shard.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Starts containers.
#[derive(Debug)]
pub(crate) struct Creator {
    pools: Arc<Pools>,
    catalog: Arc<Catalog>,
    unit_bytes_max: u32,
    free_bytes_min: u64,
}

impl Creator {
    pub(crate) fn new(pools: Arc<Pools>, catalog: Arc<Catalog>, unit_bytes_max: u32, free_bytes_min: u64) -> Self {
        Self { pools, catalog, unit_bytes_max, free_bytes_min }
    }

    /// Starts a container as [`crate::Store::create`] says.
    pub(crate) fn create(&self, id: ContainerId, tier: Tier, planned_bytes: u64) -> Result<ContainerWriter, Error> {
        let (unit_bytes_max, free_bytes_min) = (self.unit_bytes_max, self.free_bytes_min);
        let wanted = Wanted { id, tier, planned_bytes, unit_bytes_max, free_bytes_min };
        let of_tier = self.pools.iter().enumerate().filter(|(_, pool)| pool.config.tier == tier);
        let offers: Vec<Offer> = of_tier.map(|(index, pool)| offer(index, pool)).collect();
        let place = placement::decide(&wanted, &offers)?;
        let pool = self.pools.get(place.pool).ok_or(Error::NoPool { tier })?;
        let found =
            |id| pool.devices.iter().find(|device| device.id() == Some(id)).map(|device| (Arc::clone(device), id));
        let devices = place.devices.into_iter().filter_map(found).collect();
        let plan = Plan { id, layout: place.layout, shard_bytes: place.shard_bytes, devices };
        let rows = Rows::start(Arc::clone(pool), plan)?;
        Ok(ContainerWriter::new(rows, place.pool, Arc::clone(&self.catalog)))
    }
}

fn offer(index: usize, pool: &Pool) -> Offer {
    let devices = answering(pool).into_iter().filter_map(|device| Some((device.id()?, device.space().1)));
    Offer { pool: index, name: pool.config.name.clone(), code: pool.config.code, devices: devices.collect() }
}

/// Asks all devices in use for their space; returns those that told it.
fn answering(pool: &Pool) -> Vec<Arc<Device>> {
    let online: Vec<_> = pool.all_online().cloned().collect();
    let ask = |device: &Arc<Device>| {
        let on = Arc::clone(device);
        device.begin(move |heartbeat| on.look_at_space_here(heartbeat))
    };
    let calls: Vec<_> = online.iter().map(ask).collect();
    let told = calls.into_iter().map(|call| call.and_then(|call| call.wait(ANSWER_MAX)).flatten().is_ok());
    let told: Vec<bool> = told.collect();
    online.into_iter().zip(told).filter_map(|(device, told)| told.then_some(device)).collect()
}
