//! Opening pools: looks at every configured device and takes into use what belongs to its pool.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::admission::{Admission, admit, history};
use super::config;
use super::set::{Pool, Pools};
use crate::device::fault_point::Step;
use crate::device::identity::{self, Found};
use crate::device::{Device, Health};
use crate::erasure::Erasure;
use crate::medium::name::Presence;
use crate::options::StoreOptions;
use crate::{DeviceId, Error, PoolConfig};

/// How long a start waits for one step of a device before it goes on without: a probe finds it when it answers.
const START_ANSWER_MAX: Duration = Duration::from_secs(5);

/// Opens pools as [`crate::Store::open`] says, without listing their shards.
pub(crate) fn open(configs: Vec<PoolConfig>, options: &StoreOptions) -> Result<Pools, Error> {
    config::check_unit(options.unit_bytes_max)?;
    let mut pools = Vec::new();
    for config in config::check(configs)? {
        pools.push(open_pool(config, options)?);
    }
    check_identities(&pools)?;
    Ok(Pools::new(pools))
}

fn open_pool(config: PoolConfig, options: &StoreOptions) -> Result<Pool, Error> {
    let used = options.used_pools.iter().find(|used| used.name == config.name);
    let mut devices = Vec::new();
    for path in &config.devices {
        devices.push(Arc::new(new_device(path, options)?));
    }
    let seen = look_at(&devices);
    let none_ready = !seen.iter().any(|seen| matches!(seen.found, Found::Ready(_)));
    let history = history(seen.iter().map(|seen| (&seen.found, seen.has_shards)), used.is_some());
    warn_about_shared_disks(&config, &seen);
    for (device, seen) in devices.iter().zip(seen) {
        let was_device = used.is_some_and(|used| none_ready || used.devices.iter().any(|path| path == device.label()));
        take_into_use(device, admit(&seen.found, history, was_device, &config), &config, options)?;
    }
    Ok(Pool { erasure: Erasure::new(config.code)?, config, devices })
}

fn new_device(path: &Path, options: &StoreOptions) -> Result<Device, Error> {
    let health = Health { answer_max: options.device_answer_max, errors_max: options.device_errors_max };
    let medium = config::medium(path, options)?;
    Ok(Device::new(medium, Arc::clone(&options.fault_point), Arc::clone(&options.clock), health))
}

/// Does with a device what was decided.
fn take_into_use(
    device: &Arc<Device>,
    admission: Admission,
    config: &PoolConfig,
    options: &StoreOptions,
) -> Result<(), Error> {
    let reason = match admission {
        Admission::Use(id) => {
            device.set_online(id);
            return Ok(());
        }
        Admission::Refuse(reason) => return Err(Error::Device { path: device.label().to_owned(), reason }),
        Admission::Offline(reason) => reason,
        Admission::Make { needed, joins_used_pool } => {
            if joins_used_pool {
                // A new disk, or one that was replaced. If it is a mount point without its disk: stop, mount, start again.
                let pool = &config.name;
                warn!(device = %device.label().display(), pool, "empty directory becomes a new device of a pool in use");
            }
            let id = options.ids.device();
            match make(device, id, config) {
                Ok(()) => {
                    device.set_online(id);
                    return Ok(());
                }
                Err(error) if needed => return Err(error),
                Err(error) => error.to_string(),
            }
        }
    };
    error!(device = %device.label().display(), pool = config.name, reason, "device offline");
    Ok(())
}

/// What a first look at a configured device finds.
struct Seen {
    found: Found,
    /// Whether it was ever written to; one that cannot be listed counts as used.
    has_shards: bool,
    failure_domain: Option<u64>,
}

/// Looks at all devices at once; one that does not answer cannot be read.
fn look_at(devices: &[Arc<Device>]) -> Vec<Seen> {
    let look = |device: &Arc<Device>| {
        let medium = Arc::clone(device.medium());
        device.begin(move |heartbeat| {
            heartbeat.step(Step::Look)?;
            let found = identity::inspect(&medium);
            let has_shards = !matches!(medium.presence(), Ok(Presence::Absent | Presence::Empty));
            Ok(Seen { found, has_shards, failure_domain: medium.failure_domain() })
        })
    };
    let calls: Vec<_> = devices.iter().map(look).collect();
    let seen = calls.into_iter().map(|call| call.and_then(|call| call.wait(START_ANSWER_MAX)).flatten());
    let unread = |error: io::Error| Seen {
        found: Found::Unreadable(error.to_string()),
        has_shards: false,
        failure_domain: None,
    };
    seen.map(|seen| seen.unwrap_or_else(unread)).collect()
}

/// Makes a medium a device of the pool.
fn make(device: &Arc<Device>, id: DeviceId, config: &PoolConfig) -> Result<(), Error> {
    let (medium, config) = (Arc::clone(device.medium()), config.clone());
    let call = device.call(move |heartbeat| {
        heartbeat.step(Step::Create).map_err(Error::io("create", medium.label()))?;
        identity::create(&medium, id, &config)
    });
    call.map_err(Error::io("create", device.label())).flatten()
}

/// Two devices on one file system are one failure domain: good for a first look, not for data.
fn warn_about_shared_disks(config: &PoolConfig, seen: &[Seen]) {
    let mut disks = HashSet::new();
    let shared = seen.iter().filter_map(|seen| seen.failure_domain).any(|disk| !disks.insert(disk));
    if shared {
        warn!(pool = config.name, "devices share a file system: one disk failure loses several");
    }
    if config.code.parity_shards == 0 {
        warn!(pool = config.name, "pool has no parity: one disk failure loses data");
    }
}

fn check_identities(pools: &[Pool]) -> Result<(), Error> {
    let mut known: HashMap<DeviceId, &Path> = HashMap::new();
    for device in pools.iter().flat_map(|pool| &pool.devices) {
        let Some(id) = device.id() else { continue };
        if let Some(other) = known.insert(id, device.label()) {
            let reason = format!(
                "it is the same device as {}: a disk mounted twice or copied; configure one of them, empty the other",
                other.display()
            );
            return Err(Error::Device { path: device.label().to_owned(), reason });
        }
    }
    Ok(())
}
