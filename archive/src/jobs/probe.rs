//! Looks every few seconds which devices are there, and keeps planner statistics and gauges up to date.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::control::JobControl;
use super::job::{Job, Step};
use crate::Error;
use crate::containers::Containers;
use crate::link::IndexLink;
use crate::status::Gauges;

/// How often devices are probed and planner statistics looked at.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// The job `probe`.
pub(crate) struct ProbeJob {
    containers: Arc<Containers>,
    link: Arc<IndexLink>,
    gauges: Arc<Gauges>,
}

impl ProbeJob {
    pub(crate) fn new(containers: Arc<Containers>, link: Arc<IndexLink>, gauges: Arc<Gauges>) -> Self {
        Self { containers, link, gauges }
    }

    async fn probe(&self) -> Result<Step, Error> {
        self.containers.probe().await?;
        if let Ok(index) = self.link.get()
            && let Err(error) = index.analyze_if_grown().await
        {
            tracing::debug!(%error, "planner statistics are not renewed now");
        }
        self.gauges.refresh();
        Ok(Step::Wait)
    }
}

impl Job for ProbeJob {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn unit(&self) -> &'static str {
        "devices"
    }

    fn wait_max(&self) -> Option<Duration> {
        Some(PROBE_EVERY)
    }

    fn wait(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(PROBE_EVERY))
    }

    fn step<'a>(&'a mut self, _control: &'a JobControl) -> BoxFuture<'a, Result<Step, Error>> {
        Box::pin(self.probe())
    }
}
