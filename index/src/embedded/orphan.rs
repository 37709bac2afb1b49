//! A server of our own cluster that an earlier process left behind.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, test_kill_process};
use tokio::time::sleep;

use super::failure::cluster_error;
use super::process::{self, POLL};
use crate::error::Error;

/// A fast shutdown ends clients and writes a checkpoint; an immediate one leaves the log to be replayed.
const SHUTDOWNS: [(Signal, Duration); 2] =
    [(Signal::INT, Duration::from_secs(30)), (Signal::QUIT, Duration::from_secs(10))];

/// Shuts down the server that `postmaster.pid` names, if it runs on this very cluster.
pub(super) async fn stop(cluster: &Path) -> Result<(), Error> {
    let Some(pid) = running(cluster) else {
        return Ok(());
    };
    tracing::info!(pid = pid.as_raw_nonzero().get(), "stopping the Postgres that an earlier process left behind");
    for (signal, patience) in SHUTDOWNS {
        process::signal(pid, signal);
        for _ in 0..patience.as_millis().div_ceil(POLL.as_millis()) {
            if running(cluster) != Some(pid) {
                return Ok(());
            }
            sleep(POLL).await;
        }
    }
    Err(cluster_error(format!(
        "the Postgres of an earlier start does not end: end process {} by hand",
        pid.as_raw_nonzero()
    )))
}

/// Returns the server that runs on the cluster. The pid file outlives a crash, and its number may be another process by now: the command line tells.
pub(super) fn running(cluster: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
    test_kill_process(pid).ok()?;
    let command = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
    let cluster = cluster.as_os_str().as_encoded_bytes();
    command.split(|byte| *byte == 0).any(|argument| argument == cluster).then_some(pid)
}
