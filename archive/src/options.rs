//! What the archive needs to know to start.

use std::path::PathBuf;
use std::time::Duration;

use crate::Clock;
use journal::JournalOptions;

/// What the archive needs to know to start.
#[derive(Debug, Clone)]
pub struct ArchiveOptions {
    /// Folder of everything that is ours: lock, embedded cluster, quarantine.
    pub data: PathBuf,
    /// Postgres to use; `None` starts a cluster of our own under `data`.
    pub index_url: Option<String>,
    /// Memory for pages of the cluster of our own, in bytes; `None` takes a quarter of the machine's, 128 MiB to 8 GiB.
    pub index_cache_bytes: Option<u64>,
    /// Connections to Postgres at most.
    pub index_connections_max: u32,
    /// Where acknowledged instances lie until they are sealed.
    pub journal: JournalOptions,
    /// Where sealed instances lie.
    pub pools: Vec<tiering::PoolConfig>,
    /// When and how instances are packed.
    pub pack: PackOptions,
    /// Longest data set that is taken, in bytes.
    pub instance_bytes_max: u64,
    /// How long a query waits for the index to catch up with what was acknowledged before it.
    pub barrier_wait_max: Duration,
    /// The time of day.
    pub clock: Clock,
}

/// When and how instances are packed.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// A study is packed when nothing came for so long.
    pub quiet: Duration,
    /// A container that is not full waits so long for more of its month.
    pub wait_max: Duration,
    /// Logical bytes of a full container.
    pub container_bytes: u64,
    /// Instances of a full container, however small they are: what the packer knows of each is in memory meanwhile.
    pub container_instances_max: u32,
    /// Percent of the journal's limit above which studies are packed without waiting.
    pub pressure_percent: u8,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self {
            quiet: Duration::from_mins(2),
            wait_max: Duration::from_hours(1),
            container_bytes: 1 << 30,
            container_instances_max: 1 << 15,
            pressure_percent: 50,
        }
    }
}
