//! Opening pools, probing devices, removing containers: what changes which devices and shards are known.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use super::cache::Cache;
use super::catalog::Catalog;
use super::{Inner, Pool, StoreOptions};
use crate::damage::Damage;
use crate::device::Device;
use crate::device::asked::Asked;
use crate::device::calls::Pulse;
use crate::device::gate::Step;
use crate::device::identity::{self, Found};
use crate::erasure::Erasure;
use crate::layout::UNIT_BYTES_LIMIT;
use crate::shard::name::CONTAINERS_DIRECTORY;
use crate::shard::{BLOCK_BYTES, name};
use crate::{CodeProfile, ContainerId, DeviceId, Error, PoolConfig};
use disk::files::sync_directory;

/// How long a start waits for one step of a device before it goes on without: a probe finds it when it answers.
const START_ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a probe waits for the slowest device. One that answers later is found by a later probe.
const PROBE_ANSWER_MAX: Duration = Duration::from_secs(2);

impl Inner {
    /// Opens pools as [`crate::Store::open`] says.
    pub(super) fn open(configs: Vec<PoolConfig>, options: StoreOptions) -> Result<Self, Error> {
        let unit = options.unit_bytes_max;
        if unit == 0 || unit > UNIT_BYTES_LIMIT || !u64::from(unit).is_multiple_of(BLOCK_BYTES) {
            return Err(Error::Config {
                reason: format!("unit of {unit} bytes is not a multiple of 64 KiB up to 64 MiB"),
            });
        }
        let configs = check_configs(configs)?;
        let mut pools = Vec::new();
        for config in configs {
            pools.push(open_pool(config, &options)?);
        }
        check_identities(&pools)?;
        let inner = Self {
            cache: Cache::new(&options),
            buffers: Arc::default(),
            permits: Arc::new(Semaphore::new(options.waiting_reads_max.clamp(1, Semaphore::MAX_PERMITS))),
            options,
            pools,
            catalog: RwLock::new(Catalog::default()),
            damage: Damage::default(),
        };
        inner.scan_all();
        Ok(inner)
    }

    /// Looks at every device as [`crate::Store::probe`] says.
    pub(super) fn probe(self: &Arc<Self>) {
        let mut asked = Asked::new();
        for (index, pool) in self.pools.iter().enumerate() {
            for (number, device) in pool.devices.iter().enumerate() {
                let Some(probe) = device.begin_probe() else {
                    continue; // the last one has not come back
                };
                let inner = Arc::clone(self);
                asked.ask((index, number), device, move |pulse| inner.probe_here(index, probe.device(), pulse));
            }
        }
        let until = Instant::now() + PROBE_ANSWER_MAX.min(self.options.device_answer_max);
        while let Some(((index, number), found)) = asked.next(until) {
            let Some(device) = self.pools.get(index).and_then(|pool| pool.devices.get(number)) else { continue };
            match found {
                Ok(_) if device.note_silence() => {} // some of it answers, and some hangs
                Ok(id) if !device.is_online() => self.take_online(index, device, id),
                Ok(_) => device.note_success(),
                Err(reason) if device.set_offline() => {
                    error!(device = %device.path().display(), reason, "device offline");
                }
                Err(_) => {} // known to be offline
            }
        }
        for device in self.pools.iter().flat_map(|pool| &pool.devices) {
            device.note_silence();
        }
        self.cache.forget_offline();
    }

    /// Returns the name of a device that is there and belongs to its pool, or why not; on the device's thread.
    fn probe_here(&self, pool: usize, device: &Device, pulse: &Pulse) -> Result<DeviceId, String> {
        let pool = self.pools.get(pool).ok_or("it has no pool")?;
        pulse.step(Step::Look).map_err(|error| error.to_string())?;
        let id = identify(pool, device)?;
        device.look_at_space_here(pulse).map_err(|error| error.to_string())?;
        Ok(id)
    }

