//! What a peer is: its kind, where it listens, its processes.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::process::Process;

/// A server that runs. Dropped, it is stopped with all its processes.
#[derive(Debug)]
pub struct Peer {
    /// What it is.
    pub kind: Kind,
    /// Where it takes associations.
    pub dicom: Option<SocketAddr>,
    /// Its application entity title.
    pub ae: String,
    /// Where its DICOMweb services (for nginx: its files) are.
    pub http: Option<Base>,
    /// Directories with what it stores, for the page cache and for footprints.
    pub data_dirs: Vec<PathBuf>,
    /// Its directory: configuration, log, data.
    pub directory: PathBuf,
    /// The server first, then what it needs (Postgres); stopped in this order.
    pub processes: Vec<Process>,
}

/// Root of an HTTP service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Where to connect.
    pub address: SocketAddr,
    /// Path in front of `/studies`, without a slash at its end.
    pub path: String,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ours, in the default configuration of `filmroom serve`.
    Filmroom,
    /// Orthanc unpacked from a newer release, index in SQLite.
    NewOrthancSqlite,
    /// Orthanc unpacked from a newer release, index in Postgres.
    NewOrthancPostgres,
    /// Orthanc of the system, index in SQLite.
    OrthancSqlite,
    /// Orthanc of the system, index in Postgres.
    OrthancPostgres,
    /// DCMTK's storescp, which writes files and neither syncs nor indexes.
    Storescp,
    /// DCMTK's storescp that drops what it receives: the bare protocol.
    StorescpIgnore,
    /// nginx, which sends files.
    Nginx,
}

/// Programs of the peers, and what all peers are told.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `filmroom`.
    pub filmroom: PathBuf,
    /// Orthanc of the system.
    pub orthanc: PathBuf,
    /// Root of an unpacked newer Orthanc with its libraries.
    pub orthanc_root: Option<PathBuf>,
    /// DCMTK's storescp.
    pub storescp: PathBuf,
    /// nginx.
    pub nginx: PathBuf,
    /// Destinations of C-MOVE: title and port on 127.0.0.1.
    pub destinations: Vec<(String, u16)>,
}

impl Kind {
    /// The archives that answer queries, ours not among them, in the order of the targets.
    pub const ARCHIVES: [Self; 4] =
        [Self::NewOrthancSqlite, Self::NewOrthancPostgres, Self::OrthancSqlite, Self::OrthancPostgres];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filmroom => "filmroom",
            Self::NewOrthancSqlite => "orthanc12-sqlite",
            Self::NewOrthancPostgres => "orthanc12-postgres",
            Self::OrthancSqlite => "orthanc10-sqlite",
            Self::OrthancPostgres => "orthanc10-postgres",
            Self::Storescp => "storescp",
            Self::StorescpIgnore => "storescp-ignore",
            Self::Nginx => "nginx",
        })
    }
}

impl Peer {
    /// Returns where it takes associations.
    pub fn dicom(&self) -> anyhow::Result<SocketAddr> {
        self.dicom.with_context(|| format!("{} has no DICOM service", self.kind))
    }

    /// Returns where its HTTP service is.
    pub fn http(&self) -> anyhow::Result<&Base> {
        self.http.as_ref().with_context(|| format!("{} has no HTTP service", self.kind))
    }

    /// Returns the roots of its process trees; the server is the first.
    pub fn pids(&self) -> Vec<i32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// Stops it in order; its directory stays.
    pub fn stop(mut self) -> anyhow::Result<()> {
        for process in self.processes.drain(..) {
            process.stop()?;
        }
        Ok(())
    }

    /// Kills the server (not its Postgres) with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let server = self.processes.first_mut().context("kill: nothing runs")?;
        server.kill()
    }
}

/// Reports what to install for a peer whose program is missing.
pub fn missing(kind: Kind, program: &Path, install: &str) {
    crate::report::progress(&format!("{kind}: there is no {}; {install}", program.display()));
}

/// Returns a port of the loopback interface that is free now.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("look for a free port")?;
    Ok(listener.local_addr().context("look for a free port")?.port())
}

/// Returns an address on the loopback interface.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
