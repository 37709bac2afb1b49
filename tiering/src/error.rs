//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};

use crate::{ContainerId, Tier};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot work; it fails the same way until a person changes it.
    #[error("configure pools: {reason}")]
    Config {
        /// What is wrong and what to do.
        reason: String,
    },
    /// A device is not what the configuration says it is; a person must look.
    #[error("open device {}: {reason}", path.display())]
    Device {
        /// Directory of the device.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// No pool is configured for this tier.
    #[error("create container: configure a pool of tier {tier}")]
    NoPool {
        /// The tier asked for.
        tier: Tier,
    },
    /// No pool of the tier has room; room can come back.
    #[error("create container: no pool of tier {tier} has {needed_bytes} bytes free on enough devices")]
    NoRoom {
        /// The tier asked for.
        tier: Tier,
        /// Logical bytes that were to be stored.
        needed_bytes: u64,
    },
    /// Too few devices of the pool are online to place every shard on its own device.
    #[error("create container: pool {pool} has {online} devices online and needs {needed}")]
    TooFewDevices {
        /// Name of the pool.
        pool: String,
        /// Devices online now.
        online: usize,
        /// Devices needed, k+m.
        needed: usize,
    },
    /// No online device knows this container; a device that is offline may.
    #[error("find container {container}: no device online has a shard of it")]
    Missing {
        /// The container asked for.
        container: ContainerId,
    },
    /// More shards are missing or damaged than the code can replace; other ranges may still be readable.
    #[error("read container {container}: shards {missing:?} are missing or damaged, more than the code replaces")]
    Lost {
        /// The container that lost bytes.
        container: ContainerId,
        /// Numbers of the shards that could not be used.
        missing: Vec<u8>,
    },
    /// More devices do not answer than the code replaces; they may answer again, or go offline soon.
    #[error("read container {container}: the devices of shards {shards:?} do not answer, more than the code replaces")]
    Unanswered {
        /// The container asked for.
        container: ContainerId,
        /// Numbers of the shards that could not be had.
        shards: Vec<u8>,
    },
    /// The range asked for ends beyond the container.
    #[error("read container {container}: range ends at {end}, the container at {logical_bytes}")]
    OutOfRange {
        /// The container asked for.
        container: ContainerId,
        /// End of the range asked for.
        end: u64,
        /// Logical bytes of the container.
        logical_bytes: u64,
    },
    /// Every block checksum agrees but the caller's does not: the caller's range or checksum is wrong, or the checksums are.
    #[error("read container {container}: {bytes} bytes at {offset} are whole but have another checksum than expected")]
    Mismatch {
        /// The container asked for.
        container: ContainerId,
        /// Logical offset of the range.
        offset: u64,
        /// Bytes of the range.
        bytes: u64,
    },
    /// Encoded bytes of a table of contents or manifest cannot be read; the same bytes fail for ever.
    #[error("decode {what}: {reason}")]
    Malformed {
        /// What was being decoded.
        what: &'static str,
        /// Why it failed.
        reason: &'static str,
    },
    /// What was just written does not read back; the shards are removed, write the container again.
    #[error("seal container {container}: shards {shards:?} do not read back as written")]
    ReadBack {
        /// The container being sealed.
        container: ContainerId,
        /// Numbers of the shards that differ.
        shards: Vec<u8>,
    },
    /// An earlier write of this container failed; drop the writer and start another.
    #[error("write container {container}: an earlier write failed, start another container")]
    WriterFailed {
        /// The container being written.
        container: ContainerId,
    },
    /// Too few devices took the tombstone for it to survive what the code survives.
    #[error("keep tombstone: {copies} devices of the best pool took it, {needed} are needed")]
    TombstoneNotKept {
        /// Devices of the best pool that took it.
        copies: usize,
        /// Devices needed, m+1.
        needed: usize,
    },
    /// A tombstone is longer than its limit.
    #[error("keep tombstone: {bytes} bytes are more than {bytes_max}")]
    TombstoneSize {
        /// Bytes of the record.
        bytes: usize,
        /// Largest record.
        bytes_max: usize,
    },
    /// A device or file failed.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The source that a container is filled from failed or ended early.
    #[error("fill container {container} from its source")]
    Source {
        /// The container being written.
        container: ContainerId,
        /// What the source said.
        source: io::Error,
    },
    /// The runtime stopped before the read was done.
    #[error("read container: the runtime is stopping")]
    Stopped,
}

impl Error {
    /// Returns a function that wraps a system error; for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