    /// Removes a container as [`crate::Store::remove`] says.
    pub(super) fn remove(&self, id: ContainerId) -> Result<(), Error> {
        let entries = self.catalog().find(id);
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
                let removed = pool.online(*device_id).map_or(Ok(()), |device| {
                    let path = name::path(device.path(), id, *shard);
                    let file = path.clone();
                    let called = device.call(move |pulse| unlink_here(&file, pulse));
                    called.map_err(Error::io("remove", &path)).flatten()
                });
                match removed {
                    Ok(()) => {
                        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
                        catalog.remove(entry.pool, *device_id, id, *shard);
                    }
                    Err(error) => failed = Some(error),
                }
            }
        }
        // A read that ran meanwhile may have opened a shard again.
        self.cache.forget(id, u8::MAX);
        failed.map_or(Ok(()), Err)
    }

    fn scan_all(&self) {
        std::thread::scope(|scope| {
            for (index, pool) in self.pools.iter().enumerate() {
                for device in pool.devices.iter().filter(|device| device.is_online()) {
                    scope.spawn(move || self.scan(index, device, true));
                }
            }
        });
    }

    /// Lists a device's shards; one that cannot be listed goes offline.
    fn scan(&self, pool: usize, device: &Arc<Device>, sweep: bool) {
        let Some(id) = device.id() else { return };
        let on = Arc::clone(device);
        let call = device.begin(move |pulse| {
            let shards = on.scan_here(pulse, sweep)?;
            on.look_at_space_here(pulse).map_err(Error::io("look at", on.path()))?;
            Ok(shards)
        });
        let scanned = call.and_then(|call| call.wait(START_ANSWER_MAX));
        match scanned.map_err(Error::io("list", device.path())).flatten() {
            Ok(shards) => {
                let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
                for (container, shard) in shards {
                    catalog.add(pool, id, container, shard);
                }
            }
            Err(error) => {
                device.set_offline();
                error!(device = %device.path().display(), ?error, "device cannot be listed");
            }
        }
    }

    fn take_online(&self, pool: usize, device: &Arc<Device>, id: DeviceId) {
        let elsewhere = self.pools.iter().flat_map(|pool| &pool.devices);
        let twice = elsewhere.filter(|other| other.path() != device.path()).any(|other| other.id() == Some(id));
        if twice || !device.set_online(id) {
            warn!(device = %device.path().display(), %id, "another device is in its place");
            return;
        }
        info!(device = %device.path().display(), %id, "device online");
        self.scan(pool, device, false);
        self.cache.forget_located();
    }
}

/// Returns the name of a device that is there and belongs to the pool, or why not; on the device's thread.
fn identify(pool: &Pool, device: &Device) -> Result<DeviceId, String> {
    match identity::inspect(device.path()) {
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

fn unlink_here(path: &Path, pulse: &Pulse) -> Result<(), Error> {
    pulse.step(Step::Remove).map_err(Error::io("remove", path))?;
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(Error::io("remove", path))?,
    }
    path.parent().map_or(Ok(()), |parent| sync_directory(parent).map_err(Error::io("sync directory", parent)))
}

/// Checks what can be checked without looking at a disk; turns `file://` URLs into paths.
fn check_configs(configs: Vec<PoolConfig>) -> Result<Vec<PoolConfig>, Error> {
    let refuse = |reason: String| Err(Error::Config { reason });
    let mut names = HashSet::new();
    let mut paths = HashSet::new();
    let mut checked = Vec::new();
    for mut config in configs {
        CodeProfile::new(config.code.data_shards, config.code.parity_shards)?;
        config.devices = config.devices.iter().map(|path| local_path(path)).collect::<Result<_, _>>()?;
        if !names.insert(config.name.clone()) {
            return refuse(format!("pool {} is there twice, give each pool its own name", config.name));
        }
        if let Some(path) = config.devices.iter().find(|path| !paths.insert((*path).clone())) {
            return refuse(format!("device {} is there twice, a device belongs to one pool", path.display()));
        }
        if config.devices.len() < usize::from(config.code.shards()) {
            let (name, code, devices) = (&config.name, config.code, config.devices.len());
            return refuse(format!("pool {name} has {devices} devices, code {code} needs {}", code.shards()));
        }
        checked.push(config);
    }
    Ok(checked)
}

fn local_path(path: &Path) -> Result<PathBuf, Error> {
    let Some((scheme, rest)) = path.to_str().and_then(|text| text.split_once("://")) else {
        return Ok(path.to_owned());
    };
    if scheme == "file" && rest.starts_with('/') {
        return Ok(PathBuf::from(rest));
    }
    let path = path.display();
    Err(Error::Config {
        reason: format!(
            "device {path} is not a local directory; object stores are not supported yet, use file:///path"
        ),
    })
}

fn open_pool(config: PoolConfig, options: &StoreOptions) -> Result<Pool, Error> {
    let used = options.used_pools.iter().find(|used| used.name == config.name);
    let new = |path: &PathBuf| Device::new(path.clone(), Arc::clone(&options.gate), options.device_answer_max);
    let devices: Vec<Arc<Device>> = config.devices.iter().map(|path| Arc::new(new(path))).collect();
    let seen = look_at(&devices);
    let none_ready = !seen.iter().any(|seen| matches!(seen.found, Found::Ready(_)));
    let history = if used.is_some() { History::Used } else { history(&seen) };
    warn_about_shared_disks(&config, &seen);
    for (device, seen) in devices.iter().zip(seen) {
        let was_device = used.is_some_and(|used| none_ready || used.devices.iter().any(|path| path == device.path()));
        let placed = if was_device && matches!(seen.found, Found::Empty | Found::Absent) {
            Err(Refusal::Offline(NOT_MOUNTED.to_owned()))
        } else {
            place(device, seen.found, history, &config)
        };
        match placed {
            Ok(id) => {
                device.set_online(id);
            }
            Err(Refusal::Fatal(error)) => return Err(error),
            Err(Refusal::Offline(reason)) => {
                error!(device = %device.path().display(), pool = config.name, reason, "device offline");
            }
        }
    }
    Ok(Pool { erasure: Erasure::new(config.code)?, config, devices })
}

/// What a first look at a configured directory finds.
struct Seen {
    found: Found,
    /// Whether it was ever written to.
    has_shards: bool,
    /// Number of its file system.
    disk: Option<u64>,
}

/// Looks at all directories at once; one that does not answer cannot be read.
fn look_at(devices: &[Arc<Device>]) -> Vec<Seen> {
    let look = |device: &Arc<Device>| {
        let path = device.path().to_owned();
        device.begin(move |pulse| {
            pulse.step(Step::Look)?;
            let found = identity::inspect(&path);
            let disk = fs::metadata(&path).ok().map(|metadata| metadata.dev());
            Ok(Seen { found, has_shards: has_shards(&path), disk })
        })
    };
    let calls: Vec<_> = devices.iter().map(look).collect();
    let seen = calls.into_iter().map(|call| call.and_then(|call| call.wait(START_ANSWER_MAX)).flatten());
    let unread = |error: io::Error| Seen { found: Found::Unreadable(error.to_string()), has_shards: false, disk: None };
    seen.map(|seen| seen.unwrap_or_else(unread)).collect()
}

/// Why an empty directory of a used pool stays as it is.
const NOT_MOUNTED: &str =
    "it was a device of this pool and is empty now: mount its disk; a new disk needs a path of its own";

/// What a pool has been through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum History {
    /// No directory is a device yet.
    None,
    /// Some are, and no container was ever written: perhaps the first start was interrupted.
    Made,
    /// There are containers.
    Used,
}

