//! File operations that the standard library lacks: directories, names and small files that survive
//! a power cut, names that are never taken from another file, and reads that never wait.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Fills all buffers, one after the other, if the kernel has the bytes in memory; `false` if it
/// would wait, cannot tell, or fails. The buffers may hold anything then.
pub fn read_now(file: &File, buffers: &mut [IoSliceMut<'_>], offset: u64) -> bool {
    let wanted: usize = buffers.iter().map(|buffer| buffer.len()).sum();
    preadv2(file, buffers, offset, ReadWriteFlags::NOWAIT) == Ok(wanted)
}

/// Makes the entries of a directory durable. The empty path is the working directory.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// Creates a directory and those above it; the name of every new one is durable on return.
pub fn create_directories(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = parent(path);
    create_directories(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    sync_directory(parent)
}

/// Gives a file its final name; fails if the name is taken. [`sync_directory`] makes the name
/// durable.
pub fn publish(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems without this flag, NFS among them, still refuse to link over a name.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
        }
        other => other.map_err(io::Error::from),
    }
}

/// Writes a small file that must not exist yet; file and name are durable on return.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = write_unfinished(path, |file| file.write_all(bytes))?;
    publish(&unfinished, path)?;
    sync_directory(parent(path))
}

/// Writes a file in one step: after a crash the old one is there or the new one, whole. Durable on
/// return.
pub fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let unfinished = write_unfinished(path, write)?;
    fs::rename(unfinished, path)?;
    sync_directory(parent(path))
}

/// Writes a file of the same name with `.tmp` behind it, and makes its bytes durable.
fn write_unfinished(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<PathBuf> {
    let mut name = OsString::from(path);
    name.push(".tmp");
    let unfinished = PathBuf::from(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&unfinished)?;
    write(&mut file)?;
    file.sync_all()?;
    Ok(unfinished)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
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

    #[test]
    fn a_small_file_is_written_once_or_replaced_and_nothing_else_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f.json");
        write_new(&path, b"first").unwrap();
        assert_eq!(write_new(&path, b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        replace(&path, |file| file.write_all(b"third")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        replace(&path, |_| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"third", "a failed write changes nothing");
    }

    #[test]
    fn what_was_just_written_is_read_without_waiting_and_nothing_behind_the_end() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        fs::write(&path, [7; 100]).unwrap();
        let file = File::open(&path).unwrap();
        let (mut a, mut b) = ([0; 10], [0; 20]);
        if read_now(&file, &mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)], 70) {
            assert!(a == [7; 10] && b == [7; 20]); // some file systems cannot tell what is in memory
        }
        assert!(!read_now(&file, &mut [IoSliceMut::new(&mut a)], 91));
    }
}
