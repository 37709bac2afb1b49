//! Where Filmroom keeps sealed instances: containers, erasure code, devices, pools. Knows no SQL and no DICOM attribute.
//!
//! A [`Store`] is a set of pools. A *pool* has devices and one [`CodeProfile`] k+m; a *device* is one failure domain, a
//! directory or another [`Medium`]. A *container* is an immutable run of bytes that is cut into units, coded, and kept as k+m *shards* on as
//! many devices of one pool; the `shard` module documents the file format byte by byte, `layout` how bytes are striped.
//!
//! What reads it: [`Store::read`] and its kin return bytes only after a checksum agreed, decoding what is damaged or
//! missing from other shards. What writes it: [`Store::create`] gives a [`ContainerWriter`], whose
//! [`seal`](ContainerWriter::seal) returns once every shard is fsynced, has its final name, and was read back.
//! Nothing here ever overwrites a published file.

/// Entry points of the fuzz targets; not part of the interface.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

mod catalog;
mod damage;
mod device;
mod erasure;
mod error;
mod id;
mod keeper;
mod layout;
mod medium;
mod options;
mod placement;
mod pool;
mod pools;
mod profile;
mod reader;
mod shard;
mod store;
mod surroundings;
mod toc;
mod tombstones;
mod verifier;
mod wire;
mod writer;

pub use damage::DamageCounts;
pub use device::fault_point::{FaultPoint, NoFaults, Step};
#[doc(hidden)] // for benches
pub use erasure::Erasure;
pub use error::Error;
pub use id::{ContainerId, DeviceId};
pub use medium::memory::{MemoryMedium, Snapshot};
pub use medium::name::{Note, Presence, ShardName, Space};
pub use medium::{DirectoryMedium, Medium, ShardReader, ShardStage};
pub use options::{StoreOptions, UsedPool};
pub use pool::{ContainerPlaces, DeviceStatus, PoolConfig, PoolStatus};
pub use profile::{CodeProfile, Tier};
pub use reader::{Checked, Wait};
pub use shard::examine::Verdict;
pub use store::Store;
pub use surroundings::{Clock, Ids, MonotonicClock, RandomIds};
pub use toc::manifest::{Extent, InstanceKind, Manifest, ManifestInstance};
pub use toc::{Toc, TocSegment};
pub use verifier::{ShardVerdict, Verification};
pub use writer::{ContainerWriter, SealReport};
