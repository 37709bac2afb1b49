//! File operations that the standard library lacks: reads at an offset, reads that never wait, writes that are durable
//! and never replace anything.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::Error;

/// Reads exactly these bytes.
pub(crate) fn read_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(out, offset)
}

/// Reads exactly these bytes if the kernel has them in memory; `false` if it would wait, cannot tell, or fails.
pub(crate) fn read_now(file: &File, out: &mut [u8], offset: u64) -> bool {
    let wanted = out.len();
    preadv2(file, &mut [IoSliceMut::new(out)], offset, ReadWriteFlags::NOWAIT) == Ok(wanted)
}

/// Gives a file its final name; fails if the name is taken.
pub(crate) fn publish(from: &Path, to: &Path) -> Result<(), Error> {
    let renamed = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems without this flag, NFS among them, still refuse to link over a name.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
        }
        other => other.map_err(io::Error::from),
    };
    renamed.map_err(Error::io("publish", to))
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(Error::io("sync directory", path))
}

/// Makes a directory and those above it, and makes every new one durable.
pub(crate) fn create_directories(path: &Path) -> Result<(), Error> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    create_directories(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other.map_err(Error::io("create directory", path))?,
    }
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    sync_directory(parent)
}

/// Writes a small file that must not exist yet, durably.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let tmp = Path::new(&name);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).open(tmp).map_err(Error::io("create", tmp))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io("write", tmp))?;
    publish(tmp, path)?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_never_replaces() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("a"), home.path().join("b"));
        fs::write(&from, b"new").unwrap();
        fs::write(&to, b"old").unwrap();
        assert!(publish(&from, &to).is_err());
        assert_eq!(fs::read(&to).unwrap(), b"old");
        fs::remove_file(&to).unwrap();
        publish(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
        assert!(!from.exists());
    }

    #[test]
    fn directories_are_made_with_their_parents() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("a/b/c");
        create_directories(&deep).unwrap();
        create_directories(&deep).unwrap();
        assert!(deep.is_dir());
    }
}
