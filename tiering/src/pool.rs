//! Pools as configured and as they are.

use std::path::PathBuf;

use crate::{CodeProfile, ContainerId, DeviceId, Tier};

/// One pool of the configuration.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Name, unique among the pools and kept on every device.
    pub name: String,
    /// Tier that the pool belongs to.
    pub tier: Tier,
    /// How its containers are coded; fixed once the pool has been used.
    pub code: CodeProfile,
    /// Directories of its devices, plain or as `file://` URLs; at least k+m.
    pub devices: Vec<PathBuf>,
}

/// State of one pool.
#[derive(Debug, Clone)]
pub struct PoolStatus {
    /// Name of the pool.
    pub name: String,
    /// Tier that the pool belongs to.
    pub tier: Tier,
    /// How its containers are coded.
    pub code: CodeProfile,
    /// Its devices in the order of the configuration.
    pub devices: Vec<DeviceStatus>,
}

/// State of one device.
#[derive(Debug, Clone)]
pub struct DeviceStatus {
    /// Directory of the device.
    pub path: PathBuf,
    /// Its name; absent while a device has not been readable since the start.
    pub id: Option<DeviceId>,
    /// Whether it is in use.
    pub online: bool,
    /// Size of its file system when it was last asked, 0 while offline.
    pub total_bytes: u64,
    /// Free bytes of its file system when it was last asked, 0 while offline.
    pub free_bytes: u64,
    /// Shards known to lie on it.
    pub shards: u64,
    /// How often other devices were asked for what it should have read, because it was slow, since the start.
    pub hedges: u64,
    /// How often it went out of use because it hung, since the start.
    pub timeouts: u64,
}

/// Where the shards of one container lie.
#[derive(Debug, Clone)]
pub struct ContainerPlaces {
    /// The container.
    pub id: ContainerId,
    /// Name of its pool.
    pub pool: String,
    /// How it is coded.
    pub code: CodeProfile,
    /// Shard number and device of each shard known, in order of number.
    pub places: Vec<(u8, DeviceId)>,
}
