//! A device: a medium that is one failure domain, its I/O threads and its health.

pub(crate) mod fan_out;
pub(crate) mod fault_point;
pub(crate) mod identity;
pub(crate) mod io_threads;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use tracing::{error, warn};

use crate::DeviceId;
use crate::medium::Medium;
use crate::medium::name::ShardName;
use crate::surroundings::Clock;
use fault_point::{FaultPoint, Step};
use identity::Found;
use io_threads::{Heartbeat, IoThreads, Surroundings};

/// A device that has left a step unanswered for so long is read from only where the others do not suffice.
const LAG_MAX: Duration = Duration::from_secs(1);

/// Minimum wait for a result: after the whole process stood still, time is up before threads had their turn.
const GRACE: Duration = Duration::from_millis(100);

/// Work that a thread of a device does.
#[derive(Debug)]
pub(crate) struct Call<T> {
    device: Arc<Device>,
    heartbeat: Arc<Heartbeat>,
    result: mpsc::Receiver<T>,
}

impl<T> Call<T> {
    /// Waits for the result, for each step no longer than `step_max`; while it queues, for each step of those before it.
    ///
    /// Work that is given up while it queues is not done; work that hangs goes on when the device does, and its result
    /// is dropped on the device's thread.
    pub(crate) fn wait(self, step_max: Duration) -> io::Result<T> {
        let step_max = step_max.min(self.device.health.answer_max);
        let silence = || self.heartbeat.silence().unwrap_or_else(|| self.device.threads.silence());
        loop {
            match self.result.recv_timeout(step_max.saturating_sub(silence()).max(GRACE)) {
                Ok(result) => return Ok(result),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(io::Error::other("the call ended early")),
                Err(mpsc::RecvTimeoutError::Timeout) if silence() < step_max => {}
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.heartbeat.abandon();
                    self.device.note_silence();
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the device does not answer"));
                }
            }
        }
    }
}

/// A probe of a device, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Probe(Arc<Device>);

impl Probe {
    /// Returns the device.
    pub(crate) fn device(&self) -> &Device {
        &self.0
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.probing.store(false, Ordering::Release);
    }
}

/// What a device may do before it is taken out of use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Health {
    /// Time for one step, after which it counts as hung.
    pub(crate) answer_max: Duration,
    /// Errors in a row.
    pub(crate) errors_max: u32,
}

/// One device of a pool.
///
/// Everything that may wait for it is a call ([`Device::call`], [`fan_out::FanOut`]); methods named `_here` are what calls do.
#[derive(Debug)]
pub(crate) struct Device {
    medium: Arc<Medium>,
    health: Health,
    threads: IoThreads,
    /// Set when the device was first readable.
    id: OnceLock<DeviceId>,
    online: AtomicBool,
    /// Whether a probe is under way.
    probing: AtomicBool,
    /// Errors since the last success.
    errors: AtomicU32,
    /// Bytes that containers being written will still take.
    reserved_bytes: AtomicU64,
    /// Size and free bytes of its medium when it was last asked.
    total_bytes: AtomicU64,
    free_bytes: AtomicU64,
    hedges: AtomicU64,
    timeouts: AtomicU64,
}

impl Device {
    /// Returns a device that is offline until told otherwise.
    pub(crate) fn new(medium: Medium, fault_point: Arc<dyn FaultPoint>, clock: Arc<dyn Clock>, health: Health) -> Self {
        let surroundings = Surroundings { label: Arc::from(medium.label()), fault_point, clock };
        Self {
            medium: Arc::new(medium),
            health,
            threads: IoThreads::new(surroundings),
            id: OnceLock::new(),
            online: AtomicBool::new(false),
            probing: AtomicBool::new(false),
            errors: AtomicU32::new(0),
            reserved_bytes: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            free_bytes: AtomicU64::new(0),
            hedges: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
        }
    }

    /// Returns what configuration, logs and status call it.
    pub(crate) fn label(&self) -> &Path {
        self.medium.label()
    }

    /// Returns its medium, for calls on the device's threads.
    pub(crate) fn medium(&self) -> &Arc<Medium> {
        &self.medium
    }

    /// Returns its name, if it was ever readable.
    pub(crate) fn id(&self) -> Option<DeviceId> {
        self.id.get().copied()
    }

