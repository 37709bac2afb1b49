//! Group commit: one thread writes everything that queued while the last flush ran, to every copy
//! at once, and then acknowledges all of it. There is no artificial delay; a full queue makes the
//! caller wait.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{Semaphore, oneshot};

use crate::commit::{CommitCore, CommitParts, Current, InTurn, NoLookAhead};
use crate::copies::Copies;
use crate::error::Error;
use crate::format::{self, len64};
use crate::options::JournalOptions;
use crate::payload::Payload;
use crate::prepare::Preparer;
use crate::queue::{Command, Queue, QueuedRecord};
use crate::record::{RecordHead, RecordRef};
use crate::threads::{join, spawn};
use crate::workers::Workers;

/// The queue, and the thread or the steps that empty it.
pub(crate) struct Committer {
    copies: Arc<Copies>,
    queue: Arc<Queue>,
    /// One permit is one byte of the queue.
    queue_bytes: Arc<Semaphore>,
    queue_bytes_max: u32,
    inline_bytes_max: u64,
    drive: Mutex<Drive>,
}

/// What empties the queue.
enum Drive {
    /// A thread of its own.
    Thread(JoinHandle<()>),
    /// The calls of [`Committer::step`].
    Steps(Box<CommitCore<InTurn, NoLookAhead>>),
    /// The committer was closed.
    Ended,
}

impl Committer {
    /// Starts the committer's thread, one for each copy if there are several, and one that makes
    /// segments ready.
    pub(crate) fn start(parts: CommitParts, current: Current, options: &JournalOptions) -> Result<Self, Error> {
        let copies = Arc::clone(&parts.copies);
        let workers = Workers::start(&copies, options.copy_wait_max)?;
        let preparer = Preparer::start(Arc::clone(&parts.provision))?;
        let mut core = CommitCore::new(parts, current, workers, preparer)?;
        let queue = Arc::new(Queue::default());
        let commands = AbandonOnExit(Arc::clone(&queue));
        let thread = spawn("journal-commit", move || {
            while let Some(commands) = commands.0.wait() {
                core.run(commands);
            }
            core.finish();
        })?;
        Ok(Self::new(copies, queue, Drive::Thread(thread), options))
    }

    /// Returns a committer without threads, which writes when [`Committer::step`] is called.
    pub(crate) fn stepped(parts: CommitParts, current: Current, options: &JournalOptions) -> Result<Self, Error> {
        let copies = Arc::clone(&parts.copies);
        let core = CommitCore::new(parts, current, InTurn, NoLookAhead)?;
        Ok(Self::new(copies, Arc::default(), Drive::Steps(Box::new(core)), options))
    }

    fn new(copies: Arc<Copies>, queue: Arc<Queue>, drive: Drive, options: &JournalOptions) -> Self {
        let queue_bytes_max = u32::try_from(options.queue_bytes_max).unwrap_or(u32::MAX);
        let permits = usize::try_from(queue_bytes_max).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            copies,
            queue,
            queue_bytes: Arc::new(Semaphore::new(permits)),
            queue_bytes_max,
            inline_bytes_max: options.inline_bytes_max,
            drive: Mutex::new(drive),
        }
    }

    pub(crate) async fn append(&self, head: RecordHead, payload: Payload) -> Result<RecordRef, Error> {
        let head_bytes = format::head_bytes(&head)
            .ok_or(Error::Refused { reason: "an AE title is longer than 64 bytes; let the caller shorten it" })?;
        let (payload_bytes, crc32c) = self.measure(&payload)?;
        self.copies.require()?;
        let inline = if matches!(payload, Payload::Large(_)) { 0 } else { payload_bytes };
        let wanted = u32::try_from(u64::from(head_bytes) + inline).unwrap_or(u32::MAX).min(self.queue_bytes_max);
        let permit = Arc::clone(&self.queue_bytes).acquire_many_owned(wanted).await.map_err(|_| Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        let record = QueuedRecord { head, head_bytes, payload, payload_bytes, crc32c, reply, _permit: permit };
        self.queue.push(Command::Append(Box::new(record)))?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Returns length and CRC of a payload that may be appended.
    fn measure(&self, payload: &Payload) -> Result<(u64, u32), Error> {
        let pieces = match payload {
            Payload::Large(large) if large.is_on(&self.copies) => {
                return Ok((large.bytes(), large.crc32c()));
            }
            Payload::Large(_) => {
                return Err(Error::Refused { reason: "the large payload is of another journal" });
            }
            Payload::Inline(pieces) => pieces,
        };
        let bytes = pieces.iter().map(|piece| len64(piece.len())).sum();
        if bytes > self.inline_bytes_max {
            return Err(Error::Refused { reason: "the payload is too long for memory; write it with begin_large" });
        }
        let mut digest = disk::Crc32c::default();
        for piece in pieces {
            digest.update(piece);
        }
        Ok((bytes, digest.finish()))
    }

    pub(crate) fn seal_current(&self) -> Result<(), Error> {
        let (reply, answer) = sync_channel(1);
        self.queue.push(Command::Seal(reply))?;
        self.step();
        answer.recv().map_err(|_| Error::Closed)?
    }

    /// Carries out what is queued and returns how many commands that were; 0 where a thread does
    /// it.
    pub(crate) fn step(&self) -> usize {
        match &mut *self.drive() {
            Drive::Steps(core) => {
                let commands = self.queue.take();
                let count = commands.len();
                core.run(commands);
                count
            }
            Drive::Thread(_) | Drive::Ended => 0,
        }
    }

    pub(crate) async fn close(&self) {
        if let Some(thread) = self.stop() {
            let joined = tokio::task::spawn_blocking(move || join(thread)).await;
            if let Err(error) = joined {
                tracing::error!(%error, "journal committer not joined");
            }
        }
    }

    /// Has the queued commands carried out, and none after them; returns the thread that still
    /// works on them.
    fn stop(&self) -> Option<JoinHandle<()>> {
        self.queue.stop();
        self.queue_bytes.close(); // callers that wait for space in the queue are told now
        self.step();
        match std::mem::replace(&mut *self.drive(), Drive::Ended) {
            Drive::Thread(thread) => Some(thread),
            Drive::Steps(mut core) => {
                core.finish();
                None
            }
            Drive::Ended => None,
        }
    }

    fn drive(&self) -> MutexGuard<'_, Drive> {
        self.drive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop().into_iter().for_each(join);
    }
}

/// Empties the queue when the thread ends, even by a panic: otherwise a caller would wait for ever.
struct AbandonOnExit(Arc<Queue>);

impl Drop for AbandonOnExit {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
