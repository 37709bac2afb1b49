//! Where everything that is done with a device passes: so that slow, hung and failing devices can be put to the test.

use std::fmt::Debug;
use std::io;
use std::path::Path;

/// What is about to be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Ask how a device or its space is.
    Look,
    /// List a directory.
    List,
    /// Open a shard and read its header and footer.
    Open,
    /// Read from a file.
    Read,
    /// Make a file or directory.
    Create,
    /// Write to a file.
    Write,
    /// Wait until the device has what was written.
    Flush,
    /// Give a file its final name.
    Publish,
    /// Remove a file.
    Remove,
}

/// Comes before each step, on the thread that will take it: what it waits, the device takes longer; its error is the step's.
pub trait Gate: Debug + Send + Sync {
    /// Returns when the step may be taken.
    fn pass(&self, device: &Path, step: Step) -> io::Result<()>;
}

/// Lets everything pass at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn pass(&self, _device: &Path, _step: Step) -> io::Result<()> {
        Ok(())
    }
}
