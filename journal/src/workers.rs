//! A thread per copy, so that all copies are flushed at the same time and one that hangs does not
//! hold up the others for ever.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use crate::commit::{InTurn, WriteCopies};
use crate::copies::Copies;
use crate::error::Error;
use crate::medium::SegmentFile;
use crate::segments::SegmentFiles;
use crate::threads::{join, spawn};

/// What one copy is to write.
struct CopyWrite {
    file: Arc<SegmentFile>,
    offset: u64,
    buffers: Arc<[Bytes]>,
}

/// The thread that writes one copy.
struct Worker {
    /// Taken to end the thread.
    writes: Option<SyncSender<CopyWrite>>,
    done: Receiver<io::Result<()>>,
    /// Taken when the copy hangs: the thread ends when its device answers, if ever, and the
    /// committer does not wait for it.
    thread: Option<JoinHandle<()>>,
}

/// The threads of all copies; none if there is one copy, which the committer writes itself.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    /// A copy that does not answer for so long is given up.
    copy_wait_max: Duration,
}

impl Workers {
    pub(crate) fn start(copies: &Arc<Copies>, copy_wait_max: Duration) -> Result<Self, Error> {
        let count = if copies.all().len() > 1 { copies.all().len() } else { 0 };
        let workers = (0..count).map(|copy| Worker::start(Arc::clone(copies), copy)).collect::<Result<_, _>>()?;
        Ok(Self { workers, copy_wait_max })
    }

    /// Writes one batch on every copy at once.
    fn write_all(&mut self, copies: &Copies, files: &SegmentFiles, offset: u64, buffers: &[Bytes]) {
        let buffers: Arc<[Bytes]> = buffers.into();
        let mut asked = Vec::new();
        for ((copy, file), worker) in copies.all().iter().zip(files).zip(&mut self.workers) {
            let Some(file) = file.as_ref().filter(|_| copy.is_healthy()) else {
                continue;
            };
            let write = CopyWrite { file: Arc::clone(file), offset, buffers: Arc::clone(&buffers) };
            if worker.writes.as_ref().is_some_and(|writes| writes.send(write).is_ok()) {
                asked.push((copy, worker));
            } else {
                copy.poison("write journal segment", &io::ErrorKind::BrokenPipe.into());
            }
        }
        for (copy, worker) in asked {
            let done = match worker.done.recv_timeout(self.copy_wait_max) {
                Ok(done) => done,
                Err(RecvTimeoutError::Timeout) => {
                    worker.thread = None;
                    Err(io::ErrorKind::TimedOut.into())
                }
                Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
            };
            if let Err(error) = done {
                copy.poison("write journal segment", &error);
            }
        }
    }
}

impl WriteCopies for Workers {
    fn write(&mut self, copies: &Copies, files: &SegmentFiles, offset: u64, buffers: &[Bytes]) {
        if self.workers.is_empty() {
            InTurn.write(copies, files, offset, buffers);
        } else {
            self.write_all(copies, files, offset, buffers);
        }
    }
}

impl Worker {
    fn start(copies: Arc<Copies>, number: usize) -> Result<Self, Error> {
        let (writes, todo) = sync_channel::<CopyWrite>(1);
        let (results, done) = sync_channel(1);
        let thread = spawn(&format!("journal-copy-{number}"), move || {
            let Some(copy) = copies.get(number) else {
                return;
            };
            while let Ok(write) = todo.recv() {
                let result = copy.commit(&write.file, write.offset, &write.buffers);
                drop(write); // the buffers are the callers': they are free again before the answer
                if results.send(result).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { writes: Some(writes), done, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.writes = None;
        if let Some(thread) = self.thread.take() {
            join(thread);
        }
    }
}
