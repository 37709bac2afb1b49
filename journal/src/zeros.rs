//! Files of zeros, written beside the page cache where the file system can.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use disk::{Aligned, Direct};

use super::directory::allocate;
use super::prepare::Pace;
use super::record::len64;

/// Bytes of one write: so few that a flush of a segment is not held up by it for long.
const PIECE_BYTES: usize = 512 << 10;

/// Makes a file of `bytes` zeros at a pace and waits until the disk has it; false if it was stopped on the way.
pub(super) fn write_file(path: &Path, bytes: u64, pace: &Pace) -> io::Result<bool> {
    let made = OpenOptions::new().write(true).create_new(true).open(path)?;
    allocate(&made, bytes)?;
    let direct = Direct::writer(path);
    let zeros = Aligned::zeroed(PIECE_BYTES);
    let mut at = 0;
    while at < bytes {
        if !pace.wait(at) {
            return Ok(false);
        }
        let piece = usize::try_from(bytes - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        direct.write(&made, zeros.as_slice().get(..piece).unwrap_or_default(), at)?;
        at += len64(piece);
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
        let bytes = 2 * PIECE_BYTES + 4096;
        let path = home.path().join("f");
        assert!(write_file(&path, len64(bytes), &Pace::default()).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), vec![0; bytes]);
        assert!(write_file(&path, 1, &Pace::default()).is_err(), "it is there already");
    }

    #[test]
    fn it_stops_when_told() {
        let home = tempfile::tempdir().unwrap();
        let pace = Pace::default();
        pace.stop();
        assert!(!write_file(&home.path().join("f"), 4096, &pace).unwrap());
    }
}
