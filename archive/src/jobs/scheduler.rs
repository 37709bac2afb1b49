//! Runs the jobs: background ones for as long as the archive runs, others once for a caller that waits. All are shown, paused,
//! throttled and cancelled the same way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::control::{JobControl, JobState, JobStatus, Orders};
use super::job::{Job, Step};
use super::progress::Progress;
use crate::link::IndexLink;
use crate::tasks::Tasks;
use crate::{Chain, Clock, Error, Metrics};

/// Pause after a step failed: what it lacked does not come back at once.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What the index keeps of a background job, as JSON in the `job` table.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    paused: bool,
    throttle_percent: u8,
}

/// Runs the jobs of one archive.
#[derive(Debug)]
pub(crate) struct Scheduler {
    entries: Mutex<Vec<Entry>>,
    link: Arc<IndexLink>,
    tasks: Tasks,
    clock: Clock,
    metrics: Metrics,
}

#[derive(Debug)]
struct Entry {
    control: JobControl,
    /// It runs for as long as the archive, and its orders survive a restart.
    is_background: bool,
}

impl Scheduler {
    pub(crate) fn new(link: Arc<IndexLink>, tasks: Tasks, clock: Clock, metrics: Metrics) -> Self {
        Self { entries: Mutex::default(), link, tasks, clock, metrics }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a job; what ended under the same name leaves the list.
    fn enter(&self, control: &JobControl, is_background: bool) {
        let name = control.status().name;
        let mut entries = self.entries();
        entries.retain(|entry| {
            let status = entry.control.status();
            status.name != name || !matches!(status.state, JobState::Done | JobState::Cancelled | JobState::Failed)
        });
        entries.push(Entry { control: control.clone(), is_background });
    }

    /// Starts a background job.
    pub(crate) fn start(self: &Arc<Self>, job: impl Job) {
        let control = JobControl::new(job.name(), job.unit(), Progress::silent(), self.tasks.cancel().child_token());
        self.enter(&control, true);
        let scheduler = Arc::clone(self);
        self.tasks.spawn(async move { scheduler.keep_running(job, control).await });
    }

    async fn keep_running(&self, mut job: impl Job, control: JobControl) {
        let cancel = control.cancel().clone();
        cancel.run_until_cancelled(self.restore_orders(&control)).await;
        loop {
            self.set_next(&control, &job);
            if cancel.run_until_cancelled(job.wait()).await.is_none() || control.checkpoint().await.is_err() {
                control.set_state(JobState::Cancelled);
                return;
            }
            control.set_state(JobState::Running);
            let state = loop {
                match job.step(&control).await {
                    Ok(Step::More) => {
                        control.set_last_error(None);
                        if control.checkpoint().await.is_err() {
                            break JobState::Cancelled;
                        }
                    }
                    Ok(Step::Wait) => {
                        control.set_last_error(None);
                        break JobState::Waiting;
                    }
                    Err(Error::Cancelled) => break JobState::Cancelled,
                    Err(error) => {
                        tracing::warn!(job = job.name(), error = %Chain(&error), "a job's step failed, it is tried again");
                        control.set_last_error(Some(Chain(&error).to_string()));
                        break JobState::Failed;
                    }
                }
            };
            control.set_state(state);
            if state == JobState::Cancelled {
                return;
            }
            if state == JobState::Failed {
                cancel.run_until_cancelled(tokio::time::sleep(RETRY_AFTER)).await;
            }
        }
    }

    fn set_next(&self, control: &JobControl, job: &impl Job) {
        control.set_next(job.wait_max().and_then(|wait| self.clock.now().checked_add(wait).ok()));
    }

    /// Runs work as [`Scheduler::run`] does; the job is cancelled at its next checkpoint when the call is dropped.
    pub(crate) async fn run_while_awaited<T, E, W>(
        &self,
        names: (&str, &str),
        progress: Progress,
        work: impl FnOnce(JobControl) -> W,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + std::fmt::Display + 'static,
        W: Future<Output = Result<T, E>> + Send + 'static,
    {
        let mut dropped = None;
        let cancelled = &mut dropped;
        let run = self.run(names, progress, move |control| {
            *cancelled = Some(control.cancel().clone().drop_guard());
            work(control)
        });
        let result = run.await;
        if let Some(guard) = dropped {
            drop(guard.disarm());
        }
        result
    }

    /// Runs work once, as a job that is shown, paused and cancelled like the others, and returns its result. The work goes
    /// on when the call is dropped.
    pub(crate) async fn run<T, E, W>(
        &self,
        (name, unit): (&str, &str),
        progress: Progress,
        work: impl FnOnce(JobControl) -> W,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + std::fmt::Display + 'static,
        W: Future<Output = Result<T, E>> + Send + 'static,
    {
        let control = JobControl::new(name, unit, progress, self.tasks.cancel().child_token());
        self.enter(&control, false);
        control.set_state(JobState::Running);
        let (work, ending) = (work(control.clone()), control.clone());
        let ended = self.tasks.finish(async move {
            let result = work.await;
            match &result {
                Ok(_) => ending.set_state(JobState::Done),
                Err(_) if ending.is_cancelled() => ending.set_state(JobState::Cancelled),
                Err(error) => {
                    ending.set_last_error(Some(format!("{error:#}")));
                    ending.set_state(JobState::Failed)
                }
            };
            result
        });
        match ended.await {
            Ok(result) => result,
            Err(error) => {
                // It panicked, or the archive stops.
                control.set_last_error(Some(error.to_string()));
                control.set_state(JobState::Failed);
                Err(E::from(error))
            }
        }
    }

    /// Returns how each job is: background jobs, jobs that run, and the last run of those that ended.
    pub(crate) fn statuses(&self) -> Vec<JobStatus> {
        self.entries().iter().map(|entry| entry.control.status()).collect()
    }

    /// Changes the orders of the jobs of a name. Returns when they are durable, for background jobs.
    async fn order(&self, name: &str, change: impl Fn(&mut Orders)) -> Result<(), Error> {
        let named: Vec<(JobControl, bool)> = {
            let entries = self.entries();
            let named = entries.iter().filter(|entry| entry.control.status().name == name);
            named.map(|entry| (entry.control.clone(), entry.is_background)).collect()
        };
        if named.is_empty() {
            return Err(Error::NotFound { what: "job" });
        }
        for (control, is_background) in named {
            let mut orders = control.orders();
            change(&mut orders);
            if is_background {
                self.keep_orders(name, orders).await?;
            }
            control.order(orders);
        }
        Ok(())
    }

    /// Pauses the jobs of a name: they stop at their next checkpoint. Background jobs stay paused over a restart.
    pub(crate) async fn pause(&self, name: &str) -> Result<(), Error> {
        self.order(name, |orders| orders.paused = true).await
    }

    /// Resumes the jobs of a name.
    pub(crate) async fn resume(&self, name: &str) -> Result<(), Error> {
        self.order(name, |orders| orders.paused = false).await
    }

    /// Lets the jobs of a name work for this percentage of the time, 1 to 100.
    pub(crate) async fn throttle(&self, name: &str, percent: u8) -> Result<(), Error> {
        self.order(name, |orders| orders.throttle_percent = percent.clamp(1, 100)).await
    }

    /// Cancels the jobs of a name that run once. A background job cannot be cancelled: pause it.
    pub(crate) fn cancel(&self, name: &str) -> Result<(), Error> {
        let entries = self.entries();
        let mut named = entries.iter().filter(|entry| entry.control.status().name == name && !entry.is_background);
        let first = named.next().ok_or(Error::NotFound { what: "job that runs once" })?;
        first.control.cancel().cancel();
        named.for_each(|entry| entry.control.cancel().cancel());
        Ok(())
    }

    async fn keep_orders(&self, name: &str, orders: Orders) -> Result<(), Error> {
        let kept = Kept { paused: orders.paused, throttle_percent: orders.throttle_percent };
        let state = serde_json::to_string(&kept).expect("a flag and a number are always JSON");
        Ok(self.link.get()?.put_job(name, &state, self.clock.now().as_millisecond()).await?)
    }

    /// Restores what was ordered before a restart, once the index answers.
    async fn restore_orders(&self, control: &JobControl) {
        let name = control.status().name;
        let kept = match self.link.wait().await.job(&name).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(job = name, error = %Chain(&error), "whether the job is paused cannot be read: it runs");
                return;
            }
        };
        if let Some(kept) = kept.and_then(|(state, _)| serde_json::from_str::<Kept>(&state).ok()) {
            control.order(Orders { paused: kept.paused, throttle_percent: kept.throttle_percent });
        }
    }

    /// Brings the metrics of jobs up to date.
    pub(crate) fn refresh_metrics(&self) {
        for status in self.statuses() {
            self.metrics.job(&status.name, "running", u64::from(status.state == JobState::Running));
            self.metrics.job(&status.name, "paused", u64::from(status.state == JobState::Paused));
            self.metrics.job(&status.name, "failed", u64::from(status.last_error.is_some()));
            self.metrics.job(&status.name, "done", status.done);
            self.metrics.job(&status.name, "total", status.total);
        }
    }
}
