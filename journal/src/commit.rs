//! The committer without its threads: what it writes when, when it gives a copy up, when it answers
//! a caller.
//!
//! A thread drives it in a server, a simulation step by step; both through the same
//! [`CommitCore::run`].

use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::Batch;
use crate::copies::Copies;
use crate::durable::DurableEnd;
use crate::error::Error;
use crate::format::{Header, Placed, len64};
use crate::payload::Payload;
use crate::provision::Provision;
use crate::queue::{Command, QueuedRecord};
use crate::recent::Recent;
use crate::record::Lsn;
use crate::segments::{SegmentFiles, Segments};

/// How a batch reaches the copies.
pub(crate) trait WriteCopies {
    /// Writes buffers from `offset` on and makes them durable on every healthy copy that has the
    /// file; gives up the copies that fail.
    fn write(&mut self, copies: &Copies, files: &SegmentFiles, offset: u64, buffers: &[Bytes]);
}

/// Makes segments ready before they are needed.
pub(crate) trait LookAhead {
    /// Hears after each batch how far the present segment is written and whether it was ready
    /// itself.
    fn advanced(&mut self, offset: u64, ready: bool);
    /// Tells whether the present segment, which was not ready, is better left now for one that is.
    fn is_better(&self, offset: u64) -> bool;
    /// Hears that the next segment has begun.
    fn begun(&mut self);
}

/// The segment being written.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) number: u64,
    pub(crate) offset: u64,
    pub(crate) files: SegmentFiles,
    /// The last page as far as it is used: it is written again, with what follows.
    pub(crate) last_page: Bytes,
    /// Whether the files had been written before, so that flushing them changes nothing but their
    /// bytes.
    pub(crate) ready: bool,
}

impl Current {
    /// Returns a segment of which nothing is written, or nothing more is to be.
    pub(crate) fn begun(number: u64, offset: u64, files: SegmentFiles, ready: bool) -> Self {
        Self { number, offset, files, last_page: Bytes::new(), ready }
    }
}

/// What the committer works on.
pub(crate) struct CommitParts {
    pub(crate) copies: Arc<Copies>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) provision: Arc<Provision>,
    pub(crate) durable: Arc<DurableEnd>,
    pub(crate) recent: Arc<Recent>,
}

/// The committer.
pub(crate) struct CommitCore<W, L> {
    parts: CommitParts,
    current: Current,
    writer: W,
    look_ahead: L,
    /// Copies that were healthy when `journal.json` was written last.
    noted: usize,
    /// A batch failed: what the copies hold behind the durable end is unknown, so nothing may
    /// follow it.
    broken: bool,
}

impl<W: WriteCopies, L: LookAhead> CommitCore<W, L> {
    pub(crate) fn new(parts: CommitParts, current: Current, writer: W, look_ahead: L) -> Result<Self, Error> {
        let noted = parts.copies.require()?;
        Ok(Self { parts, current, writer, look_ahead, noted, broken: false })
    }

    /// Carries commands out and answers them: one flush for all records that fit the present
    /// segment.
    pub(crate) fn run(&mut self, commands: Vec<Command>) {
        let mut batch = Batch::default();
        for command in commands {
            match command {
                Command::Append(record) => self.add(&mut batch, record),
                Command::Seal(reply) => {
                    self.write_out(mem::take(&mut batch));
                    // A caller that is gone does not need the answer.
                    reply.send(self.seal()).unwrap_or_default();
                }
            }
        }
        self.write_out(batch);
        self.leave_unready();
    }

    /// Ends the present segment, so that the next start need not search it for more.
    pub(crate) fn finish(&mut self) {
        if !self.broken && self.current.offset > 0 {
            self.parts.provision.cut(self.current.number);
        }
    }

    /// Adds a record to the batch; writes the batch out first if the record begins the next
    /// segment.
    fn add(&mut self, batch: &mut Batch, record: Box<QueuedRecord>) {
        let mut header = self.header(batch, &record);
        if self.current.offset + batch.bytes + header.placed.record_bytes() > self.parts.segments.segment_bytes() {
            self.write_out(mem::take(batch));
            if let Err(error) = self.rotate(0) {
                return record.answer(Err(error));
            }
            header = self.header(batch, &record);
        }
        batch.add(header, self.parts.segments.epoch_of(self.current.number), record);
    }

