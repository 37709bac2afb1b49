//! Background work: what waits for something to do, and does it step by step.

use futures_util::future::BoxFuture;

use super::control::JobControl;
use crate::Error;

/// Background work that a scheduler runs: `wait`, then `step` until there is nothing to do, and again.
///
/// A job owns what it needs and nothing else. What must survive a restart is in the index or can be derived from it; the
/// scheduler itself keeps whether the job is paused and how much it is throttled.
pub trait Job: Send + 'static {
    /// Returns the name, unique in the archive: `pack`, `adopt`.
    fn name(&self) -> &'static str;

    /// Returns what done and total count: `instances`, `containers`.
    fn unit(&self) -> &'static str;

    /// Returns how long `wait` takes at most, if it looks for work by itself.
    fn wait_max(&self) -> Option<std::time::Duration>;

    /// Waits until there is something to do. Cancel safe.
    fn wait(&mut self) -> BoxFuture<'_, ()>;

    /// Does the next piece of work. A step that has begun is finished: pausing and stopping come between steps, and where
    /// the step asks [`JobControl::checkpoint`].
    fn step<'a>(&'a mut self, control: &'a JobControl) -> BoxFuture<'a, Result<Step, Error>>;
}

/// What comes after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do at once.
    More,
    /// Nothing to do: wait.
    Wait,
}
