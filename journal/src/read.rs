//! Reads records and payloads back, from whichever copy has them whole.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use disk::Buffers;
use uuid::Uuid;

use crate::copies::Copies;
use crate::damage::Damage;
use crate::error::Error;
use crate::format::{self, ALIGN_BYTES, Header, crc32c};
use crate::recent::Recent;
use crate::record::{Lsn, Record, RecordHead, RecordRef};
use crate::scan::SegmentView;
use crate::segments::{SegmentPlace, Segments};

/// Bytes that the kernel is asked to read ahead at a time; it takes hardly more at once.
const AHEAD_BYTES: u64 = 1 << 20;

/// What one copy said about a payload.
enum Answer {
    Bytes(Bytes),
    /// Another record lies there, or the large file is gone: the payload was released.
    Gone,
    Damaged,
}

/// Reads what is durable.
#[derive(Debug)]
pub(crate) struct Reader {
    copies: Arc<Copies>,
    segments: Arc<Segments>,
    recent: Arc<Recent>,
    damage: Arc<Damage>,
    /// Payloads are read into these.
    buffers: Arc<Buffers>,
}

impl Reader {
    pub(crate) fn new(copies: Arc<Copies>, segments: Arc<Segments>, recent: Arc<Recent>, damage: Arc<Damage>) -> Self {
        Self { copies, segments, recent, damage, buffers: Arc::default() }
    }

