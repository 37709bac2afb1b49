//! Calls to a device, on threads of the device's own: who asks can stop waiting, and a disk, mount or network share that
//! hangs holds these few threads and nobody else's.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::gate::{Gate, Step};

/// Threads of one device; more calls queue.
const THREADS_MAX: usize = 8;
/// Calls that may queue; more are refused at once.
const QUEUE_MAX: usize = 256;
/// How long a thread waits for its next call before it ends.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Bytes of a thread's stack: buffers are on the heap.
const STACK_BYTES: usize = 512 * 1024;
/// Beat of a call that no thread has yet.
const QUEUED: u64 = u64::MAX;
/// What part of the remembered latency a new call replaces.
const LATENCY_SHARE: u64 = 8;

/// The threads of one device and what they have to do.
#[derive(Debug)]
pub(super) struct Calls {
    shared: Arc<Shared>,
}

/// One call as seen by those who wait for it, those who do it, and those who look after the device.
#[derive(Debug)]
pub(crate) struct Pulse {
    device: Arc<PathBuf>,
    gate: Arc<dyn Gate>,
    asked: Instant,
    /// When the last step began, in milliseconds after `asked`; [`QUEUED`] until a thread has it.
    beat_millis: AtomicU64,
    abandoned: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wanted: Condvar,
    /// Mean time of the last reads from being asked to being answered, in microseconds; 0 before the first.
    latency_micros: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Job>,
    /// Calls that are queued or under way.
    open: Vec<Arc<Pulse>>,
    threads: usize,
    idle: usize,
    closed: bool,
}

struct Job {
    pulse: Arc<Pulse>,
    work: Box<dyn FnOnce(&Pulse) + Send>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("pulse", &self.pulse).finish_non_exhaustive()
    }
}

impl Pulse {
    fn new(device: Arc<PathBuf>, gate: Arc<dyn Gate>) -> Self {
        let (asked, beat_millis) = (Instant::now(), AtomicU64::new(QUEUED));
        Self { device, gate, asked, beat_millis, abandoned: AtomicBool::new(false) }
    }

    /// Notes that the next step begins; an error is to be treated as the step's own.
    pub(crate) fn step(&self, step: Step) -> io::Result<()> {
        self.beat();
        self.gate.pass(&self.device, step)
    }

    /// Notes that there is a thread for it, or that it goes on.
    fn beat(&self) {
        self.beat_millis.store(millis(self.asked.elapsed()), Ordering::Release);
    }

    /// Returns how long the present step takes already; nothing while the call queues: it says nothing of the device then.
    pub(super) fn silence(&self) -> Option<Duration> {
        let beat = Some(self.beat_millis.load(Ordering::Acquire)).filter(|beat| *beat != QUEUED)?;
        Some(self.asked.elapsed().saturating_sub(Duration::from_millis(beat)))
    }

    /// Says that nobody waits for the result: the call need not begin any more.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// Returns whether nobody waits for the result any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

impl Calls {
    pub(super) fn new() -> Self {
        let shared = Shared { state: Mutex::default(), wanted: Condvar::new(), latency_micros: AtomicU64::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Queues a call that sends its own result; an error if too many wait.
    pub(super) fn start(
        &self,
        device: Arc<PathBuf>,
        gate: Arc<dyn Gate>,
        work: impl FnOnce(&Pulse) + Send + 'static,
    ) -> io::Result<Arc<Pulse>> {
        self.queue(device, gate, Box::new(work), QUEUE_MAX)
    }

    /// Queues a call that is done sooner or later, whoever waits.
    pub(super) fn later(
        &self,
        device: Arc<PathBuf>,
        gate: Arc<dyn Gate>,
        work: impl FnOnce(&Pulse) + Send + 'static,
    ) -> io::Result<Arc<Pulse>> {
        self.queue(device, gate, Box::new(work), usize::MAX)
    }

    /// Queues a call that reads, whose time counts as the device's latency.
    pub(super) fn start_read<T: Send + 'static>(
        &self,
        device: Arc<PathBuf>,
        gate: Arc<dyn Gate>,
        done: mpsc::Sender<T>,
        work: impl FnOnce(&Pulse) -> T + Send + 'static,
    ) -> io::Result<Arc<Pulse>> {
        let shared = Arc::clone(&self.shared);
        self.start(device, gate, move |pulse| {
            let result = work(pulse);
            shared.note_latency(pulse.asked.elapsed());
            drop(done.send(result)); // who asked may have it from elsewhere by now
        })
    }

    /// Returns the mean time of the last reads; zero before the first.
    pub(super) fn latency(&self) -> Duration {
        Duration::from_micros(self.shared.latency_micros.load(Ordering::Relaxed))
    }

    /// Returns how long the slowest step that is under way takes already.
    pub(super) fn silence(&self) -> Duration {
        self.shared.lock().open.iter().filter_map(|pulse| pulse.silence()).max().unwrap_or_default()
    }

    fn queue(
        &self,
        device: Arc<PathBuf>,
        gate: Arc<dyn Gate>,
        work: Box<dyn FnOnce(&Pulse) + Send>,
        queue_max: usize,
    ) -> io::Result<Arc<Pulse>> {
        let pulse = Arc::new(Pulse::new(device, gate));
        let mut state = self.shared.lock();
        if state.queue.len() >= queue_max {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "too many calls wait for the device"));
        }
        state.queue.push_back(Job { pulse: Arc::clone(&pulse), work });
        state.open.push(Arc::clone(&pulse));
        if state.idle < state.queue.len() && state.threads < THREADS_MAX {
            let shared = Arc::clone(&self.shared);
            let spawned =
                thread::Builder::new().name("device".to_owned()).stack_size(STACK_BYTES).spawn(move || shared.run());
            match spawned {
                Ok(_) => state.threads += 1,
                // Those that run take the call on; with none it would wait for ever.
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
        Ok(pulse)
    }
}

impl Drop for Calls {
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
        while let Some(Job { pulse, work }) = self.next() {
            let call = Open { shared: &self, pulse: &pulse };
            pulse.beat();
            if !pulse.is_abandoned() {
                work(&pulse);
            }
            drop(call);
        }
    }

    /// Waits for the next call; the thread that gets none ends, and is not counted any more.
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
    pulse: &'a Arc<Pulse>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.open.retain(|pulse| !Arc::ptr_eq(pulse, self.pulse));
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
    use super::super::gate::OpenGate;
    use super::*;

    const ANSWER_MAX: Duration = Duration::from_secs(1);

    /// Returns what became of a call that had to wait for all threads of its device, longer than a step may take, while
    /// these did `work` again and again; and whether the device was taken to hang.
    fn behind_others(work: impl Fn(&Pulse) + Clone + Send + 'static) -> (io::Result<u8>, bool) {
        let device = Arc::new(Device::new("/nowhere".into(), Arc::new(OpenGate), ANSWER_MAX));
        let ended = Arc::new(AtomicBool::new(false));
        for _ in 0..THREADS_MAX {
            let (work, ended) = (work.clone(), Arc::clone(&ended));
            device.later(move |pulse| {
                while !ended.load(Ordering::Acquire) {
                    work(pulse);
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
        let (answer, hangs) = behind_others(|pulse| pulse.step(Step::Read).unwrap());
        assert_eq!((answer.unwrap(), hangs), (7, false));
    }

    #[test]
    fn who_waits_behind_what_hangs_is_told() {
        let (answer, hangs) = behind_others(|_| ());
        assert_eq!((answer.unwrap_err().kind(), hangs), (io::ErrorKind::TimedOut, true));
    }
}
