//! What Filmroom does with instances: services to store, search, retrieve and delete them, and the jobs that pack, adopt, verify
//! and rebuild.
//!
//! [`Archive`] is what adapters use: one store, one query and one retrieve service.

mod archive;
mod barrier;
mod budgets;
mod caller;
mod clock;
mod containers;
mod decisions;
mod deletion;
#[cfg(any(test, feature = "double"))]
pub mod double;
mod error;
mod follower;
mod jobs;
mod link;
mod manifest_cache;
mod metadata_block;
mod metrics;
mod options;
mod quarantine;
mod receive;
mod releaser;
mod resend;
mod results;
mod retrieve;
mod rights;
mod service;
mod serving;
mod status;
mod tasks;
mod unsealed;
mod used_pools;
mod windowed;

pub use archive::Archive;
pub use budgets::{Budget, Permit};
pub use caller::{AuditId, Caller, Identity};
pub use clock::Clock;
pub use error::{Chain, Error};
pub use index::{ContainerPlace, InstanceRef, Location, Selector, Tombstone};
pub use jobs::{ContainerFault, Job, JobControl, JobState, JobStatus, Progress, Step, VerifyReport};
pub use metrics::{Metrics, Operation};
pub use options::{ArchiveOptions, PackOptions};
pub use receive::{Origin, Outcome, Receiver, Stored};
pub use results::Results;
pub use retrieve::{Frame, Frames, InstanceBody, Opened};
pub use rights::{Right, Rights};
pub use service::{QueryService, ReceiveInstance, RetrieveService, Services, StoreService};
pub use status::{DeviceState, PoolState, Status};
