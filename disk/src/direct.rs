//! Reads and writes beside the page cache. Bytes that are read once, or written once and kept for
//! years, have no place in it, and copying through it took half of the time of packing. The journal
//! writes its segments in the same way.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Addresses, offsets and lengths must be multiples of this.
pub const ALIGN_BYTES: usize = 4096;
/// Most bytes of one read or write.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Memory that begins at an address from which a device can take it.
#[derive(Debug, Default)]
pub struct Aligned {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Aligned {
    /// Returns this many zeros.
    pub fn zeroed(bytes: usize) -> Self {
        let memory = vec![0; bytes.saturating_add(ALIGN_BYTES)];
        let start = memory.as_ptr().align_offset(ALIGN_BYTES);
        Self { memory, start, bytes }
    }

    /// Returns all of it.
    pub fn as_slice(&self) -> &[u8] {
        self.memory.get(self.start..).and_then(|memory| memory.get(..self.bytes)).unwrap_or_default()
    }

    /// Returns the first bytes, at most as many as it holds.
    pub fn first_mut(&mut self, bytes: usize) -> &mut [u8] {
        let bytes = bytes.min(self.bytes);
        self.memory.get_mut(self.start..).and_then(|memory| memory.get_mut(..bytes)).unwrap_or_default()
    }
}

/// A file that is read and written beside the page cache where its file system supports that, else
/// through it.
#[derive(Debug)]
pub struct Direct {
    file: Option<File>,
}

impl Direct {
    /// Opens an existing file a second time, for reading.
    pub fn reader(path: &Path) -> Self {
        Self { file: open(path, OFlags::RDONLY) }
    }

    /// Opens an existing file a second time, for reading and writing.
    pub fn both(path: &Path) -> Self {
        Self { file: open(path, OFlags::RDWR) }
    }

    /// Opens an existing file a second time, for writing.
    pub fn writer(path: &Path) -> Self {
        Self { file: open(path, OFlags::WRONLY) }
    }

    /// Tells whether the file system supports direct I/O.
    pub fn is_available(&self) -> bool {
        self.file.is_some()
    }

    /// Reads exactly these bytes; through `file` if the file system refuses to read them directly.
    pub fn read(&self, file: &File, out: &mut [u8], offset: u64) -> io::Result<()> {
        match self.file.as_ref().map(|direct| direct.read_exact_at(out, offset)) {
            Some(Err(error)) if is_unable(&error) => file.read_exact_at(out, offset),
            Some(result) => result,
            None => file.read_exact_at(out, offset),
        }
    }

    /// Writes all bytes; through `file` if the file system refuses to write them directly.
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

/// Tells whether the file system refuses direct I/O, rather than the read or write itself.
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
        let mut memory = Aligned::zeroed(CHUNK_BYTES);
        for (offset, bytes) in [(0, 4096), (4096, CHUNK_BYTES), (4096 + (1 << 20), 65_536), (5, 77)] {
            let part = memory.first_mut(bytes);
            assert_eq!(part.len(), bytes);
            part.iter_mut().zip(0_u32..).for_each(|(byte, at)| *byte = at.to_le_bytes()[1] ^ 7);
            writer.write(&file, part, offset).unwrap();
            let wanted = part.to_vec();
            part.fill(0);
            reader.read(&file, part, offset).unwrap();
            assert_eq!(part, wanted, "{bytes} at {offset}");
        }
        assert!(reader.read(&file, memory.first_mut(4096), 1 << 30).is_err(), "behind the end");
    }
}