    /// Returns the buffers into which payloads are read.
    pub(crate) fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// Returns the bytes of a segment.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segments.segment_bytes()
    }

    pub(crate) fn read_from(&self, from: Lsn, records_max: usize, bytes_max: u64) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let segment_bytes = self.segments.segment_bytes();
        let mut number = self.segments.segment_of(from);
        let mut offset = (from.0 % segment_bytes).next_multiple_of(ALIGN_BYTES);
        while let Some(sources) = self.sources_from(number) {
            if sources.number != number {
                (number, offset) = (sources.number, 0);
            }
            let mut ahead = 0;
            while let Some(header) = self.recent_or_next(&sources, offset, &mut ahead)? {
                bytes += header.placed.payload_bytes;
                if records.len() == records_max || (bytes > bytes_max && !records.is_empty()) {
                    return Ok(records);
                }
                offset = header.placed.end().0 - sources.start;
                records.push(Record { at: header.placed.record_ref(), end: header.placed.end(), head: header.head });
            }
            number += 1;
            offset = 0;
        }
        Ok(records)
    }

    /// Returns the durable record at `offset` from memory, else as `next_record`. A follower that
    /// is far behind reads the disk in order: `ahead` is the position up to which the kernel was
    /// asked to read.
    fn recent_or_next(&self, sources: &SegmentPlace, offset: u64, ahead: &mut u64) -> Result<Option<Header>, Error> {
        let recent = (offset < sources.end).then(|| self.recent.header(Lsn(sources.start + offset))).flatten();
        if recent.is_some() {
            return Ok(recent);
        }
        if offset >= *ahead && offset < sources.end {
            read_ahead(sources, offset);
            *ahead = offset + AHEAD_BYTES / 2;
        }
        self.next_record(sources, offset)
    }

    /// Returns the first durable record at or behind `offset` that any copy can read.
    fn next_record(&self, sources: &SegmentPlace, offset: u64) -> Result<Option<Header>, Error> {
        if offset >= sources.end {
            return Ok(None);
        }
        for (copy, view) in views(sources) {
            match view.header_at(offset) {
                Ok(Some(header)) => return Ok(Some(header)),
                Ok(None) => {}
                Err(error) => self.log_read(copy, &error),
            }
        }
        let mut nearest: Option<Header> = None;
        let mut failed = None;
        for (copy, view) in views(sources) {
            match view.next_header(offset) {
                Ok(Some(found)) if nearest.as_ref().is_none_or(|known| found.placed.lsn < known.placed.lsn) => {
                    nearest = Some(found);
                }
                Ok(Some(_) | None) => {}
                Err(error) => failed = Some((copy, error)),
            }
        }
        if let (None, Some((copy, error))) = (&nearest, failed) {
            let path = self.copies.get(copy).map(|copy| copy.path().to_owned()).unwrap_or_default();
            return Err(Error::Io { doing: "read journal copy", path, source: error });
        }
        if self.is_present(sources.number) {
            self.damage.report(Lsn(sources.start + offset));
        }
        Ok(nearest)
    }

    pub(crate) fn read_payload(&self, at: &RecordRef, range: Range<u64>) -> Result<Bytes, Error> {
        check_range(at, &range)?;
        let sources = self.sources_of(at.lsn).ok_or(Error::Gone)?;
        let mut gone = false;
        for (copy, view) in views(&sources) {
            match self.read_from_copy(copy, view, at, &range) {
                // The bytes are the record's only if its segment was not released meanwhile.
                Ok(Answer::Bytes(bytes)) if self.is_present(sources.number) => return Ok(bytes),
                Ok(Answer::Bytes(_) | Answer::Gone) => gone = true,
                Ok(Answer::Damaged) => {}
                Err(error) => self.log_read(copy, &error),
            }
        }
        if gone || !self.is_present(sources.number) {
            return Err(Error::Gone);
        }
        self.damage.report(at.lsn);
        Err(Error::Damaged(at.lsn))
    }

    fn read_from_copy(
        &self,
        copy: usize,
        view: SegmentView<'_>,
        at: &RecordRef,
        range: &Range<u64>,
    ) -> io::Result<Answer> {
        let offset = at.lsn.0 - view.start;
        let Some(header) = view.header_at(offset)? else {
            return Ok(Answer::Damaged);
        };
        if header.placed.record_ref() != *at {
            return Ok(Answer::Gone);
        }
        let mut buffer = self.buffers.take(range_len(range));
        let buf = buffer.space();
        let read = match (header.placed.large, self.copies.get(copy)) {
            (Some(id), Some(copy)) => match copy.open_large(id) {
                Ok(file) => file.read_up_to(buf, range.start)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Answer::Gone),
                Err(error) => return Err(error),
            },
            (Some(_), None) | (None, _) => {
                view.file.read_up_to(buf, offset + u64::from(at.head_bytes) + range.start)?
            }
        };
        let whole = *range == (0..at.payload_bytes);
        if read < buf.len() || (whole && crc32c(buf) != at.crc32c) {
            tracing::warn!(copy, lsn = at.lsn.0, "journal payload damaged on one copy");
            return Ok(Answer::Damaged);
        }
        Ok(Answer::Bytes(buffer.into_bytes()))
    }

    pub(crate) fn read_payload_now(&self, at: &RecordRef, range: Range<u64>) -> Option<Bytes> {
        check_range(at, &range).ok()?;
        let sources = self.sources_of(at.lsn)?;
        if at.large {
            return None; // opening its file may wait for a disk
        }
        if let Some(front) = self.recent.payload(at, &range) {
            return self.is_present(sources.number).then_some(front);
        }
        let (_, view) = views(&sources).next()?;
        let offset = at.lsn.0 - view.start;
        let head_bytes = usize::try_from(at.head_bytes).ok()?.min(format::HEAD_BYTES_MAX);
        let mut buffer = self.buffers.take(head_bytes.checked_add(range_len(&range))?);
        let (head, payload) = buffer.space().split_at_mut(head_bytes);
        if range.start == 0 {
            view.file.read_now(&mut [head, payload], offset).then_some(())?;
        } else {
            view.file.read_now(&mut [head], offset).then_some(())?;
            view.file.read_now(&mut [payload], offset + u64::from(at.head_bytes) + range.start).then_some(())?;
        }
        let header = format::decode(head, view.epoch, at.lsn)?;
        let whole = range == (0..at.payload_bytes);
        let good = header.placed.record_ref() == *at && (!whole || crc32c(payload) == at.crc32c);
        (good && self.is_present(sources.number)).then(|| buffer.into_bytes().split_off(head_bytes))
    }

    pub(crate) fn read_head_now(&self, at: &RecordRef) -> Option<RecordHead> {
        let sources = self.sources_of(at.lsn)?;
        let recent = self.recent.header(at.lsn).filter(|header| header.placed.record_ref() == *at);
        if let Some(header) = recent {
            return self.is_present(sources.number).then_some(header.head);
        }
        let (_, view) = views(&sources).next()?;
        let mut head = vec![0; usize::try_from(at.head_bytes).ok()?.min(format::HEAD_BYTES_MAX)];
        view.file.read_now(&mut [&mut head], at.lsn.0 - view.start).then_some(())?;
        let header = format::decode(&head, view.epoch, at.lsn)?;
        let good = header.placed.record_ref() == *at && self.is_present(sources.number);
        good.then_some(header.head)
    }

    /// Returns the name of the record's large file.
    pub(crate) fn large_id(&self, at: &RecordRef) -> Result<Option<Uuid>, Error> {
        let sources = self.sources_of(at.lsn).ok_or(Error::Gone)?;
        for (copy, view) in views(&sources) {
            match view.header_at(at.lsn.0 - view.start) {
                Ok(Some(header)) if header.placed.record_ref() == *at => {
                    return Ok(header.placed.large);
                }
                Ok(Some(_)) => return Err(Error::Gone),
                Ok(None) => {}
                Err(error) => self.log_read(copy, &error),
            }
        }
        Err(Error::Damaged(at.lsn))
    }

    pub(crate) fn is_present(&self, number: u64) -> bool {
        self.segments.is_present(number)
    }

    fn log_read(&self, copy: usize, error: &io::Error) {
        let path = self.copies.get(copy).map(|copy| copy.path().display().to_string());
        tracing::warn!(path, %error, "journal copy not read");
    }

    /// Returns the segment of a durable record.
    pub(crate) fn sources_of(&self, at: Lsn) -> Option<SegmentPlace> {
        let number = self.segments.segment_of(at);
        let sources = self.sources_from(number)?;
        (sources.number == number && at.0 < sources.start + sources.end).then_some(sources)
    }

    /// Returns the first segment at or behind `number`, healthy copies first.
    fn sources_from(&self, number: u64) -> Option<SegmentPlace> {
        let mut sources = self.segments.place_from(number)?;
        // A copy that was given up can still have what was durable before.
        sources.files.sort_by_key(|&(copy, _)| !self.copies.is_healthy(copy));
        Some(sources)
    }
}

/// Has the kernel read what comes next from the first copy, without waiting for it.
fn read_ahead(sources: &SegmentPlace, offset: u64) {
    let Some((copy, file)) = sources.files.first() else { return };
    if let Err(error) = file.read_ahead(offset, AHEAD_BYTES) {
        tracing::debug!(copy, %error, "journal segment not read ahead");
    }
}

fn views(sources: &SegmentPlace) -> impl Iterator<Item = (usize, SegmentView<'_>)> {
    let SegmentPlace { epoch, start, end: len, .. } = *sources;
    sources.files.iter().map(move |(copy, file)| (*copy, SegmentView { file, epoch, start, len }))
}

fn check_range(at: &RecordRef, range: &Range<u64>) -> Result<(), Error> {
    if range.start > range.end || range.end > at.payload_bytes || usize::try_from(range.end).is_err() {
        return Err(Error::Refused { reason: "the range to read is not inside the payload" });
    }
    Ok(())
}

fn range_len(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).expect("check_range has compared it with usize")
}
