//! What Filmroom keeps: instances, queries, the journal, the index and the jobs. The only owner of Postgres.

pub mod dataset;
pub mod index;
pub mod journal;
pub mod query;

mod archive;
mod clock;
mod error;
mod metrics;
mod receive;
mod retrieve;
mod uid;

pub use archive::{Archive, ArchiveOptions};
pub use clock::Clock;
pub use error::Error;
pub use metrics::{Metrics, Operation};
pub use receive::{Origin, Outcome, Receiver, Stored};
pub use retrieve::{Frame, Frames, InstanceBody, InstanceRef, Location, Selector};
pub use uid::Uid;
