//! nginx, which sends files as they lie on the disk.

use std::path::Path;

use super::{Kind, Peer, Programs, missing};

/// Starts it; `None` when it is not installed.
pub fn start(programs: &Programs, _directory: &Path) -> anyhow::Result<Option<Peer>> {
    missing(Kind::Nginx, &programs.nginx, "install the package nginx-light");
    Ok(None)
}
