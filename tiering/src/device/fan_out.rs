//! A fan-out: one question to several devices. The asker takes answers as they come, for as long as it likes.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use super::io_threads::Heartbeat;
use super::{Device, GRACE};
use crate::surroundings::Clock;

/// Calls that were made and have not answered yet. Dropping it gives up those that have not begun.
#[derive(Debug)]
pub(crate) struct FanOut<K, T> {
    clock: Arc<dyn Clock>,
    sender: mpsc::Sender<(K, T)>,
    receiver: mpsc::Receiver<(K, T)>,
    pending: Vec<Pending<K>>,
}

#[derive(Debug)]
struct Pending<K> {
    name: K,
    device: Arc<Device>,
    heartbeat: Arc<Heartbeat>,
}

impl<K: Copy + PartialEq + Send + 'static, T: Send + 'static> FanOut<K, T> {
    /// Creates an empty fan-out.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { clock, sender, receiver, pending: Vec::new() }
    }

    /// Asks a device something; the answer carries this name. `false` if the call cannot even be queued.
    pub(crate) fn ask(
        &mut self,
        name: K,
        device: &Arc<Device>,
        work: impl FnOnce(&Heartbeat) -> T + Send + 'static,
    ) -> bool {
        let started = device.start_read(self.sender.clone(), move |heartbeat| (name, work(heartbeat)));
        let Ok(heartbeat) = started else { return false };
        self.pending.push(Pending { name, device: Arc::clone(device), heartbeat });
        true
    }

    /// Returns the next answer; none shortly after the time is up, or once every device has answered.
    pub(crate) fn next(&mut self, until: Instant) -> Option<(K, T)> {
        if self.pending.is_empty() {
            return None;
        }
        let wait = until.saturating_duration_since(self.clock.now()).max(GRACE);
        let (name, answer) = self.receiver.recv_timeout(wait).ok()?;
        self.pending.retain(|pending| pending.name != name);
        Some((name, answer))
    }

    /// Returns how many devices have not answered yet.
    pub(crate) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Returns whether the answer of this name is still to come.
    pub(crate) fn waits_for(&self, name: K) -> bool {
        self.pending.iter().any(|pending| pending.name == name)
    }

    /// Counts a hedge for each device that has not answered.
    pub(crate) fn note_hedge(&self) {
        self.pending.iter().for_each(|pending| pending.device.note_hedge());
    }

    /// Takes devices out of use that have left a step unanswered for too long.
    pub(crate) fn note_silence(&self) {
        for pending in &self.pending {
            pending.device.note_silence();
        }
    }
}

impl<K, T> Drop for FanOut<K, T> {
    fn drop(&mut self) {
        self.pending.iter().for_each(|pending| pending.heartbeat.abandon());
    }
}
