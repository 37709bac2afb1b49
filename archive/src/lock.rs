//! The lock that keeps two servers off one data directory.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// Held as long as the archive is open; the kernel gives it back when the process dies.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Takes the lock, or says that another process has it.
    pub(crate) fn take(data: &Path) -> Result<Self, Error> {
        let io = |doing| move |source| Error::Io { doing, source };
        fs::create_dir_all(data).map_err(io("create the data directory"))?;
        let file = File::create(data.join("lock")).map_err(io("open the data directory's lock"))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| Error::Locked)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_refused_while_the_first_lives() {
        let data = tempfile::tempdir().unwrap();
        let first = DataLock::take(data.path()).unwrap();
        assert!(matches!(DataLock::take(data.path()), Err(Error::Locked)));
        drop(first);
        assert!(DataLock::take(data.path()).is_ok());
    }
}
