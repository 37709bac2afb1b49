//! Group commit: one thread writes whatever queued while the last flush ran, to every copy at once, and then
//! acknowledges all of it. No artificial delay; a full queue makes the caller wait.

use std::mem;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::prepare::Preparer;
use super::recent::Front;
use super::record::{self, ALIGN_BYTES, Header, Placed, len64};
use super::segment_file::SegmentFile;
use super::segments::Shared;
use super::worker::{Worker, commit_all, join, spawn};
use super::{Error, LargePayload, Lsn, Payload, RecordHead, RecordRef};

/// Zeros that fill a payload up to the next record.
static PADDING: [u8; 7] = [0; 7];
/// Zeros behind the last record of a write: pages are written whole, so that nothing need be read first.
static PAGE: [u8; 4096] = [0; 4096];

/// The segment being written.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) files: Vec<Option<Arc<SegmentFile>>>,
    /// The last page as far as it is used: it is written again, with what follows.
    pub(super) tail: Bytes,
    /// Whether the files had been written before, so that flushing them changes nothing but their bytes.
    pub(super) ready: bool,
}

/// The queue and the thread that empties it.
pub(super) struct Committer {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    /// One permit is one byte of the queue.
    room: Arc<Semaphore>,
    room_bytes: u32,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Default)]
struct QueueState {
    commands: Vec<Command>,
    stopping: bool,
    /// The thread waits; else it looks at the queue by itself before it does.
    idle: bool,
}

enum Command {
    Append(Box<Waiting>),
    Seal(SyncSender<Result<(), Error>>),
}

/// A record in the queue.
struct Waiting {
    head: RecordHead,
    head_bytes: u32,
    payload: Payload,
    payload_bytes: u64,
    crc32c: u32,
    reply: oneshot::Sender<Result<RecordRef, Error>>,
    _room: OwnedSemaphorePermit,
}

impl Committer {
    pub(super) fn start(shared: Arc<Shared>, current: Current) -> Result<Self, Error> {
        let queue = Arc::new(Queue::default());
        let room_bytes = u32::try_from(shared.options.queue_bytes_max).unwrap_or(u32::MAX);
        let workers = Worker::start_all(&shared)?;
        let preparer = Preparer::start(&shared)?;
        let noted = shared.require_copies()?;
        let writer = Writer { shared: Arc::clone(&shared), current, workers, preparer, noted, broken: false };
        let commands = StopOnExit(Arc::clone(&queue));
        let thread = spawn("journal-commit", move || writer.run(&commands.0))?;
        let room = Arc::new(Semaphore::new(usize::try_from(room_bytes).unwrap_or(Semaphore::MAX_PERMITS)));
        Ok(Self { shared, queue, room, room_bytes, thread: Mutex::new(Some(thread)) })
    }

    pub(super) async fn append(&self, head: RecordHead, payload: Payload) -> Result<RecordRef, Error> {
        let head_bytes = record::head_bytes(&head)
            .ok_or(Error::Refused { reason: "an AE title is longer than 64 bytes; let the caller shorten it" })?;
        let (payload_bytes, crc32c) = self.measure(&payload)?;
        self.shared.require_copies()?;
        let inline = if matches!(payload, Payload::Large(_)) { 0 } else { payload_bytes };
        let room = u32::try_from(u64::from(head_bytes) + inline).unwrap_or(u32::MAX).min(self.room_bytes);
        let room = Arc::clone(&self.room).acquire_many_owned(room).await.map_err(|_| Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { head, head_bytes, payload, payload_bytes, crc32c, reply, _room: room };
        self.queue.push(Command::Append(Box::new(waiting)))?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Returns length and CRC of a payload that may be appended.
    fn measure(&self, payload: &Payload) -> Result<(u64, u32), Error> {
        let pieces = match payload {
            Payload::Large(large) if large.is_of(&self.shared) => {
                return Ok((large.bytes, large.crc32c));
            }
            Payload::Large(_) => {
                return Err(Error::Refused { reason: "the large payload is of another journal" });
            }
            Payload::Inline(pieces) => pieces,
        };
        let bytes = pieces.iter().map(|piece| len64(piece.len())).sum();
        if bytes > self.shared.options.inline_bytes_max {
            return Err(Error::Refused { reason: "the payload is too long for memory; write it with begin_large" });
        }
        let mut digest = disk::Crc32c::default();
        for piece in pieces {
            digest.update(piece);
        }
        Ok((bytes, digest.finish()))
    }

    pub(super) fn seal_current(&self) -> Result<(), Error> {
        let (reply, answer) = sync_channel(1);
        self.queue.push(Command::Seal(reply))?;
        answer.recv().map_err(|_| Error::Closed)?
    }

    pub(super) async fn close(&self) {
        self.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || join(thread)).await;
            if let Err(error) = joined {
                tracing::error!(%error, "journal committer not joined");
            }
        }
    }

