//! What is known of a job, and how it is told to pause, to slow down and to stop.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use crate::Error;

/// Time over which the rate is taken.
const RATE_WINDOW: Duration = Duration::from_secs(30);

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for something to do.
    Waiting,
    /// It works.
    Running,
    /// It was paused and does nothing until it is resumed.
    Paused,
    /// Its last step failed; it tries again.
    Failed,
    /// It is done and will not run again.
    Done,
    /// It was cancelled.
    Cancelled,
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        })
    }
}

/// How a job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: JobState,
    /// How much is done of the present run.
    pub done: u64,
    /// How much the present run has; 0 while that is not known.
    pub total: u64,
    /// What is counted.
    pub unit: String,
    /// Done per second over the last half minute.
    pub rate: f64,
    /// Percent of the time that it may work; 100 is no throttle.
    pub throttle_percent: u8,
    /// When it looks for work next (RFC 3339); `None` while it works, is paused or has ended, and for a job that waits for an
    /// event.
    pub next: Option<String>,
    /// Why its last step failed, with its causes; `None` after one that succeeded.
    pub last_error: Option<String>,
}

/// What a job is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orders {
    pub(super) paused: bool,
    /// 1 to 100.
    pub(super) throttle_percent: u8,
}

impl Default for Orders {
    fn default() -> Self {
        Self { paused: false, throttle_percent: 100 }
    }
}

/// The scheduler's side and the job's side of one job. Cheap to clone; clones are of the same job.
#[derive(Debug, Clone)]
pub struct JobControl {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    orders: watch::Sender<Orders>,
    cancel: CancellationToken,
    state: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    status: JobStatus,
    /// Silent as soon as the job has ended: its listener waits until the last one that may report is gone.
    progress: Progress,
    /// When the window of the rate began, and what was done then.
    rate_since: (Instant, u64),
    /// When the job was last let go on by `checkpoint`: what it worked since is throttled.
    worked_since: Instant,
}

impl JobControl {
    pub(super) fn new(name: &str, unit: &str, progress: Progress, cancel: CancellationToken) -> Self {
        let status = JobStatus {
            name: name.to_owned(),
            state: JobState::Waiting,
            done: 0,
            total: 0,
            unit: unit.to_owned(),
            rate: 0.0,
            throttle_percent: 100,
            next: None,
            last_error: None,
        };
        let now = Instant::now();
        let state = Mutex::new(Known { status, progress, rate_since: (now, 0), worked_since: now });
        Self { shared: Arc::new(Shared { orders: watch::Sender::default(), cancel, state }) }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how the job is.
    pub fn status(&self) -> JobStatus {
        let mut status = self.known().status.clone();
        if status.state == JobState::Waiting && self.is_paused() {
            (status.state, status.next) = (JobState::Paused, None);
        }
        status
    }

    /// Says how far the present run is, in the job's own unit.
    pub fn report(&self, done: u64, total: u64) {
        let progress = {
            let mut known = self.known();
            (known.status.done, known.status.total) = (done, total);
            let (since, before) = known.rate_since;
            let elapsed = since.elapsed();
            if done < before || elapsed >= RATE_WINDOW {
                known.rate_since = (Instant::now(), done);
            }
            if done > before && !elapsed.is_zero() {
                known.status.rate = per_second(done - before, elapsed);
            }
            known.progress.clone()
        };
        progress.report(done, total);
    }

    /// Waits while the job is paused, and as long as its throttle says. Call it between pieces of work; work goes on when
    /// it returns, and ends when it fails because the job was cancelled or the archive stops. Cancel safe.
    pub async fn checkpoint(&self) -> Result<(), Error> {
        let cancelled = || Error::Cancelled;
        let worked = self.known().worked_since.elapsed();
        let orders = *self.shared.orders.borrow();
        let cancel = &self.shared.cancel;
        cancel.run_until_cancelled(tokio::time::sleep(idle_for(worked, orders))).await.ok_or_else(cancelled)?;
        if self.is_paused() {
            let before = self.set_state(JobState::Paused);
            cancel.run_until_cancelled(self.until_resumed()).await.ok_or_else(cancelled)?;
            self.set_state(before);
        }
        if cancel.is_cancelled() {
            return Err(cancelled());
        }
        self.known().worked_since = Instant::now();
        Ok(())
    }

    /// Tells whether the job was cancelled or the archive stops.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancel.is_cancelled()
    }

