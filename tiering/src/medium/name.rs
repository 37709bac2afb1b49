//! What is kept on a medium, by name: shards and notes. No path appears here or above.

use crate::ContainerId;
use crate::shard::FIRST_GENERATION;

/// Name of a shard on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardName {
    /// The container that it belongs to.
    pub container: ContainerId,
    /// Which writing of the container; format version 1 has only one, and does not name it.
    pub generation: u32,
    /// Number of the shard, below k+m.
    pub shard: u8,
}

impl ShardName {
    /// Returns the name of a shard of a container's first writing.
    pub fn new(container: ContainerId, shard: u8) -> Self {
        Self { container, generation: FIRST_GENERATION, shard }
    }
}

/// A small record beside the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// Which device this is: written once, when it becomes one.
    Identity,
    /// Tombstones: records are only ever added.
    Tombstones,
}

/// What a medium holds at a first look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is not there.
    Absent,
    /// It is there, and no shard was ever written to it.
    Empty,
    /// Shards were written to it.
    Used,
}

/// Room on a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that it has altogether.
    pub total_bytes: u64,
    /// Bytes that can still be written.
    pub free_bytes: u64,
}
