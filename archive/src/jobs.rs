//! What the archive does on its own: packing, taking in unknown containers, giving journal space back, looking at devices.
//! Policy is here; how a container is written is in `tiering`.

mod delete;
mod describe;
mod pack;
mod plan;
mod recover;
mod status;
mod verify;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use delete::delete;
pub(crate) use pack::{pack_all, pack_due};
pub(crate) use recover::{give_back, rebuild, recover, take_in};
pub use status::{DeviceState, PoolState, Status};
pub(crate) use status::{refresh_metrics, status};
pub(crate) use verify::verify;
pub use verify::{ContainerFault, VerifyReport};

use crate::Chain;
use crate::archive::Inner;
use crate::receive::joined;

/// How often the packer looks for quiet studies at least, which reads all unsealed instances' rows.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(10);
/// The same when studies count as quiet after a second.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(500);
/// How often devices are probed and planner statistics looked at.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Tells how far a long job has come: done and total, in the job's own unit. Called from any thread.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(u64, u64) + Send + Sync>);

impl Progress {
    /// Returns a progress that calls `report` with what is done and the total.
    pub fn new(report: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// Returns a progress that nobody looks at.
    pub fn silent() -> Self {
        Self::new(|_, _| {})
    }

    pub(crate) fn report(&self, done: u64, total: u64) {
        (self.0)(done, total);
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}

/// Runs the jobs until cancelled.
pub(crate) async fn run(archive: Arc<Inner>, cancel: CancellationToken) {
    let look_every = (archive.options.pack.quiet / 2).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX);
    let mut probed = Instant::now();
    while !cancel.is_cancelled() {
        let wanted = cancel.run_until_cancelled(timeout(look_every, archive.pack_wanted.notified()));
        if wanted.await.is_none() {
            return;
        }
        if probed.elapsed() >= PROBE_EVERY {
            probe(&archive).await;
            probed = Instant::now();
        }
        // A pack that has begun is finished: cancelling comes between containers.
        if let Err(error) = pack_due(&archive, &cancel).await {
            tracing::warn!(error = %Chain(&error), "packing is put off");
        }
    }
}

fn online(archive: &Inner) -> usize {
    archive.store.pools().iter().flat_map(|pool| &pool.devices).filter(|device| device.online).count()
}

async fn probe(archive: &Arc<Inner>) {
    probe_devices(archive).await;
    if let Ok(index) = archive.link.get()
        && let Err(error) = index.analyze_if_grown().await
    {
        tracing::debug!(%error, "planner statistics are not renewed now");
    }
    refresh_metrics(archive);
}

/// Looks which devices are there.
async fn probe_devices(archive: &Arc<Inner>) {
    let prober = Arc::clone(archive);
    let probed = tokio::task::spawn_blocking(move || {
        let before = online(&prober);
        prober.store.probe();
        online(&prober) > before
    });
    match joined(probed.await) {
        // What came back may have containers that the index has not seen.
        Ok(true) => archive.recheck.store(true, Ordering::Relaxed),
        Ok(false) => {}
        Err(error) => tracing::error!(%error, "devices could not be probed"),
    }
}
