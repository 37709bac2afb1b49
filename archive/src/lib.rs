//! What Filmroom keeps: instances, queries, the journal, the index and the jobs. The only owner of Postgres.
//!
//! [`Archive`] is what adapters use: one store, one query and one retrieve service.

mod archive;
mod clock;
mod error;
mod follower;
mod held;
mod jobs;
mod link;
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
mod used_pools;

pub use archive::{Archive, Opened, Results};
pub use clock::Clock;
pub use error::{Chain, Error};
pub use index::{InstanceRef, Location, Sealed, Selector, Tombstone};
pub use jobs::{ContainerFault, DeviceState, PoolState, Progress, Status, VerifyReport};
pub use metrics::{Metrics, Operation};
pub use options::{ArchiveOptions, PackOptions};
pub use receive::{Origin, Outcome, Receiver, Stored};
pub use retrieve::{Frame, Frames, InstanceBody};
