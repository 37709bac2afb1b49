//! The I/O threads of a device: whatever may wait for it is a call on one of these. The caller can stop waiting, and a disk,
//! mount or network share that hangs holds these few threads and no others.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::fault_point::{FaultPoint, Step};
use crate::surroundings::Clock;

/// Threads of one device; more calls queue.
const THREADS_MAX: usize = 8;
/// Calls that may queue; more are refused at once.
const QUEUE_MAX: usize = 256;
/// How long a thread waits for its next call before it ends.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Bytes of a thread's stack: buffers are on the heap.
const STACK_BYTES: usize = 512 * 1024;
/// Heartbeat of a call that no thread has yet.
const QUEUED: u64 = u64::MAX;
/// What part of the remembered latency a new call replaces.
const LATENCY_SHARE: u64 = 8;

/// The threads of one device and what they have to do.
#[derive(Debug)]
pub(super) struct IoThreads {
    shared: Arc<Shared>,
}

/// One call, as its waiter, its thread and the device's health see it.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    shared: Arc<Surroundings>,
    queued_at: Instant,
    /// When the last step began, in milliseconds after `queued_at`; [`QUEUED`] until a thread has the call.
    beat_millis: AtomicU64,
    abandoned: AtomicBool,
}

/// What all calls of a device pass and measure with.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// What the device is called.
    pub(super) label: Arc<Path>,
    pub(super) fault_point: Arc<dyn FaultPoint>,
    pub(super) clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Shared {
    surroundings: Arc<Surroundings>,
    state: Mutex<State>,
    wanted: Condvar,
    /// Mean time of the last reads from being asked to being answered, in microseconds; 0 before the first.
    latency_micros: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Job>,
    /// Calls that are queued or under way.
    open: Vec<Arc<Heartbeat>>,
    threads: usize,
    idle: usize,
    closed: bool,
}

struct Job {
    heartbeat: Arc<Heartbeat>,
    work: Box<dyn FnOnce(&Heartbeat) + Send>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("heartbeat", &self.heartbeat).finish_non_exhaustive()
    }
}

impl Heartbeat {
    fn new(shared: Arc<Surroundings>) -> Self {
        let (queued_at, beat_millis) = (shared.clock.now(), AtomicU64::new(QUEUED));
        Self { shared, queued_at, beat_millis, abandoned: AtomicBool::new(false) }
    }

    fn elapsed(&self) -> Duration {
        self.shared.clock.now().saturating_duration_since(self.queued_at)
    }

    /// Notes that the next step begins; an error is to be treated as the step's own.
    pub(crate) fn step(&self, step: Step) -> io::Result<()> {
        self.beat();
        self.shared.fault_point.pass(&self.shared.label, step)
    }

    /// Notes that a thread has the call, or that the call goes on.
    fn beat(&self) {
        self.beat_millis.store(millis(self.elapsed()), Ordering::Release);
    }

    /// Returns how long the present step has taken so far; nothing while the call queues: that says nothing of the device.
    pub(super) fn silence(&self) -> Option<Duration> {
        let beat = Some(self.beat_millis.load(Ordering::Acquire)).filter(|beat| *beat != QUEUED)?;
        Some(self.elapsed().saturating_sub(Duration::from_millis(beat)))
    }

    /// Says that the result is not wanted any more: the call need not begin.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// Returns whether the result is not wanted any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

impl IoThreads {
    pub(super) fn new(surroundings: Surroundings) -> Self {
        let shared = Shared {
            surroundings: Arc::new(surroundings),
            state: Mutex::default(),
            wanted: Condvar::new(),
            latency_micros: AtomicU64::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Queues a call that sends its own result; an error if too many wait.
    pub(super) fn start(&self, work: impl FnOnce(&Heartbeat) + Send + 'static) -> io::Result<Arc<Heartbeat>> {
        self.queue(Box::new(work), QUEUE_MAX)
    }

    /// Queues a call that is done sooner or later, however long the queue is.
    pub(super) fn later(&self, work: impl FnOnce(&Heartbeat) + Send + 'static) -> io::Result<Arc<Heartbeat>> {
        self.queue(Box::new(work), usize::MAX)
    }

    /// Queues a call that reads, whose time counts as the device's latency.
    pub(super) fn start_read<T: Send + 'static>(
        &self,
        done: mpsc::Sender<T>,
        work: impl FnOnce(&Heartbeat) -> T + Send + 'static,
    ) -> io::Result<Arc<Heartbeat>> {
        let shared = Arc::clone(&self.shared);
        self.start(move |heartbeat| {
            let result = work(heartbeat);
            shared.note_latency(heartbeat.elapsed());
            drop(done.send(result)); // the asker may have it from elsewhere by now
        })
    }

    /// Returns the mean time of the last reads; zero before the first.
    pub(super) fn latency(&self) -> Duration {
        Duration::from_micros(self.shared.latency_micros.load(Ordering::Relaxed))
    }

    /// Returns how long the slowest step under way has taken so far.
    pub(super) fn silence(&self) -> Duration {
        self.shared.lock().open.iter().filter_map(|heartbeat| heartbeat.silence()).max().unwrap_or_default()
    }

    fn queue(&self, work: Box<dyn FnOnce(&Heartbeat) + Send>, queue_max: usize) -> io::Result<Arc<Heartbeat>> {
        let heartbeat = Arc::new(Heartbeat::new(Arc::clone(&self.shared.surroundings)));
        let mut state = self.shared.lock();
        if state.queue.len() >= queue_max {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "too many calls wait for the device"));
        }
        state.queue.push_back(Job { heartbeat: Arc::clone(&heartbeat), work });
        state.open.push(Arc::clone(&heartbeat));
        if state.idle < state.queue.len() && state.threads < THREADS_MAX {
            let shared = Arc::clone(&self.shared);
            let spawned =
                thread::Builder::new().name("device".to_owned()).stack_size(STACK_BYTES).spawn(move || shared.run());
            match spawned {
                Ok(_) => state.threads += 1,
                // The threads that run take the call; without any it would wait for ever.
                Err(error) if state.threads == 0 => {
                    state.queue.pop_back();
                    state.open.pop();
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        drop(state);
        self.shared.wanted.notify_one();
        Ok(heartbeat)
    }
}

impl Drop for IoThreads {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wanted.notify_all();
    }
}

impl Shared {
    /// Locks; a panic elsewhere leaves the state whole, since every change is one step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does calls until there are none for a while.
    fn run(self: Arc<Self>) {
        while let Some(Job { heartbeat, work }) = self.next() {
            let call = Open { shared: &self, heartbeat: &heartbeat };
            heartbeat.beat();
            if !heartbeat.is_abandoned() {
                work(&heartbeat);
            }
            drop(call);
        }
    }

