//! Reading and writing beside the page cache: what is read once or written once to be kept for years has no place in
//! it, and copying through it was half of the time that packing took. The journal's segments are written in the same way.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What addresses, offsets and lengths must be multiples of.
pub const ALIGN_BYTES: usize = 4096;
/// Bytes of one read or write.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Memory that begins where the device can take it from.
#[derive(Debug, Default)]
pub struct Aligned {
    room: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Aligned {
    /// Returns zeros, as many as asked for.
    pub fn zeroed(bytes: usize) -> Self {
        let room = vec![0; bytes.saturating_add(ALIGN_BYTES)];
        let start = room.as_ptr().align_offset(ALIGN_BYTES);
        Self { room, start, bytes }
    }

    /// Returns all of it.
    pub fn as_slice(&self) -> &[u8] {
        self.room.get(self.start..).and_then(|room| room.get(..self.bytes)).unwrap_or_default()
    }

    /// Returns the first bytes, at most as many as it was made with.
    pub fn first_mut(&mut self, bytes: usize) -> &mut [u8] {
        let bytes = bytes.min(self.bytes);
        self.room.get_mut(self.start..).and_then(|room| room.get_mut(..bytes)).unwrap_or_default()
    }
}

/// A file beside the page cache where its file system can do that, else through it.
#[derive(Debug)]
pub struct Direct {
    file: Option<File>,
}

impl Direct {
    /// Opens a file that is there once more, for reading.
    pub fn reader(path: &Path) -> Self {
        Self { file: open(path, OFlags::RDONLY) }
    }

    /// Opens a file that is there once more, for reading and writing.
    pub fn both(path: &Path) -> Self {
        Self { file: open(path, OFlags::RDWR) }
    }

    /// Opens a file that is there once more, for writing.
    pub fn writer(path: &Path) -> Self {
        Self { file: open(path, OFlags::WRONLY) }
    }

    /// Tells whether the file system can do it.
    pub fn is_available(&self) -> bool {
        self.file.is_some()
    }

    /// Reads exactly these bytes, of `file` itself if they cannot be had directly.
    pub fn read(&self, file: &File, out: &mut [u8], offset: u64) -> io::Result<()> {
        match self.file.as_ref().map(|direct| direct.read_exact_at(out, offset)) {
            Some(Err(error)) if is_unable(&error) => file.read_exact_at(out, offset),
            Some(result) => result,
            None => file.read_exact_at(out, offset),
        }
    }

    /// Writes all bytes, to `file` itself if they cannot be written directly.
    pub fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.file.as_ref().map(|direct| direct.write_all_at(bytes, offset)) {
            Some(Err(error)) if is_unable(&error) => file.write_all_at(bytes, offset),
            Some(result) => result,
            None => file.write_all_at(bytes, offset),
        }
    }
}

fn open(path: &Path, access: OFlags) -> Option<File> {
    let opened = rustix::fs::open(path, access | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty());
    opened.ok().map(File::from)
}

/// Tells whether a file system refuses the way and not the work.
fn is_unable(error: &io::Error) -> bool {
    let unable = [Errno::INVAL, Errno::NOTSUP].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|number| unable.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_whatever_the_alignment() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let (writer, reader) = (Direct::writer(&path), Direct::reader(&path));
        let mut room = Aligned::zeroed(CHUNK_BYTES);
        for (offset, bytes) in [(0, 4096), (4096, CHUNK_BYTES), (4096 + (1 << 20), 65_536), (5, 77)] {
            let part = room.first_mut(bytes);
            assert_eq!(part.len(), bytes);
            part.iter_mut().zip(0_u32..).for_each(|(byte, at)| *byte = at.to_le_bytes()[1] ^ 7);
            writer.write(&file, part, offset).unwrap();
            let wanted = part.to_vec();
            part.fill(0);
            reader.read(&file, part, offset).unwrap();
            assert_eq!(part, wanted, "{bytes} at {offset}");
        }
        assert!(reader.read(&file, room.first_mut(4096), 1 << 30).is_err(), "behind the end");
    }
}
