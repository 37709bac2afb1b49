//! Files of zeros, written beside the page cache where the file system can.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tiering::direct::{Aligned, CHUNK_BYTES, Direct};

use super::disk::allocate;
use super::record::len64;

/// Makes a file of `bytes` zeros and waits until the disk has it; false if it was stopped on the way.
pub(super) fn write_file(path: &Path, bytes: u64, stop: &AtomicBool) -> io::Result<bool> {
    let made = OpenOptions::new().write(true).create_new(true).open(path)?;
    allocate(&made, bytes)?;
    let direct = Direct::writer(path);
    let zeros = Aligned::zeroed(CHUNK_BYTES);
    let mut at = 0;
    while at < bytes {
        if stop.load(Ordering::Acquire) {
            return Ok(false);
        }
        let chunk = usize::try_from(bytes - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        // One chunk at a time: short enough that a flush of a segment is not held up by it for long.
        direct.write(&made, zeros.as_slice().get(..chunk).unwrap_or_default(), at)?;
        at += len64(chunk);
    }
    made.sync_all()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_all_zeros_and_as_long_as_asked() {
        let home = tempfile::tempdir().unwrap();
        let bytes = 2 * CHUNK_BYTES + 4096;
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
