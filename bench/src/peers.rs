//! Servers under measurement: each is a child process in a directory of its own, and stops when dropped.

pub mod filmroom;
pub mod nginx;
pub mod orthanc;
mod peer;
mod postgres;
mod process;
pub mod storescp;

use std::path::Path;

use anyhow::Context;

pub use peer::{Base, Kind, Peer, Programs, free_port, loopback, missing};
pub use process::Process;

/// Starts a peer in a directory that is new or that an earlier start left behind. `None`: its program is missing, as
/// stderr says by then.
pub fn start(kind: Kind, programs: &Programs, directory: &Path) -> anyhow::Result<Option<Peer>> {
    std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let started = match kind {
        Kind::Filmroom => filmroom::start(programs, directory).map(Some),
        Kind::NewOrthancSqlite | Kind::NewOrthancPostgres | Kind::OrthancSqlite | Kind::OrthancPostgres => {
            orthanc::start(kind, programs, directory)
        }
        Kind::Storescp | Kind::StorescpIgnore => storescp::start(kind, programs, directory),
        Kind::Nginx => nginx::start(programs, directory),
    };
    started.with_context(|| format!("start {kind}: see its log in {}", directory.display()))
}