    /// Returns whether it is in use.
    pub(crate) fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire)
    }

    /// Takes it into use under this name; refused if it had another name before.
    pub(crate) fn set_online(&self, id: DeviceId) -> bool {
        let same = *self.id.get_or_init(|| id) == id;
        if same {
            self.errors.store(0, Ordering::Relaxed);
            self.online.store(true, Ordering::Release);
        }
        same
    }

    /// Takes it out of use until a probe finds it again; returns whether it was in use.
    pub(crate) fn set_offline(&self) -> bool {
        self.online.swap(false, Ordering::AcqRel)
    }

    /// Does work on a thread of the device and waits for the result, for each step so long as the device may take.
    pub(crate) fn call<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Heartbeat) -> T + Send + 'static,
    ) -> io::Result<T> {
        self.begin(work)?.wait(self.health.answer_max)
    }

    /// Begins work on a thread of the device.
    pub(crate) fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Heartbeat) -> T + Send + 'static,
    ) -> io::Result<Call<T>> {
        let (done, result) = mpsc::channel();
        let work = move |heartbeat: &Heartbeat| drop(done.send(work(heartbeat)));
        let heartbeat = self.threads.start(work)?;
        Ok(Call { device: Arc::clone(self), heartbeat, result })
    }

    /// Lets a thread of the device do work whose end no caller waits for, such as closing a file.
    pub(crate) fn later(&self, work: impl FnOnce(&Heartbeat) + Send + 'static) {
        let queued = self.threads.later(work);
        if let Err(error) = queued {
            warn!(device = %self.label().display(), %error, "no thread for a device");
        }
    }

    /// Starts a read on a thread of the device; its result is sent.
    pub(crate) fn start_read<T: Send + 'static>(
        &self,
        done: mpsc::Sender<T>,
        work: impl FnOnce(&Heartbeat) -> T + Send + 'static,
    ) -> io::Result<Arc<Heartbeat>> {
        self.threads.start_read(done, work)
    }

    /// Returns the mean time of its last reads; zero before the first.
    pub(crate) fn latency(&self) -> Duration {
        self.threads.latency()
    }

    /// Returns whether it has left a step unanswered for so long that other devices are the better choice.
    pub(crate) fn lags(&self) -> bool {
        self.threads.silence() > LAG_MAX.min(self.health.answer_max)
    }

    /// Returns how long one step may take.
    pub(crate) fn answer_max(&self) -> Duration {
        self.health.answer_max
    }

    /// Takes the device out of use if it has left a step unanswered for too long; returns whether it has.
    pub(crate) fn note_silence(&self) -> bool {
        let silence = self.threads.silence();
        let hangs = silence >= self.health.answer_max;
        if hangs && self.set_offline() {
            self.timeouts.fetch_add(1, Ordering::Relaxed);
            error!(
                device = %self.label().display(),
                seconds = silence.as_secs(),
                "device hangs and is out of use until it answers: look at its disk, cable or mount (dmesg names them)"
            );
        }
        hangs
    }

    /// Counts a read for which other devices were asked because this one was slow.
    pub(crate) fn note_hedge(&self) {
        self.hedges.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often other devices were asked because it was slow, and how often it went out of use because it hung.
    pub(crate) fn slowness(&self) -> (u64, u64) {
        (self.hedges.load(Ordering::Relaxed), self.timeouts.load(Ordering::Relaxed))
    }

    /// Begins a probe, unless one is under way.
    pub(crate) fn begin_probe(self: &Arc<Self>) -> Option<Probe> {
        (!self.probing.swap(true, Ordering::AcqRel)).then(|| Probe(Arc::clone(self)))
    }

    /// Notes that the device answered.
    pub(crate) fn note_success(&self) {
        if self.errors.load(Ordering::Relaxed) > 0 {
            self.errors.store(0, Ordering::Relaxed);
        }
    }

    /// Notes an error of the medium; many in a row take the device out of use.
    pub(crate) fn note_error(&self, source: &io::Error) {
        let errors = self.errors.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if errors >= self.health.errors_max && self.set_offline() {
            error!(device = %self.label().display(), %source, "device offline after errors");
        }
    }

    /// Takes the device out of use if its `device.json` cannot be read: what a vanished disk looks like.
    pub(crate) fn note_not_found_here(&self) {
        if !matches!(identity::inspect(&self.medium), Found::Ready(_)) && self.set_offline() {
            error!(device = %self.label().display(), "device vanished");
        }
    }

    /// Returns total and free bytes of its medium when it was last asked, the free ones less those promised to containers
    /// being written.
    pub(crate) fn space(&self) -> (u64, u64) {
        let free = self.free_bytes.load(Ordering::Relaxed);
        let reserved = self.reserved_bytes.load(Ordering::Relaxed);
        (self.total_bytes.load(Ordering::Relaxed), free.saturating_sub(reserved))
    }

    /// Asks for total and free bytes.
    pub(crate) fn look_at_space_here(&self, heartbeat: &Heartbeat) -> io::Result<()> {
        heartbeat.step(Step::Look)?;
        let space = self.medium.space()?;
        self.total_bytes.store(space.total_bytes, Ordering::Relaxed);
        self.free_bytes.store(space.free_bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Promises bytes to a container being written.
    pub(crate) fn reserve(&self, bytes: u64) {
        self.reserved_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes a promise back.
    pub(crate) fn release(&self, bytes: u64) {
        self.reserved_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Lists the shards by their names, opening none; `sweep` removes what a crash left half written.
    ///
    /// Sweeping is only safe while no writer uses the device.
    pub(crate) fn scan_here(&self, heartbeat: &Heartbeat, sweep: bool) -> io::Result<Vec<ShardName>> {
        self.medium.list(sweep, || {
            // The caller that gave this up may have writers on the device again.
            if heartbeat.is_abandoned() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            heartbeat.step(Step::List)
        })
    }
}