    fn stop(&self) {
        self.queue.lock().stopping = true;
        self.queue.filled.notify_all();
        self.room.close(); // who waits for room is told now
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.into_iter().for_each(join);
    }
}

/// Closes the queue when the thread ends, even by a panic: nobody may wait for it then.
struct StopOnExit(Arc<Queue>);

impl Drop for StopOnExit {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.stopping = true;
        state.commands.clear();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, command: Command) -> Result<(), Error> {
        let mut state = self.lock();
        if state.stopping {
            return Err(Error::Closed);
        }
        state.commands.push(command);
        let idle = mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Waits for commands and takes all; nothing once it is stopped and empty.
    fn take(&self) -> Option<Vec<Command>> {
        let state = self.lock();
        let idle = |state: &mut QueueState| {
            state.idle = state.commands.is_empty() && !state.stopping;
            state.idle
        };
        let mut state = self.filled.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let commands = mem::take(&mut state.commands);
        (!commands.is_empty()).then_some(commands)
    }
}

/// What is written by one flush.
#[derive(Default)]
struct Batch {
    buffers: Vec<Bytes>,
    bytes: u64,
    waiting: Vec<(RecordRef, Box<Waiting>)>,
    fronts: Vec<Front>,
}

/// The committer's thread.
struct Writer {
    shared: Arc<Shared>,
    current: Current,
    workers: Vec<Worker>,
    preparer: Preparer,
    /// Copies that were healthy when `journal.json` was written last.
    noted: usize,
    /// A batch failed: what the copies have behind `durable_end` is not known, so nothing may follow.
    broken: bool,
}

impl Writer {
    fn run(mut self, queue: &Queue) {
        while let Some(commands) = queue.take() {
            let mut batch = Batch::default();
            for command in commands {
                match command {
                    Command::Append(waiting) => self.add(&mut batch, waiting),
                    Command::Seal(reply) => {
                        self.write_out(mem::take(&mut batch));
                        // A caller that is gone does not need the answer.
                        reply.send(self.seal()).unwrap_or_default();
                    }
                }
            }
            self.write_out(batch);
            self.look_ahead();
        }
        if !self.broken && self.current.offset > 0 {
            // The next start begins a new segment and need not search this one for more.
            self.shared.truncate(self.current.number);
        }
    }

    /// Adds a record to the batch; writes the batch out first if the record begins the next segment.
    fn add(&mut self, batch: &mut Batch, waiting: Box<Waiting>) {
        let mut header = self.header(batch, &waiting);
        if self.current.offset + batch.bytes + header.placed.record_bytes() > self.shared.options.segment_bytes {
            self.write_out(mem::take(batch));
            if let Err(error) = self.rotate(0) {
                return answer(waiting, Err(error));
            }
            header = self.header(batch, &waiting);
        }
        let epoch = record::epoch(self.shared.id(), self.current.number);
        batch.buffers.push(record::encode(&header, epoch));
        if let Payload::Inline(pieces) = &waiting.payload {
            batch.buffers.extend(pieces.iter().cloned());
            let padding = usize::try_from(waiting.payload_bytes.wrapping_neg() % ALIGN_BYTES).unwrap_or_default();
            batch.buffers.push(Bytes::from_static(PADDING.get(..padding).unwrap_or_default()));
        }
        batch.bytes += header.placed.record_bytes();
        let at = header.placed.record_ref();
        batch.fronts.push(Front::new(header, &waiting.payload));
        batch.waiting.push((at, waiting));
    }

    fn header(&self, batch: &Batch, waiting: &Waiting) -> Header {
        let start = self.current.number * self.shared.options.segment_bytes;
        let placed = Placed {
            lsn: Lsn(start + self.current.offset + batch.bytes),
            durable: self.shared.durable_end(),
            payload_bytes: waiting.payload_bytes,
            crc32c: waiting.crc32c,
            large: match &waiting.payload {
                Payload::Large(large) => Some(large.id),
                Payload::Inline(_) => None,
            },
            head_bytes: waiting.head_bytes,
        };
        Header { placed, head: waiting.head.clone() }
    }