    /// Waits for the next call; a thread that gets none ends, and is not counted any more.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        if let Some(job) = state.queue.pop_front() {
            return Some(job);
        }
        state.idle += 1;
        let idle = |state: &mut State| state.queue.is_empty() && !state.closed;
        let waited = self.wanted.wait_timeout_while(state, IDLE_MAX, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.idle = state.idle.saturating_sub(1);
        let job = state.queue.pop_front();
        if job.is_none() {
            state.threads = state.threads.saturating_sub(1);
        }
        job
    }

    fn note_latency(&self, elapsed: Duration) {
        let sample = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).max(1);
        let old = self.latency_micros.load(Ordering::Relaxed);
        let new = if old == 0 { sample } else { old - old / LATENCY_SHARE + sample / LATENCY_SHARE };
        // Of two at once one is lost: it is a mean.
        self.latency_micros.store(new.max(1), Ordering::Relaxed);
    }
}

/// Counts a call until it is done; a panic ends its thread, too.
struct Open<'a> {
    shared: &'a Shared,
    heartbeat: &'a Arc<Heartbeat>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.open.retain(|heartbeat| !Arc::ptr_eq(heartbeat, self.heartbeat));
        if thread::panicking() {
            state.threads = state.threads.saturating_sub(1);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Device;
    use super::super::fault_point::NoFaults;
    use super::*;
    use crate::device::Health;
    use crate::medium::{DirectoryMedium, Medium};
    use crate::surroundings::MonotonicClock;

    const ANSWER_MAX: Duration = Duration::from_secs(1);

    /// Returns what became of a call that had to wait for all threads of its device, longer than a step may take, while
    /// they did `work` again and again; and whether the device was taken to hang.
    fn behind_others(work: impl Fn(&Heartbeat) + Clone + Send + 'static) -> (io::Result<u8>, bool) {
        let device = Arc::new(Device::new(
            Medium::Directory(DirectoryMedium::new("/nowhere".into())),
            Arc::new(NoFaults),
            Arc::new(MonotonicClock),
            Health { answer_max: ANSWER_MAX, errors_max: 8 },
        ));
        let ended = Arc::new(AtomicBool::new(false));
        for _ in 0..THREADS_MAX {
            let (work, ended) = (work.clone(), Arc::clone(&ended));
            device.later(move |heartbeat| {
                while !ended.load(Ordering::Acquire) {
                    work(heartbeat);
                    thread::park_timeout(ANSWER_MAX / 100);
                }
            });
        }
        let waiting = device.begin(|_| 7).unwrap();
        let waiter = thread::spawn(move || waiting.wait(ANSWER_MAX));
        let begun = Instant::now();
        while begun.elapsed() < ANSWER_MAX * 3 / 2 {
            thread::park_timeout(ANSWER_MAX / 100);
        }
        let hangs = device.note_silence();
        ended.store(true, Ordering::Release);
        (waiter.join().unwrap(), hangs)
    }

    #[test]
    fn a_device_whose_queue_moves_on_is_busy_and_not_silent() {
        let (answer, hangs) = behind_others(|heartbeat| heartbeat.step(Step::Read).unwrap());
        assert_eq!((answer.unwrap(), hangs), (7, false));
    }

    #[test]
    fn a_call_behind_a_hung_one_gives_up() {
        let (answer, hangs) = behind_others(|_| ());
        assert_eq!((answer.unwrap_err().kind(), hangs), (io::ErrorKind::TimedOut, true));
    }
}
