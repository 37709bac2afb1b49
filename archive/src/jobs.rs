//! What the archive does on its own, and what takes its time: packing, adopting, verifying, rebuilding, importing. Policy is
//! here; how a container is written is in `tiering`.

mod adopt;
mod control;
mod job;
mod new_container;
mod pack;
mod probe;
mod progress;
mod rebuild;
mod scheduler;
mod verify;

pub(crate) use adopt::{AdoptJob, Adopter, deletions};
pub use control::{JobControl, JobState, JobStatus};
pub use job::{Job, Step};
pub(crate) use pack::{PackJob, PackParts, Packer};
pub(crate) use probe::ProbeJob;
pub use progress::Progress;
pub(crate) use rebuild::rebuild;
pub(crate) use scheduler::Scheduler;
pub(crate) use verify::Verifier;
pub use verify::{ContainerFault, VerifyReport};
