//! The durable position: the end of the last record that every healthy copy has flushed.

use tokio::sync::watch;

use crate::record::Lsn;

/// The end of the last durable record; 0 if there is none.
#[derive(Debug)]
pub(crate) struct DurableEnd(watch::Sender<Lsn>);

impl DurableEnd {
    pub(crate) fn new(at: Lsn) -> Self {
        Self(watch::Sender::new(at))
    }

    pub(crate) fn get(&self) -> Lsn {
        *self.0.borrow()
    }

    /// Returns a receiver that is told each new position.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Lsn> {
        self.0.subscribe()
    }

    /// Tells a new position to those that wait for it.
    pub(crate) fn publish(&self, at: Lsn) {
        self.0.send_replace(at);
    }
}
