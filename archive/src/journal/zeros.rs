//! Files of zeros, written beside the page cache where the file system can.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};

use super::disk::allocate;
use super::record::len64;

/// Bytes of one write: short enough that a flush of a segment is not held up by it for long.
const CHUNK_BYTES: usize = 1 << 20;
/// What the addresses and lengths of writes beside the page cache are multiples of.
const ALIGN_BYTES: usize = 4096;

/// Makes a file of `bytes` zeros and waits until the disk has it; false if it was stopped on the way.
pub(super) fn write_file(path: &Path, bytes: u64, stop: &AtomicBool) -> io::Result<bool> {
    let made = OpenOptions::new().write(true).create_new(true).open(path)?;
    allocate(&made, bytes)?;
    let direct = rustix::fs::open(path, OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty());
    // Some file systems know no other way than through the page cache.
    let file = direct.map_or(made, File::from);
    let room = vec![0; CHUNK_BYTES + ALIGN_BYTES];
    let zeros = room.get(room.as_ptr().align_offset(ALIGN_BYTES)..).unwrap_or_default();
    let mut at = 0;
    while at < bytes {
        if stop.load(Ordering::Acquire) {
            return Ok(false);
        }
        let chunk = usize::try_from(bytes - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        file.write_all_at(zeros.get(..chunk).unwrap_or_default(), at)?;
        at += len64(chunk);
    }
    file.sync_all()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_all_zeros_and_as_long_as_asked() {
        let home = tempfile::tempdir().unwrap();
        let bytes = 2 * CHUNK_BYTES + ALIGN_BYTES;
        let path = home.path().join("f");
        assert!(write_file(&path, len64(bytes), &AtomicBool::new(false)).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), vec![0; bytes]);
        assert!(write_file(&path, 1, &AtomicBool::new(false)).is_err(), "it is there already");
    }

    #[test]
    fn it_stops_when_told() {
        let home = tempfile::tempdir().unwrap();
        assert!(!write_file(&home.path().join("f"), 4096, &AtomicBool::new(true)).unwrap());
    }
}
