//! What Filmroom keeps: instances, queries, the journal, the index and the jobs. The only owner of Postgres.
//!
//! [`Archive`] is what adapters use: one store, one query and one retrieve service.

pub mod dataset;
pub mod index;
pub mod journal;
pub mod query;

mod archive;
mod checksum;
mod clock;
mod error;
mod follower;
mod held;
mod jobs;
mod link;
mod lock;
mod metrics;
mod options;
mod parsing;
mod presence;
mod quarantine;
mod receive;
mod retrieve;
mod sealed;
mod source;
mod tombstones;
mod uid;
mod used_pools;

pub use archive::{Archive, Opened, Results};
pub use clock::Clock;
pub use error::{Chain, Error};
pub use index::Tombstone;
pub use jobs::{ContainerFault, DeviceState, PoolState, Progress, Status, VerifyReport};
pub use metrics::{Metrics, Operation};
pub use options::{ArchiveOptions, PackOptions};
pub use receive::{Origin, Outcome, Receiver, Stored};
pub use retrieve::{Frame, Frames, InstanceBody, InstanceRef, Location, Sealed, Selector};
pub use uid::{InvalidUid, UID_CHARS_MAX, Uid};
