//! A thread per copy, so that all copies are flushed at the same time and one that hangs does not hold up the others
//! for ever.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::Error;
use super::segment_file::SegmentFile;
use super::segments::Shared;

/// What one copy is to write.
struct Job {
    file: Arc<SegmentFile>,
    offset: u64,
    buffers: Arc<[Bytes]>,
}

/// The thread that writes one copy.
pub(super) struct Worker {
    /// Taken to end the thread.
    jobs: Option<SyncSender<Job>>,
    done: Receiver<io::Result<()>>,
    /// Taken when the copy hangs: the thread ends when its device answers, if ever, and nobody waits for it.
    thread: Option<JoinHandle<()>>,
}

/// Writes one batch on every copy at once; a copy that fails or does not answer in time is given up.
pub(super) fn commit_all(
    shared: &Shared,
    files: &[Option<Arc<SegmentFile>>],
    offset: u64,
    workers: &mut [Worker],
    buffers: &[Bytes],
) {
    let buffers: Arc<[Bytes]> = buffers.into();
    let mut asked = Vec::new();
    for ((disk, file), worker) in shared.disks.iter().zip(files).zip(workers) {
        let Some(file) = file.as_ref().filter(|_| disk.is_healthy()) else {
            continue;
        };
        let job = Job { file: Arc::clone(file), offset, buffers: Arc::clone(&buffers) };
        if worker.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok()) {
            asked.push((disk, worker));
        } else {
            disk.poison("write journal segment", &io::ErrorKind::BrokenPipe.into());
        }
    }
    for (disk, worker) in asked {
        let done = match worker.done.recv_timeout(shared.options.copy_wait_max) {
            Ok(done) => done,
            Err(RecvTimeoutError::Timeout) => {
                worker.thread = None;
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
        };
        if let Err(error) = done {
            disk.poison("write journal segment", &error);
        }
    }
}

impl Worker {
    /// Starts a thread for each copy; none if there is one copy, which the committer writes itself.
    pub(super) fn start_all(shared: &Arc<Shared>) -> Result<Vec<Self>, Error> {
        let copies = if shared.disks.len() > 1 { shared.disks.len() } else { 0 };
        (0..copies).map(|copy| Self::start(Arc::clone(shared), copy)).collect()
    }

    fn start(shared: Arc<Shared>, copy: usize) -> Result<Self, Error> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let (results, done) = sync_channel(1);
        let thread = spawn(&format!("journal-copy-{copy}"), move || {
            let Some(disk) = shared.disks.get(copy) else {
                return;
            };
            while let Ok(job) = todo.recv() {
                let result = disk.commit(&job.file, job.offset, &job.buffers);
                drop(job); // the buffers are the callers': given back before the answer
                if results.send(result).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            join(thread);
        }
    }
}

/// Starts a named thread.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(Error::io("start journal thread", name.as_ref()))
}

/// Waits for the end of a thread and reports its panic.
pub(super) fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("journal thread panicked");
    }
}