    fn header(&self, batch: &Batch, record: &QueuedRecord) -> Header {
        let start = self.parts.segments.start_of(self.current.number);
        let placed = Placed {
            lsn: Lsn(start + self.current.offset + batch.bytes),
            durable: self.parts.durable.get(),
            payload_bytes: record.payload_bytes,
            crc32c: record.crc32c,
            large: record.payload.large_id(),
            head_bytes: record.head_bytes,
        };
        Header { placed, head: record.head.clone() }
    }

    /// Writes and flushes a batch on every copy, then answers the callers.
    fn write_out(&mut self, mut batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let last_page = batch.complete_pages(&self.current.last_page, self.current.offset);
        let written = self.commit(&batch);
        // Before the answers: a sender that is told finds its receive buffer free to use again.
        batch.buffers = Vec::new();
        if written.is_ok() {
            self.current.last_page = last_page;
            self.name_large(&batch);
            self.current.offset += batch.bytes;
            self.parts.recent.add(mem::take(&mut batch.recent));
            let Current { number, offset, .. } = self.current;
            self.parts.segments.set_end(number, offset);
            self.parts.durable.publish(Lsn(self.parts.segments.start_of(number) + offset));
        }
        for (at, record) in batch.records {
            record.answer(match &written {
                Ok(()) => Ok(at),
                Err(()) => Err(self.parts.copies.poisoned()),
            });
        }
    }

    /// Enters the large files of a batch that is durable.
    fn name_large(&self, batch: &Batch) {
        let large = |(_, record): &(_, Box<QueuedRecord>)| match &record.payload {
            Payload::Large(large) => Some((large.id(), large.bytes())),
            Payload::Inline(_) => None,
        };
        let mut files = batch.records.iter().filter_map(large).peekable();
        if files.peek().is_some() {
            self.parts.segments.insert_large(self.current.number, files);
        }
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), ()> {
        if self.broken || self.parts.copies.require().is_err() {
            self.broken = true;
            return Err(());
        }
        let offset = self.current.offset - len64(self.current.last_page.len());
        self.writer.write(&self.parts.copies, &self.current.files, offset, &batch.buffers);
        let noted = self.note_change();
        self.broken = noted.is_err();
        noted.map_err(|_| ())
    }

    /// Makes sure that the copies know which ones are missing before anything is acknowledged
    /// without them.
    fn note_change(&mut self) -> Result<(), Error> {
        let healthy = self.parts.copies.require()?;
        if self.noted != healthy {
            self.noted = self.parts.copies.note_change()?;
        }
        Ok(())
    }

    /// Begins the next segment; the present one is durable already. `freed_bytes` will come back
    /// from the present one.
    fn rotate(&mut self, freed_bytes: u64) -> Result<(), Error> {
        if self.broken {
            return Err(self.parts.copies.poisoned());
        }
        let number = self.current.number + 1;
        let created = self.parts.provision.create(number, freed_bytes);
        self.broken = matches!(created, Err(Error::Poisoned { .. }));
        let (files, ready) = created?;
        self.current = Current::begun(number, 0, files, ready);
        self.look_ahead.begun();
        Ok(())
    }

    /// Has the next segment made ready in time. Leaves a present segment that was not ready as soon
    /// as the next one is.
    fn leave_unready(&mut self) {
        let Current { offset, ready, .. } = self.current;
        self.look_ahead.advanced(offset, ready);
        if !ready
            && !self.broken
            && self.look_ahead.is_better(offset)
            && let Err(error) = self.seal()
        {
            tracing::debug!(%error, "journal segment not left early");
        }
    }

    fn seal(&mut self) -> Result<(), Error> {
        if self.current.offset == 0 {
            return Ok(());
        }
        let sealed = self.current.number;
        self.rotate(self.parts.segments.segment_bytes() - self.current.offset)?;
        self.parts.provision.cut(sealed);
        Ok(())
    }
}

/// Writes one copy after the other: where there is one copy only, and in a simulation.
pub(crate) struct InTurn;

impl WriteCopies for InTurn {
    fn write(&mut self, copies: &Copies, files: &SegmentFiles, offset: u64, buffers: &[Bytes]) {
        for (copy, file) in copies.all().iter().zip(files) {
            if let Some(file) = file {
                copy.attempt("write journal segment", || copy.commit(file, offset, buffers));
            }
        }
    }
}

/// Makes nothing ready.
pub(crate) struct NoLookAhead;

impl LookAhead for NoLookAhead {
    fn advanced(&mut self, _: u64, _: bool) {}

    fn is_better(&self, _: u64) -> bool {
        false
    }

    fn begun(&mut self) {}
}
