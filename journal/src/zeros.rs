//! Files of zeros, written beside the page cache where the file system can.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use disk::{Aligned, Direct};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::format::len64;

/// Bytes of one write: so few that it does not hold up the flush of a segment for long.
const PIECE_BYTES: usize = 512 << 10;

/// Creates a file of `bytes` zeros and makes it durable. Before each piece it calls `wait` with the
/// zeros written so far, and gives up with `false` when that returns `false`.
pub(crate) fn write_file(path: &Path, bytes: u64, wait: &dyn Fn(u64) -> bool) -> io::Result<bool> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    allocate(&file, bytes)?;
    let direct = Direct::writer(path);
    let zeros = Aligned::zeroed(PIECE_BYTES);
    let mut at = 0;
    while at < bytes {
        if !wait(at) {
            return Ok(false);
        }
        let piece = usize::try_from(bytes - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        direct.write(&file, zeros.as_slice().get(..piece).unwrap_or_default(), at)?;
        at += len64(piece);
    }
    file.sync_all()?;
    Ok(true)
}

/// Reserves the space of a file.
pub(crate) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        // Some file systems cannot; the segment then grows as it is written, and a full disk shows
        // later.
        Err(Errno::OPNOTSUPP) => file.set_len(bytes),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_all_zeros_and_as_long_as_asked() {
        let home = tempfile::tempdir().unwrap();
        let bytes = 2 * PIECE_BYTES + 4096;
        let path = home.path().join("f");
        assert!(write_file(&path, len64(bytes), &|_| true).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), vec![0; bytes]);
        assert!(write_file(&path, 1, &|_| true).is_err(), "it is there already");
    }

    #[test]
    fn it_stops_when_told() {
        let home = tempfile::tempdir().unwrap();
        assert!(!write_file(&home.path().join("f"), 4096, &|_| false).unwrap());
    }
}
