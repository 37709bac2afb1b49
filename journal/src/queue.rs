//! The queue of the committer: what waits to be written, and the answers that callers wait for.

use std::mem;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::Error;
use crate::payload::Payload;
use crate::record::{RecordHead, RecordRef};

/// Something for the committer to do.
pub(crate) enum Command {
    /// Append a record.
    Append(Box<QueuedRecord>),
    /// Begin a new segment.
    Seal(SyncSender<Result<(), Error>>),
}

/// A record in the queue.
pub(crate) struct QueuedRecord {
    pub(crate) head: RecordHead,
    pub(crate) head_bytes: u32,
    pub(crate) payload: Payload,
    pub(crate) payload_bytes: u64,
    pub(crate) crc32c: u32,
    pub(crate) reply: oneshot::Sender<Result<RecordRef, Error>>,
    /// Its bytes of the queue's limit.
    pub(crate) _permit: OwnedSemaphorePermit,
}

impl QueuedRecord {
    /// Tells the caller what became of the record.
    pub(crate) fn answer(self, result: Result<RecordRef, Error>) {
        let Self { payload, reply, .. } = self;
        // After a failed write a record may name the files all the same: the next start finds out.
        if let (Payload::Large(large), Ok(_) | Err(Error::Poisoned { .. })) = (payload, &result) {
            large.keep();
        }
        // A caller that dropped its call does not need the answer.
        drop(reply.send(result));
    }
}

/// What waits to be written.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Default)]
struct QueueState {
    commands: Vec<Command>,
    stopping: bool,
    /// The committer's thread waits; else it looks at the queue by itself before it does.
    idle: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, command: Command) -> Result<(), Error> {
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
    pub(crate) fn wait(&self) -> Option<Vec<Command>> {
        let state = self.lock();
        let idle = |state: &mut QueueState| {
            state.idle = state.commands.is_empty() && !state.stopping;
            state.idle
        };
        let mut state = self.filled.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        let commands = mem::take(&mut state.commands);
        (!commands.is_empty()).then_some(commands)
    }

    /// Takes all commands without waiting.
    pub(crate) fn take(&self) -> Vec<Command> {
        mem::take(&mut self.lock().commands)
    }

    /// Accepts nothing more; what is queued is still written.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.filled.notify_all();
    }

    /// Accepts nothing more and drops what is queued: the callers are told that the journal is
    /// closed.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.stopping = true;
        state.commands.clear();
    }
}
