//! An archive in memory that offers the same services: the double that adapters are tested and measured with.
//!
//! A test fills [`State`] with instances and matches, or stores instances through the adapter, and reads from it which
//! calls came. Rights are checked as in the archive. Instances are kept in the order in which they came; nothing is
//! packed, and a search filters nothing: it returns the matches that the test prepared, or those of the instances.

mod filing;
mod instance;
mod query;
mod retrieve;
mod state;
mod store;

pub use filing::{Fault, Identify, Keeping};
pub use instance::{Endless, Instance, Reading};
pub use state::{Double, State};
pub use store::DoubleReceiver;
