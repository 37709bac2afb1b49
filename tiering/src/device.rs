//! A device: a directory that is one failure domain.

pub(crate) mod asked;
pub(crate) mod calls;
pub(crate) mod gate;
pub(crate) mod identity;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use tracing::{error, warn};

use crate::shard::name::{self, CONTAINERS_DIRECTORY, TMP_SUFFIX};
use crate::{ContainerId, DeviceId, Error};
use calls::{Calls, Pulse};
use gate::{Gate, Step};
use identity::Found;

/// A device that has left a step unanswered for so long is read from only where the others do not suffice.
const LAG_MAX: Duration = Duration::from_secs(1);

/// What is waited for a result at least: after the whole process stood still, time is up before threads had their turn.
const GRACE: Duration = Duration::from_millis(100);

/// Work that a thread of a device does.
#[derive(Debug)]
pub(crate) struct Call<T> {
    device: Arc<Device>,
    pulse: Arc<Pulse>,
    result: mpsc::Receiver<T>,
}

impl<T> Call<T> {
    /// Waits for the result, for each step no longer than `step_max`; while it queues, for each step of those before it.
    ///
    /// Work that is given up while it queues is not done; work that hangs goes on when the device does, and its result
    /// is dropped on the device's thread.
    pub(crate) fn wait(self, step_max: Duration) -> io::Result<T> {
        let step_max = step_max.min(self.device.answer_max);
        let silence = || self.pulse.silence().unwrap_or_else(|| self.device.calls.silence());
        loop {
            match self.result.recv_timeout(step_max.saturating_sub(silence()).max(GRACE)) {
                Ok(result) => return Ok(result),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(io::Error::other("the call ended early")),
                Err(mpsc::RecvTimeoutError::Timeout) if silence() < step_max => {}
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.pulse.abandon();
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

/// One device of a pool.
///
/// Everything that may wait for it is a call ([`Device::call`], [`asked::Asked`]); methods named `_here` are what calls do.
#[derive(Debug)]
pub(crate) struct Device {
    path: Arc<PathBuf>,
    gate: Arc<dyn Gate>,
    /// Time for one step, after which the device counts as hung.
    answer_max: Duration,
    calls: Calls,
    /// Set when the device was first readable.
    id: OnceLock<DeviceId>,
    online: AtomicBool,
    /// Whether a probe is under way.
    probing: AtomicBool,
    /// Errors since the last success.
    errors: AtomicU32,
    /// Bytes that containers being written will still take.
    reserved_bytes: AtomicU64,
    /// Size and free bytes of its file system when it was last asked.
    total_bytes: AtomicU64,
    free_bytes: AtomicU64,
    hedges: AtomicU64,
    timeouts: AtomicU64,
}

impl Device {
    /// Returns a device that is offline until told otherwise.
    pub(crate) fn new(path: PathBuf, gate: Arc<dyn Gate>, answer_max: Duration) -> Self {
        Self {
            path: Arc::new(path),
            gate,
            answer_max,
            calls: Calls::new(),
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

    /// Returns its directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
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
        work: impl FnOnce(&Pulse) -> T + Send + 'static,
    ) -> io::Result<T> {
        self.begin(work)?.wait(self.answer_max)
    }

    /// Begins work on a thread of the device.
    pub(crate) fn begin<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Pulse) -> T + Send + 'static,
    ) -> io::Result<Call<T>> {
        let (done, result) = mpsc::channel();
        let work = move |pulse: &Pulse| drop(done.send(work(pulse)));
        let pulse = self.calls.start(Arc::clone(&self.path), Arc::clone(&self.gate), work)?;
        Ok(Call { device: Arc::clone(self), pulse, result })
    }

    /// Lets a thread of the device do what need not be waited for, and must not be waited for elsewhere.
    pub(crate) fn later(&self, work: impl FnOnce(&Pulse) + Send + 'static) {
        let queued = self.calls.later(Arc::clone(&self.path), Arc::clone(&self.gate), work);
        if let Err(error) = queued {
            warn!(device = %self.path.display(), %error, "no thread for a device");
        }
    }

    /// Starts a read on a thread of the device; its result is sent.
    pub(crate) fn start_read<T: Send + 'static>(
        &self,
        done: mpsc::Sender<T>,
        work: impl FnOnce(&Pulse) -> T + Send + 'static,
    ) -> io::Result<Arc<Pulse>> {
        self.calls.start_read(Arc::clone(&self.path), Arc::clone(&self.gate), done, work)
    }

    /// Returns the mean time of its last reads; zero before the first.
    pub(crate) fn latency(&self) -> Duration {
        self.calls.latency()
    }

    /// Returns whether it has left something unanswered so long that others are better asked.
    pub(crate) fn lags(&self) -> bool {
        self.calls.silence() > LAG_MAX.min(self.answer_max)
    }

    /// Returns how long one step may take.
    pub(crate) fn answer_max(&self) -> Duration {
        self.answer_max
    }

    /// Takes the device out of use if it has left a step unanswered for too long; returns whether it has.
    pub(crate) fn note_silence(&self) -> bool {
        let silence = self.calls.silence();
        let hangs = silence >= self.answer_max;
        if hangs && self.set_offline() {
            self.timeouts.fetch_add(1, Ordering::Relaxed);
            error!(
                device = %self.path.display(),
                seconds = silence.as_secs(),
                "device hangs and is out of use until it answers: look at its disk, cable or mount (dmesg names them)"
            );
        }
        hangs
    }

    /// Counts a read that others were asked for because this device was slow.
    pub(crate) fn note_hedge(&self) {
        self.hedges.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often others were asked because it was slow, and how often it went out of use because it hung.
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

    /// Notes an error of the system; many in a row take the device out of use.
    pub(crate) fn note_error(&self, source: &io::Error, errors_max: u32) {
        let errors = self.errors.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if errors >= errors_max && self.set_offline() {
            error!(device = %self.path.display(), %source, "device offline after errors");
        }
    }

    /// Takes the device out of use if its `device.json` cannot be read: what a vanished disk looks like.
    pub(crate) fn note_not_found_here(&self) {
        if !matches!(identity::inspect(&self.path), Found::Ready(_)) && self.set_offline() {
            error!(device = %self.path.display(), "device vanished");
        }
    }

    /// Returns total and free bytes of its file system when it was last asked, the free less what is promised to containers
    /// being written.
    pub(crate) fn space(&self) -> (u64, u64) {
        let free = self.free_bytes.load(Ordering::Relaxed);
        let reserved = self.reserved_bytes.load(Ordering::Relaxed);
        (self.total_bytes.load(Ordering::Relaxed), free.saturating_sub(reserved))
    }

    /// Asks for total and free bytes.
    pub(crate) fn look_at_space_here(&self, pulse: &Pulse) -> io::Result<()> {
        pulse.step(Step::Look)?;
        let space = rustix::fs::statvfs(self.path())?;
        self.total_bytes.store(space.f_blocks.saturating_mul(space.f_frsize), Ordering::Relaxed);
        self.free_bytes.store(space.f_bavail.saturating_mul(space.f_frsize), Ordering::Relaxed);
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
    /// Sweeping is only safe while nobody writes to the device.
    pub(crate) fn scan_here(&self, pulse: &Pulse, sweep: bool) -> Result<Vec<(ContainerId, u8)>, Error> {
        let mut shards = Vec::new();
        let given_up = || Error::io("list", self.path())(io::ErrorKind::TimedOut.into());
        for directory in entries(&self.path.join(CONTAINERS_DIRECTORY))? {
            pulse.step(Step::List).map_err(Error::io("list", &directory))?;
            for file in entries(&directory)? {
                // Whoever gave this up may have writers on the device again.
                if pulse.is_abandoned() {
                    return Err(given_up());
                }
                let Some(file_name) = file.file_name().and_then(|name| name.to_str()) else {
                    continue;
                };
                if let Some((container, shard)) = name::parse(file_name) {
                    if name::directory(&self.path, container) == directory {
                        shards.push((container, shard));
                    } else {
                        warn!(file = %file.display(), "shard in a directory of others");
                    }
                } else if sweep && file_name.ends_with(TMP_SUFFIX) {
                    fs::remove_file(&file).map_err(Error::io("remove leftover", &file))?;
                }
            }
        }
        Ok(shards)
    }
}

/// Lists a directory; one that is not there has no entries.
fn entries(path: &Path) -> Result<Vec<PathBuf>, Error> {
    match fs::read_dir(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(Error::io("list", path)(error)),
        Ok(listing) => listing
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(Error::io("list", path)),
    }
}
