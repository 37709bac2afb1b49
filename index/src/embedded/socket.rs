//! Where the server's socket lies: its path may have 107 bytes at most.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::failure::{cluster_error, io_error};
use super::owner::Owner;
use crate::error::Error;

/// `sun_path` has 108 bytes, the last is NUL; `/.s.PGSQL.5432.lock` is the longest name in the directory.
const DIRECTORY_BYTES_MAX: usize = 107 - 19;

/// Returns a directory that only the owner can use: inside the cluster's own, or a short one of the same identity
/// when that path is too long.
pub(super) fn directory(home: &Path, owner: &Owner) -> Result<PathBuf, Error> {
    let inside = home.join("socket");
    if inside.as_os_str().len() <= DIRECTORY_BYTES_MAX {
        return make(inside, owner);
    }
    let identity = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, home.as_os_str().as_encoded_bytes());
    let name = format!("filmroom-{identity:016x}");
    make(Path::new("/run").join(&name), owner).or_else(|_| make(Path::new("/tmp").join(&name), owner))
}

fn make(directory: PathBuf, owner: &Owner) -> Result<PathBuf, Error> {
    match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
        Ok(()) => owner.hand_over(&directory)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_error("make the socket's directory")(error)),
    }
    if owner.has_to_itself(&directory) {
        return Ok(directory);
    }
    // In a shared directory another user may have been there first.
    Err(cluster_error(format!("{} belongs to another user or is open to others: remove it", directory.display())))
}