/// Why a directory is not taken into use.
enum Refusal {
    /// A person must change something before anything can start.
    Fatal(Error),
    /// The others can do without it.
    Offline(String),
}

fn history(seen: &[Seen]) -> History {
    let mut ready = seen.iter().filter(|seen| matches!(seen.found, Found::Ready(_))).peekable();
    if ready.peek().is_none() {
        History::None
    } else if ready.any(|seen| seen.has_shards) {
        History::Used
    } else {
        History::Made
    }
}

/// Returns the name of the device at a path, making it one where that is safe.
fn place(device: &Arc<Device>, found: Found, history: History, config: &PoolConfig) -> Result<DeviceId, Refusal> {
    let path = device.path();
    let fatal = |reason: String| Refusal::Fatal(Error::Device { path: path.to_owned(), reason });
    match (found, history) {
        (Found::Ready(identity), _) => match identity.refusal(config) {
            None => Ok(identity.id()),
            Some(reason) => Err(fatal(reason)),
        },
        (Found::Unreadable(reason), History::None) => {
            Err(fatal(format!("{reason}; the first start of a pool needs all its devices")))
        }
        (Found::Unreadable(reason), History::Made | History::Used) => Err(Refusal::Offline(reason)),
        (Found::Empty | Found::Absent, History::None) => create_identity(device, config).map_err(Refusal::Fatal),
        (Found::Absent, History::Used) => {
            let reason = "it is not there; make its directory if it is a new device";
            Err(Refusal::Offline(reason.to_owned()))
        }
        (Found::Empty, History::Used) => {
            // A new disk, or one that was replaced. If it is a mount point without its disk: stop, mount, start again.
            warn!(device = %path.display(), pool = config.name, "empty directory becomes a new device of a pool in use");
            create_or_offline(device, config)
        }
        (Found::Empty | Found::Absent, History::Made) => create_or_offline(device, config),
    }
}

fn create_or_offline(device: &Arc<Device>, config: &PoolConfig) -> Result<DeviceId, Refusal> {
    create_identity(device, config).map_err(|error| Refusal::Offline(error.to_string()))
}

fn create_identity(device: &Arc<Device>, config: &PoolConfig) -> Result<DeviceId, Error> {
    let (path, config) = (device.path().to_owned(), config.clone());
    let call = device.call(move |pulse| {
        pulse.step(Step::Create).map_err(Error::io("create", &path))?;
        identity::create(&path, &config)
    });
    call.map_err(Error::io("create", device.path())).flatten()
}

/// Returns whether a device was ever written to; one that cannot be listed counts as used.
fn has_shards(device: &Path) -> bool {
    match fs::read_dir(device.join(CONTAINERS_DIRECTORY)) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Two devices on one file system are one failure domain: good for a first look, not for data.
fn warn_about_shared_disks(config: &PoolConfig, seen: &[Seen]) {
    let mut disks = HashSet::new();
    let shared = seen.iter().filter_map(|seen| seen.disk).any(|disk| !disks.insert(disk));
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
        if let Some(other) = known.insert(id, device.path()) {
            let reason = format!(
                "it is the same device as {}: a disk mounted twice or copied; configure one of them, empty the other",
                other.display()
            );
            return Err(Error::Device { path: device.path().to_owned(), reason });
        }
    }
    Ok(())
}
