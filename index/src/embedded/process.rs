//! Signals to a server process, and how often to look whether it acted on one.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How often a starting or ending server is looked at.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// Signals a server. A server that ended by itself meanwhile needs no signal.
pub(super) fn signal(pid: Pid, signal: Signal) {
    if let Err(error) = kill_process(pid, signal) {
        tracing::debug!(%error, "the Postgres to be stopped is gone");
    }
}
