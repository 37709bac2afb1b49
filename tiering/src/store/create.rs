//! Choosing where a new container goes.

use std::sync::Arc;
use std::time::Duration;

use super::{Inner, Pool};
use crate::device::Device;
use crate::layout::Layout;
use crate::placement;
use crate::shard::HEADER_BYTES;
use crate::writer::{ContainerWriter, Plan};
use crate::{ContainerId, DeviceId, Error, Tier};

/// Room for checksum table, hashes, table of contents and footer of one shard.
const TAIL_BYTES_PLANNED: u64 = 1 << 20;

/// How long a device may take to tell its space; one that takes longer gets no shard.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What a pool offers for one container.
struct Offer {
    pool: usize,
    layout: Layout,
    shard_bytes: u64,
    free_bytes: u64,
    devices: Vec<(Arc<Device>, DeviceId, u64)>,
}

/// Starts a container as [`crate::Store::create`] says.
pub(super) fn create(
    inner: &Arc<Inner>,
    id: ContainerId,
    tier: Tier,
    planned_bytes: u64,
) -> Result<ContainerWriter, Error> {
    let mut best: Option<Offer> = None;
    let mut refusal = Error::NoPool { tier };
    for (index, pool) in inner.pools.iter().enumerate().filter(|(_, pool)| pool.config.tier == tier) {
        match offer(inner, index, pool, planned_bytes) {
            Ok(offer) if best.as_ref().is_none_or(|best| offer.free_bytes > best.free_bytes) => {
                best = Some(offer);
            }
            Ok(_) => {}
            Err(error) => refusal = error,
        }
    }
    let offer = best.ok_or(refusal)?;
    let pool = inner.pools.get(offer.pool).ok_or(Error::NoPool { tier })?;
    let weights: Vec<(DeviceId, u64)> = offer.devices.iter().map(|(_, id, free)| (*id, *free)).collect();
    let chosen = placement::choose(id, &weights, usize::from(pool.config.code.shards()));
    let devices = chosen
        .into_iter()
        .filter_map(|index| offer.devices.get(index))
        .map(|(device, id, _)| (Arc::clone(device), *id));
    let plan =
        Plan { id, pool: offer.pool, layout: offer.layout, shard_bytes: offer.shard_bytes, devices: devices.collect() };
    ContainerWriter::start(Arc::clone(inner), plan)
}

fn offer(inner: &Inner, index: usize, pool: &Pool, planned_bytes: u64) -> Result<Offer, Error> {
    let code = pool.config.code;
    let needed = usize::from(code.shards());
    let layout = Layout::plan(code, planned_bytes, inner.options.unit_bytes_max);
    let padded = planned_bytes.saturating_add(planned_bytes / 16);
    let shard_bytes = layout.region_bytes(padded).saturating_add(HEADER_BYTES + TAIL_BYTES_PLANNED);
    let least = shard_bytes.saturating_add(inner.options.free_bytes_min);
    let mut online = 0;
    let mut devices = Vec::new();
    for device in answering(pool) {
        let Some(id) = device.id() else { continue };
        let (_, free) = device.space();
        online += 1;
        if free >= least {
            devices.push((device, id, free));
        }
    }
    if online < needed {
        return Err(Error::TooFewDevices { pool: pool.config.name.clone(), online, needed });
    }
    if devices.len() < needed {
        return Err(Error::NoRoom { tier: pool.config.tier, needed_bytes: planned_bytes });
    }
    let free_bytes = devices.iter().map(|(_, _, free)| *free).fold(0, u64::saturating_add);
    Ok(Offer { pool: index, layout, shard_bytes, free_bytes, devices })
}

/// Asks all devices in use for their space; returns those that told it.
fn answering(pool: &Pool) -> Vec<Arc<Device>> {
    let online: Vec<_> = pool.devices.iter().filter(|device| device.is_online()).cloned().collect();
    let ask = |device: &Arc<Device>| {
        let on = Arc::clone(device);
        device.begin(move |pulse| on.look_at_space_here(pulse))
    };
    let calls: Vec<_> = online.iter().map(ask).collect();
    let told = calls.into_iter().map(|call| call.and_then(|call| call.wait(ANSWER_MAX)).flatten().is_ok());
    let told: Vec<bool> = told.collect();
    online.into_iter().zip(told).filter_map(|(device, told)| told.then_some(device)).collect()
}
