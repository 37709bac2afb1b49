//! The lock that keeps a second server off a directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// The lock of one directory, held until it is released or dropped; the kernel releases it when the
/// process dies.
#[derive(Debug)]
pub struct DirLock {
    file: File,
}

impl DirLock {
    /// Takes the lock of an existing directory. `WouldBlock`: another process, or another part of
    /// this one, holds it.
    pub fn take(directory: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("lock"))?;
        file.try_lock()?;
        Ok(Self { file })
    }

    /// Releases the lock before it is dropped; a second call does nothing.
    pub fn release(&self) {
        // Closing the file is not enough: a process that was forked a moment ago shares it until
        // its exec.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "a directory's lock could not be released");
        }
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_refused_while_the_first_lives() {
        let data = tempfile::tempdir().unwrap();
        let first = DirLock::take(data.path()).unwrap();
        assert_eq!(DirLock::take(data.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(DirLock::take(data.path()).is_ok());
    }

    #[test]
    fn a_lock_is_released_though_a_child_process_shares_its_file() {
        let data = tempfile::tempdir().unwrap();
        let first = DirLock::take(data.path()).unwrap();
        let _as_in_a_child = first.file.try_clone().unwrap();
        drop(first);
        assert!(DirLock::take(data.path()).is_ok());
    }
}
