//! One question to several devices: answers are taken as they come, for as long as the asker likes.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use super::calls::Pulse;
use super::{Device, GRACE};

/// What was asked and not answered yet. Dropping it gives up what has not begun.
#[derive(Debug)]
pub(crate) struct Asked<K, T> {
    sender: mpsc::Sender<(K, T)>,
    receiver: mpsc::Receiver<(K, T)>,
    pending: Vec<Pending<K>>,
}

#[derive(Debug)]
struct Pending<K> {
    name: K,
    device: Arc<Device>,
    pulse: Arc<Pulse>,
}

impl<K: Copy + PartialEq + Send + 'static, T: Send + 'static> Asked<K, T> {
    /// Returns what asks nobody yet.
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver, pending: Vec::new() }
    }

    /// Asks a device something; its answer will have this name. `false` if it cannot even be asked.
    pub(crate) fn ask(
        &mut self,
        name: K,
        device: &Arc<Device>,
        work: impl FnOnce(&Pulse) -> T + Send + 'static,
    ) -> bool {
        let started = device.start_read(self.sender.clone(), move |pulse| (name, work(pulse)));
        let Ok(pulse) = started else { return false };
        self.pending.push(Pending { name, device: Arc::clone(device), pulse });
        true
    }

    /// Returns the next answer; none a moment after the time is up, or once nothing is asked any more.
    pub(crate) fn next(&mut self, until: Instant) -> Option<(K, T)> {
        if self.pending.is_empty() {
            return None;
        }
        let wait = until.saturating_duration_since(Instant::now()).max(GRACE);
        let (name, answer) = self.receiver.recv_timeout(wait).ok()?;
        self.pending.retain(|pending| pending.name != name);
        Some((name, answer))
    }

    /// Returns how many are asked and have not answered.
    pub(crate) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Returns whether something is asked and not answered.
    pub(crate) fn waits_for(&self, name: K) -> bool {
        self.pending.iter().any(|pending| pending.name == name)
    }

    /// Counts that others are asked instead of those who have not answered.
    pub(crate) fn note_hedge(&self) {
        self.pending.iter().for_each(|pending| pending.device.note_hedge());
    }

    /// Takes devices out of use that have not answered for too long.
    pub(crate) fn note_silence(&self) {
        for pending in &self.pending {
            pending.device.note_silence();
        }
    }
}

impl<K, T> Drop for Asked<K, T> {
    fn drop(&mut self) {
        self.pending.iter().for_each(|pending| pending.pulse.abandon());
    }
}
