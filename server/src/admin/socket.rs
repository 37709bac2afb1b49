//! Unix sockets whose path may be longer than the 107 bytes the kernel takes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest path that fits into a socket address with its terminator.
const PATH_BYTES_MAX: usize = 107;

/// A path that the kernel takes for a socket, valid as long as this lives.
#[derive(Debug)]
pub(super) struct SocketPath {
    path: PathBuf,
    _directory: Option<File>,
}

impl SocketPath {
    /// Returns `path` itself, or a way to it through its open directory when it is too long.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let directory = File::open(parent)?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }

    /// Returns the path to bind or to connect to.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
