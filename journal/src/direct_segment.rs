//! The file of a segment in a directory, written beside the page cache where the file system can do
//! that. Copying into the cache was a third of the processor time of receiving, and writing it out
//! a part of each flush.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::{Buf as _, Bytes};
use disk::{ALIGN_BYTES, Aligned, CHUNK_BYTES, Direct};
use rustix::io::Errno;

use crate::format::len64;

/// Most buffers of one `pwritev`: IOV_MAX of Linux.
const SLICES_MAX: usize = 1024;

/// One file, opened for the page cache and for direct I/O.
#[derive(Debug)]
pub(crate) struct DirectSegment {
    file: File,
    direct: Direct,
}

impl DirectSegment {
    /// Opens an existing segment.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, direct: Direct::both(path) })
    }

    /// Returns the file for reading through the page cache.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Writes buffers one after the other from `offset` on: whole pages beside the page cache,
    /// which are put together in `assembly`; anything else through it.
    pub(crate) fn write(&self, offset: u64, buffers: &[Bytes], assembly: &mut Aligned) -> io::Result<()> {
        let bytes: u64 = buffers.iter().map(|buffer| len64(buffer.len())).sum();
        let pages = |value: u64| value.is_multiple_of(len64(ALIGN_BYTES));
        if self.direct.is_available() && pages(offset) && pages(bytes) {
            self.write_pages(offset, bytes, buffers, assembly)
        } else {
            write_all_at(&self.file, offset, buffers)
        }
    }

    fn write_pages(&self, offset: u64, bytes: u64, buffers: &[Bytes], assembly: &mut Aligned) -> io::Result<()> {
        let mut rest = buffers.iter().cloned();
        let mut buffer = Bytes::new();
        let mut done = 0;
        while done < bytes {
            let wanted = usize::try_from(bytes - done).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let chunk = assembly.first_mut(wanted);
            let mut left = &mut *chunk;
            while !left.is_empty() {
                if buffer.is_empty() {
                    buffer = rest.next().ok_or(io::ErrorKind::UnexpectedEof)?;
                }
                let taken = buffer.len().min(left.len());
                let (now, later) = left.split_at_mut(taken);
                buffer.copy_to_slice(now);
                left = later;
            }
            self.direct.write(&self.file, chunk, offset + done)?;
            done += len64(wanted);
        }
        Ok(())
    }

    /// Reads until `buf` is full or the file ends; returns the bytes read.
    pub(crate) fn read_up_to(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        read_up_to(&self.file, buf, offset)
    }

    /// Reads exactly these bytes beside the page cache if offset and length are of whole pages.
    pub(crate) fn read_pages(&self, offset: u64, pages: &mut [u8]) -> io::Result<()> {
        self.direct.read(&self.file, pages, offset)
    }
}

/// Reads until `buf` is full or the file ends; returns the bytes read.
pub(crate) fn read_up_to(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + len64(done)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all buffers, in calls of at most [`SLICES_MAX`] buffers.
fn write_all_at(file: &File, offset: u64, buffers: &[Bytes]) -> io::Result<()> {
    let mut at = offset;
    for group in buffers.chunks(SLICES_MAX) {
        let mut slices: Vec<IoSlice<'_>> = group.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let mut left = slices.as_mut_slice();
        IoSlice::advance_slices(&mut left, 0); // drops empty buffers in front
        while !left.is_empty() {
            match rustix::io::pwritev(file, left, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += len64(written);
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_pages_and_in_pieces_is_read_in_both_ways() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        File::create(&path).unwrap().set_len(4 << 20).unwrap();
        let segment = DirectSegment::open(&path).unwrap();
        let mut assembly = Aligned::zeroed(CHUNK_BYTES);
        let mut wanted = vec![0_u8; 4 << 20];
        let lengths: [&[usize]; 5] =
            [&[0, 5, 4091], &[CHUNK_BYTES + 1, 0, 4095], &[10, 20], &[4096], &[2, CHUNK_BYTES - 2]];
        for (number, (offset, lengths)) in [0, 4096, 77, 8192, 2 << 20].into_iter().zip(lengths).enumerate() {
            let fill = u8::try_from(number + 1).unwrap();
            let buffers: Vec<Bytes> = lengths.iter().map(|len| Bytes::from(vec![fill; *len])).collect();
            // Through the page cache first: what it holds must not be what is read later.
            segment.read_up_to(&mut vec![0; 4 << 20], 0).unwrap();
            segment.write(len64(offset), &buffers, &mut assembly).unwrap();
            wanted[offset..offset + lengths.iter().sum::<usize>()].fill(fill);
        }
        let mut read = vec![0; 4 << 20];
        segment.read_up_to(&mut read, 0).unwrap();
        assert!(read == wanted);
        let mut pages = Aligned::zeroed(4 << 20);
        segment.read_pages(0, pages.first_mut(4 << 20)).unwrap();
        assert!(pages.as_slice() == wanted);
        assert!(segment.read_pages(4 << 20, pages.first_mut(4096)).is_err(), "behind the end");
    }
}
