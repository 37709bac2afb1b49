//! What everything that is done with a device passes, so that slow, hung and failing devices can be put to the test.

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

/// Comes before each step, on the thread that will take it: the device takes as much longer as this waits, and an error
/// counts as the step's own.
pub trait FaultPoint: Debug + Send + Sync {
    /// Returns when the step may be taken; `device` is its path, or `memory://NAME`.
    fn pass(&self, device: &Path, step: Step) -> io::Result<()>;
}

/// Lets every step pass at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

impl FaultPoint for NoFaults {
    fn pass(&self, _device: &Path, _step: Step) -> io::Result<()> {
        Ok(())
    }
}
