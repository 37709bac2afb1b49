//! Reads the records of one segment file, one header after the other, and finds the next one behind
//! damage.

use std::io;

use crate::format::{self, ALIGN_BYTES, HEAD_BYTES_MAX, Header, MAGIC, Placed, len64};
use crate::medium::SegmentFile;
use crate::record::Lsn;

/// Bytes read at once when searching for the next header and when checking a payload.
const CHUNK_BYTES: usize = 1 << 20;

/// One segment file of one copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentView<'a> {
    /// The file.
    pub(crate) file: &'a SegmentFile,
    /// Epoch of the segment.
    pub(crate) epoch: u64,
    /// LSN of the file's first byte.
    pub(crate) start: u64,
    /// Bytes to look at: the file's length or less.
    pub(crate) len: u64,
}

impl SegmentView<'_> {
    /// Reads the header at `offset`; nothing if no record of this segment begins there or it does
    /// not fit.
    pub(crate) fn header_at(&self, offset: u64) -> io::Result<Option<Header>> {
        let mut buf = [0; HEAD_BYTES_MAX];
        let wanted = self.len.saturating_sub(offset).min(len64(buf.len()));
        let Some(buf) = usize::try_from(wanted).ok().and_then(|wanted| buf.get_mut(..wanted)) else {
            return Ok(None);
        };
        let read = self.file.read_up_to(buf, offset)?;
        let header = buf.get(..read).and_then(|buf| format::decode(buf, self.epoch, Lsn(self.start + offset)));
        Ok(header.filter(|header| header.placed.record_bytes() <= self.len - offset))
    }

    /// Reads the first header at or behind `offset`. Cheap when there is one at `offset`, else it
    /// searches.
    pub(crate) fn next_header(&self, offset: u64) -> io::Result<Option<Header>> {
        match self.header_at(offset)? {
            Some(header) => Ok(Some(header)),
            None => self.search(offset),
        }
    }

    /// Searches for a header behind `offset` at every place where one may begin.
    fn search(&self, offset: u64) -> io::Result<Option<Header>> {
        let mut chunk_at = offset;
        let mut chunk = vec![0; CHUNK_BYTES];
        while chunk_at < self.len {
            let wanted = chunk_len(self.len - chunk_at);
            let read = self.file.read_up_to(chunk.get_mut(..wanted).unwrap_or_default(), chunk_at)?;
            let bytes = chunk.get(..read).unwrap_or_default();
            for found in memchr::memmem::find_iter(bytes, &MAGIC) {
                let at = chunk_at + len64(found);
                // The caller has looked at `offset` itself.
                if at != offset
                    && at.is_multiple_of(ALIGN_BYTES)
                    && let Some(header) = self.header_at(at)?
                {
                    return Ok(Some(header));
                }
            }
            if read < wanted {
                break; // the file is shorter than it was: nothing more to find
            }
            // Chunks begin at multiples of 8, and so do records: no magic straddles two chunks.
            chunk_at += len64(CHUNK_BYTES);
        }
        Ok(None)
    }

    /// Lists the records of the segment in order.
    pub(crate) fn records(&self) -> io::Result<Vec<Placed>> {
        let mut records = Vec::new();
        let mut offset = 0;
        while let Some(header) = self.next_header(offset)? {
            offset = header.placed.end().0 - self.start;
            records.push(header.placed);
        }
        Ok(records)
    }

    /// Tells whether the payload that follows the head is the one that was written.
    pub(crate) fn payload_is_whole(&self, record: &Placed) -> io::Result<bool> {
        let mut at = record.lsn.0 - self.start + u64::from(record.head_bytes);
        let mut left = record.payload_bytes;
        let mut digest = disk::Crc32c::default();
        let mut chunk = vec![0; CHUNK_BYTES];
        while left > 0 {
            let wanted = chunk_len(left);
            let Some(bytes) = chunk.get_mut(..wanted) else {
                break;
            };
            if self.file.read_up_to(bytes, at)? < wanted {
                return Ok(false);
            }
            digest.update(bytes);
            at += len64(wanted);
            left -= len64(wanted);
        }
        Ok(digest.finish() == record.crc32c)
    }
}

fn chunk_len(left: u64) -> usize {
    usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES)
}
