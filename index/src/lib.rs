//! The index in Postgres: what the archive knows about its instances. The only crate that speaks SQL.
//!
//! The index can be rebuilt from the containers and the journal. A writer holds the row lock of each study that it
//! touches, so counts, sets and duplicates need no further care. Readers take no locks. One transaction moves instances
//! from unsealed rows to a segment. Readers look at unsealed rows first and at segments second, so they see every
//! instance at least once.

pub use apply::Prepared;
pub use archive_index::{Answer, ArchiveIndex, PreparedBatch};
pub use arrival::{Applied, Arrival, ArrivalHead};
pub use connection::Index;
pub use containers::{Container, Counts, Shard};
pub use database_server::DatabaseServer;
pub use embedded::EmbeddedPostgres;
pub use error::Error;
pub use matches::Matches;
pub use memory_index::{MemoryIndex, Snapshot};
pub use new_container::{NewContainer, NewSegment, NewShard};
pub use pack::{PackStudy, UnsealedRow};
pub use places::{ContainerPlace, InstanceRef, Located, Location, Selector};
pub use segment::Segment;
pub use tombstone::Tombstone;

mod error;
mod numbers;

mod arrival;
mod matches;
mod new_container;
mod places;
mod segment;

mod database_server;
mod embedded;

mod connection;
mod filters;
mod segment_cache;

mod apply;
mod instances;
mod json;
mod levels;
mod locate;
mod pack;
mod seal;
mod segments;
mod summary;
mod tombstone;
mod upsert;

mod columns;
mod condition;
mod count;
mod look_ups;
mod plan;
mod plan_sql;
mod search;
mod search_row;

mod checks;
mod containers;
mod job_states;

mod archive_index;
mod memory_index;
mod postgres_index;
