//! Limits of the store, and what it takes from outside.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::device::fault_point::{FaultPoint, NoFaults};
use crate::medium::memory::MemoryMedium;
use crate::surroundings::{Clock, Ids, MonotonicClock, RandomIds};

/// Limits of the store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Largest unit of a new container, a multiple of 64 KiB; a writer holds k+m units in memory. 4 MiB.
    pub unit_bytes_max: u32,
    /// Shard files kept open. 4,096.
    pub files_max: usize,
    /// Checksum tables kept in memory, 64 bytes for each MiB of a shard. 1,024.
    pub tables_max: usize,
    /// Reads that wait for devices at one time. 64.
    pub waiting_reads_max: usize,
    /// Errors in a row after which a device is not used until it is probed. 8.
    pub device_errors_max: u32,
    /// Time for one step of work at a device - open, read or write a piece, flush - after which the device counts as hung and
    /// is not used until it answers. Long enough for a disk that spins up or has to retry. 30 s.
    pub device_answer_max: Duration,
    /// Bytes of each device that new containers leave free. 64 MiB.
    pub free_bytes_min: u64,
    /// What every step of work at a device passes first. Nothing fails.
    pub fault_point: Arc<dyn FaultPoint>,
    /// Pools that have held containers, as the caller remembers them: so that disks that are not mounted are not taken for
    /// new ones. None.
    pub used_pools: Vec<UsedPool>,
    /// Media that devices configured as `memory://NAME` use, for tests and simulations. None.
    pub memory: Vec<MemoryMedium>,
    /// The clock of deadlines and of the health of devices. The machine's.
    pub clock: Arc<dyn Clock>,
    /// Where new containers and devices get their names. Random.
    pub ids: Arc<dyn Ids>,
}

/// A pool that has held containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedPool {
    /// Its name.
    pub name: String,
    /// Directories of its devices, as [`crate::DeviceStatus`] has them.
    pub devices: Vec<PathBuf>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            unit_bytes_max: 4 << 20,
            files_max: 4_096,
            tables_max: 1_024,
            waiting_reads_max: 64,
            device_errors_max: 8,
            device_answer_max: Duration::from_secs(30),
            free_bytes_min: 64 << 20,
            fault_point: Arc::new(NoFaults),
            used_pools: Vec::new(),
            memory: Vec::new(),
            clock: Arc::new(MonotonicClock),
            ids: Arc::new(RandomIds),
        }
    }
}
