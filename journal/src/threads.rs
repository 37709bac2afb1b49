//! Threads of the journal: named, and joined.

use std::thread::{self, JoinHandle};

use crate::error::Error;

/// Starts a named thread.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(Error::io("start journal thread", name.as_ref()))
}

/// Waits for the end of a thread and reports its panic.
pub(crate) fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("journal thread panicked");
    }
}
