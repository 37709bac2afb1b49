//! Finds the machine's PostgreSQL programs.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::failure::io_error;
use crate::error::Error;

/// Where distributions keep versioned programs.
const VERSIONED: [&str; 4] = ["/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/postgresql", "/usr/pgsql"];
/// Oldest major version that the archive's statements run on.
const OLDEST: u32 = 14;

/// A directory with `initdb` and `postgres` of one version.
#[derive(Debug)]
pub(super) struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// Finds the programs of the cluster's version, or the newest for a cluster yet to be made.
    pub(super) async fn find(cluster: &Path) -> Result<Self, Error> {
        let mut found: Vec<(u32, PathBuf)> = Vec::new();
        for directory in candidates() {
            if let Some(major) = major_version(&directory).await
                && major >= OLDEST
            {
                found.push((major, directory));
            }
        }
        found.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
        let newest = found.first().ok_or(Error::NoPrograms)?.0;
        let wanted = match std::fs::read_to_string(cluster.join("PG_VERSION")) {
            Ok(version) => version.trim().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => newest.to_string(),
            Err(error) => return Err(io_error("read PG_VERSION of the cluster")(error)),
        };
        let fits = found.into_iter().find(|(major, _)| major.to_string() == wanted);
        let (_, directory) = fits.ok_or_else(|| Error::ProgramVersion {
            directory: cluster.to_owned(),
            cluster: wanted,
            installed: newest.to_string(),
        })?;
        Ok(Self { directory })
    }

    /// Returns the path of one program.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }
}

fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for parent in VERSIONED {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        all.extend(entries.flatten().map(|entry| entry.path().join("bin")));
    }
    all.retain(|directory| directory.join("initdb").is_file() && directory.join("postgres").is_file());
    all
}

async fn major_version(directory: &Path) -> Option<u32> {
    let output = Command::new(directory.join("postgres")).arg("--version").output().await.ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let version = said.split_whitespace().nth(2)?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