    /// Returns the token that cancels the job.
    pub(super) fn cancel(&self) -> &CancellationToken {
        &self.shared.cancel
    }

    pub(super) fn is_paused(&self) -> bool {
        self.shared.orders.borrow().paused
    }

    pub(super) fn orders(&self) -> Orders {
        *self.shared.orders.borrow()
    }

    /// Gives orders; a job that waits or is paused hears them at once.
    pub(super) fn order(&self, orders: Orders) {
        self.known().status.throttle_percent = orders.throttle_percent;
        self.shared.orders.send_replace(orders);
    }

    /// Waits until the job is not paused.
    pub(super) async fn until_resumed(&self) {
        let mut orders = self.shared.orders.subscribe();
        if orders.wait_for(|orders| !orders.paused).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Sets the state; returns the one before.
    pub(super) fn set_state(&self, state: JobState) -> JobState {
        let mut known = self.known();
        if state == JobState::Running && known.status.state == JobState::Waiting {
            known.status.rate = 0.0;
            known.rate_since = (Instant::now(), known.status.done);
        }
        if state == JobState::Running {
            known.worked_since = Instant::now();
            known.status.next = None;
        }
        if matches!(state, JobState::Done | JobState::Cancelled | JobState::Failed) {
            known.progress = Progress::silent();
        }
        std::mem::replace(&mut known.status.state, state)
    }

    pub(super) fn set_next(&self, next: Option<Timestamp>) {
        self.known().status.next = next.map(|next| next.to_string());
    }

    /// Notes how the last step ended.
    pub(super) fn set_last_error(&self, error: Option<String>) {
        self.known().status.last_error = error;
    }
}

fn per_second(done: u64, elapsed: Duration) -> f64 {
    let millis = u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX).max(1);
    let done = u32::try_from(done).unwrap_or(u32::MAX);
    f64::from(done) * 1000.0 / f64::from(millis)
}

/// Returns how long a job rests after it worked, so that it works for its share of the time.
fn idle_for(worked: Duration, orders: Orders) -> Duration {
    let percent = u32::from(orders.throttle_percent.clamp(1, 100));
    worked * (100 - percent) / percent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> JobControl {
        JobControl::new("pack", "instances", Progress::silent(), CancellationToken::new())
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_job_goes_on_when_it_is_resumed() {
        let control = control();
        control.set_state(JobState::Running);
        control.order(Orders { paused: true, ..Orders::default() });
        let waiting = control.clone();
        let job = tokio::spawn(async move { waiting.checkpoint().await });
        while control.status().state != JobState::Paused {
            tokio::task::yield_now().await;
        }
        assert!(!job.is_finished());
        control.order(Orders::default());
        job.await.unwrap().unwrap();
        assert_eq!(control.status().state, JobState::Running);
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_job_can_be_cancelled() {
        let control = control();
        control.order(Orders { paused: true, ..Orders::default() });
        let waiting = control.clone();
        let job = tokio::spawn(async move { waiting.checkpoint().await });
        tokio::task::yield_now().await;
        control.cancel().cancel();
        assert!(matches!(job.await.unwrap(), Err(Error::Cancelled)));
    }

    #[test]
    fn a_job_that_ended_lets_go_of_its_listener() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let progress = Progress::new(move |done, _| sender.send(done).unwrap());
        let control = JobControl::new("pack", "instances", progress, CancellationToken::new());
        control.report(1, 2);
        control.set_state(JobState::Done);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_throttled_job_rests_for_the_rest_of_the_time() {
        let worked = Duration::from_millis(300);
        let idle = |throttle_percent| idle_for(worked, Orders { paused: false, throttle_percent });
        assert_eq!(idle(100), Duration::ZERO);
        assert_eq!(idle(50), worked);
        assert_eq!(idle(25), worked * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_what_was_done_in_the_present_run() {
        let control = control();
        control.set_state(JobState::Running);
        tokio::time::advance(Duration::from_secs(2)).await;
        control.report(10, 100);
        let status = control.status();
        assert_eq!((status.done, status.total), (10, 100));
        assert!((status.rate - 5.0).abs() < 0.01, "{}", status.rate);
    }
}