    /// Writes and flushes a batch on every copy, then answers everybody in it.
    fn write_out(&mut self, mut batch: Batch) {
        if batch.waiting.is_empty() {
            return;
        }
        let tail = self.complete_pages(&mut batch);
        let written = self.commit(&batch);
        // Before the answers: a sender that is told finds its receive buffer free to use again.
        batch.buffers = Vec::new();
        if written.is_ok() {
            self.current.tail = tail;
            self.name_large(&batch);
            self.current.offset += batch.bytes;
            self.shared.recent.add(mem::take(&mut batch.fronts));
            self.shared.set_durable(self.current.number, self.current.offset);
        }
        for (at, waiting) in batch.waiting {
            let result = match &written {
                Ok(()) => Ok(at),
                Err(()) => Err(self.poisoned()),
            };
            answer(waiting, result);
        }
    }

    /// Enters the large files of a batch that is durable.
    fn name_large(&self, batch: &Batch) {
        let mut segments = self.shared.write_segments();
        let Some(segment) = segments.get_mut(&self.current.number) else {
            return;
        };
        for (_, waiting) in &batch.waiting {
            if let Payload::Large(large) = &waiting.payload {
                segment.large.insert(large.id, large.bytes);
            }
        }
    }

    /// Makes whole pages of a batch: begins it with what the first page has already, and fills the last one with zeros.
    /// Returns what the last page has then.
    fn complete_pages(&self, batch: &mut Batch) -> Bytes {
        batch.buffers.insert(0, self.current.tail.clone());
        let used = usize::try_from((self.current.offset + batch.bytes) % len64(PAGE.len())).unwrap_or_default();
        let tail = last_bytes(&batch.buffers, used);
        let rest = if used == 0 { 0 } else { PAGE.len() - used };
        batch.buffers.push(Bytes::from_static(PAGE.get(..rest).unwrap_or_default()));
        tail
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), ()> {
        if self.broken || self.shared.require_copies().is_err() {
            self.broken = true;
            return Err(());
        }
        let Self { shared, current, workers, .. } = self;
        let offset = current.offset - len64(current.tail.len());
        if let ([disk], [Some(file)]) = (shared.disks.as_slice(), current.files.as_slice()) {
            if let Err(error) = disk.commit(file, offset, &batch.buffers) {
                disk.poison("write journal segment", &error);
            }
        } else {
            commit_all(shared, &current.files, offset, workers, &batch.buffers);
        }
        let noted = self.note_change();
        self.broken = noted.is_err();
        noted.map_err(|_| ())
    }

    /// Makes sure that the copies know who is missing before anything is acknowledged without it.
    fn note_change(&mut self) -> Result<(), Error> {
        let healthy = self.shared.require_copies()?;
        if self.noted != healthy {
            self.noted = self.shared.note_change()?;
        }
        Ok(())
    }

    fn poisoned(&self) -> Error {
        let required = self.shared.options.copies_required;
        let healthy = self.shared.disks.iter().filter(|disk| disk.is_healthy()).count();
        Error::Poisoned { healthy, required }
    }

    /// Begins the next segment; the present one is durable already. `freed_bytes` will come back from the present one.
    fn rotate(&mut self, freed_bytes: u64) -> Result<(), Error> {
        if self.broken {
            return Err(self.poisoned());
        }
        let number = self.current.number + 1;
        let created = self.shared.create_segment(number, freed_bytes);
        self.broken = matches!(created, Err(Error::Poisoned { .. }));
        let (files, ready) = created?;
        self.current = Current { number, offset: 0, files, tail: Bytes::new(), ready };
        self.preparer.begun();
        Ok(())
    }

    /// Has the next segment made ready in time, and leaves one that was not for one that is.
    fn look_ahead(&mut self) {
        let Current { offset, ready, .. } = self.current;
        self.preparer.ask(offset, ready);
        if !ready
            && !self.broken
            && self.preparer.is_better(offset)
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
        self.rotate(self.shared.options.segment_bytes - self.current.offset)?;
        self.shared.truncate(sealed);
        Ok(())
    }
}

/// Returns the last `count` bytes of buffers that have as many.
fn last_bytes(buffers: &[Bytes], count: usize) -> Bytes {
    let mut parts = Vec::new();
    let mut left = count;
    for buffer in buffers.iter().rev() {
        let taken = buffer.len().min(left);
        parts.push(buffer.slice(buffer.len() - taken..));
        left -= taken;
        if left == 0 {
            break;
        }
    }
    parts.iter().rev().flatten().copied().collect()
}

fn answer(waiting: Box<Waiting>, result: Result<RecordRef, Error>) {
    let Waiting { payload, reply, .. } = *waiting;
    // After a failed write a record may name the files all the same: the next start finds out.
    if let (Payload::Large(large), Ok(_) | Err(Error::Poisoned { .. })) = (payload, &result) {
        LargePayload::keep(large);
    }
    // A caller that dropped its call does not need the answer.
    drop(reply.send(result));
}
