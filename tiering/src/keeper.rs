//! Which devices are in use and what lies on them: lists shards at a start, probes devices, removes containers.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::catalog::Catalog;
use crate::device::Device;
use crate::device::fan_out::FanOut;
use crate::device::fault_point::Step;
use crate::device::identity::{self, Found};
use crate::device::io_threads::Heartbeat;
use crate::medium::Medium;
use crate::medium::name::ShardName;
use crate::pools::{Pool, Pools};
use crate::reader::cache::Cache;
use crate::surroundings::Clock;
use crate::{ContainerId, DeviceId, Error};

/// How long a start waits for one step of a device's listing before it goes on without.
const LIST_ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a probe waits for the slowest device. One that answers later is found by a later probe.
const PROBE_ANSWER_MAX: Duration = Duration::from_secs(2);

/// Keeps the catalog and the state of devices up to date with what is on the devices.
#[derive(Debug)]
pub(crate) struct Keeper {
    pools: Arc<Pools>,
    catalog: Arc<Catalog>,
    cache: Arc<Cache>,
    clock: Arc<dyn Clock>,
    answer_max: Duration,
}

impl Keeper {
    pub(crate) fn new(
        pools: Arc<Pools>,
        catalog: Arc<Catalog>,
        cache: Arc<Cache>,
        clock: Arc<dyn Clock>,
        answer_max: Duration,
    ) -> Self {
        Self { pools, catalog, cache, clock, answer_max }
    }

    /// Lists the shards of every device in use and removes what a crash left half written.
    pub(crate) fn list_all(&self) {
        std::thread::scope(|scope| {
            for (pool, device) in self.pools.devices().filter(|(_, device)| device.is_online()) {
                scope.spawn(move || self.list(pool, device, true));
            }
        });
    }

    /// Looks at every device as [`crate::Store::probe`] says.
    pub(crate) fn probe(&self) {
        let devices: Vec<_> = self.pools.devices().collect();
        let mut asked = FanOut::new(Arc::clone(&self.clock));
        for (number, (pool, device)) in devices.iter().enumerate() {
            let Some(probe) = device.begin_probe() else {
                continue; // the last one has not come back
            };
            let Some(pool) = self.pools.get(*pool).cloned() else { continue };
            asked.ask(number, device, move |heartbeat| probe_here(&pool, probe.device(), heartbeat));
        }
        let until = self.clock.now() + PROBE_ANSWER_MAX.min(self.answer_max);
        while let Some((number, found)) = asked.next(until) {
            let Some((pool, device)) = devices.get(number) else { continue };
            match found {
                Ok(_) if device.note_silence() => {} // some calls answer, and some hang
                Ok(id) if !device.is_online() => self.take_online(*pool, device, id),
                Ok(_) => device.note_success(),
                Err(reason) if device.set_offline() => {
                    error!(device = %device.label().display(), reason, "device offline");
                }
                Err(_) => {} // known to be offline
            }
        }
        for (_, device) in devices {
            device.note_silence();
        }
        self.cache.forget_offline();
    }

    /// Removes a container as [`crate::Store::remove`] says.
    pub(crate) fn remove(&self, id: ContainerId) -> Result<(), Error> {
        let entries = self.catalog.find(id);
        if entries.is_empty() {
            return Err(Error::Missing { container: id });
        }
        self.cache.forget(id, u8::MAX);
        let mut failed = None;
        for entry in &entries {
            let Some(pool) = self.pools.get(entry.pool) else {
                continue;
            };
            // By number, so parity with its tables of contents goes last: what a crash leaves says what it is.
            for (shard, device_id) in &entry.places {
                let name = ShardName::new(id, *shard);
                match pool.online(*device_id).map_or(Ok(()), |device| remove_shard(device, name)) {
                    Ok(()) => self.catalog.remove(entry.pool, *device_id, id, *shard),
                    Err(error) => failed = Some(error),
                }
            }
        }
        // A read that ran meanwhile may have opened a shard again.
        self.cache.forget(id, u8::MAX);
        failed.map_or(Ok(()), Err)
    }

    /// Lists a device's shards; one that cannot be listed goes offline.
    fn list(&self, pool: usize, device: &Arc<Device>, sweep: bool) {
        let Some(id) = device.id() else { return };
        let on = Arc::clone(device);
        let call = device.begin(move |heartbeat| {
            let shards = on.scan_here(heartbeat, sweep).map_err(Error::io("list", on.label()))?;
            on.look_at_space_here(heartbeat).map_err(Error::io("look at", on.label()))?;
            Ok(shards)
        });
        let listed = call.and_then(|call| call.wait(LIST_ANSWER_MAX));
        match listed.map_err(Error::io("list", device.label())).flatten() {
            Ok(shards) => self.catalog.add(pool, id, shards.into_iter().map(|name| (name.container, name.shard))),
            Err(error) => {
                device.set_offline();
                error!(device = %device.label().display(), ?error, "device cannot be listed");
            }
        }
    }

    fn take_online(&self, pool: usize, device: &Arc<Device>, id: DeviceId) {
        let mut others = self.pools.devices().filter(|(_, other)| !Arc::ptr_eq(other, device));
        if others.any(|(_, other)| other.id() == Some(id)) || !device.set_online(id) {
            warn!(device = %device.label().display(), %id, "another device is in its place");
            return;
        }
        info!(device = %device.label().display(), %id, "device online");
        self.list(pool, device, false);
        self.cache.forget_located();
    }
}

/// Returns the name of a device that is there and belongs to its pool, or why not; on the device's thread.
fn probe_here(pool: &Pool, device: &Device, heartbeat: &Heartbeat) -> Result<DeviceId, String> {
    heartbeat.step(Step::Look).map_err(|error| error.to_string())?;
    let id = identify(pool, device)?;
    device.look_at_space_here(heartbeat).map_err(|error| error.to_string())?;
    Ok(id)
}

fn identify(pool: &Pool, device: &Device) -> Result<DeviceId, String> {
    match identity::inspect(device.medium()) {
        Found::Ready(identity) => match identity.refusal(&pool.config) {
            Some(reason) => Err(reason),
            None if device.id().is_some_and(|id| id != identity.id()) => {
                Err("another device is in its place".to_owned())
            }
            None => Ok(identity.id()),
        },
        Found::Empty => Err("it has no device.json".to_owned()),
        Found::Absent => Err("it is not there".to_owned()),
        Found::Unreadable(reason) => Err(reason),
    }
}

fn remove_shard(device: &Arc<Device>, name: ShardName) -> Result<(), Error> {
    let medium = Arc::clone(device.medium());
    let called = device.call(move |heartbeat| remove_here(&medium, name, heartbeat));
    called.flatten().map_err(Error::io("remove shard on", device.label()))
}

fn remove_here(medium: &Medium, name: ShardName, heartbeat: &Heartbeat) -> std::io::Result<()> {
    heartbeat.step(Step::Remove)?;
    medium.remove(name)
}
