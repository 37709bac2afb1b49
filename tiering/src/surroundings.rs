//! What the store takes from the machine besides its media, passed in so that a simulation can hold it: time and new names.

use std::fmt::Debug;
use std::time::Instant;

use crate::{ContainerId, DeviceId};

/// Tells the time that deadlines and the health of devices are measured with.
pub trait Clock: Debug + Send + Sync {
    /// Returns the time now; never less than before.
    fn now(&self) -> Instant;
}

/// Gives names to new containers and devices.
pub trait Ids: Debug + Send + Sync {
    /// Returns a name that no other container has; later ones sort behind.
    fn container(&self) -> ContainerId;
    /// Returns a name that no other device has.
    fn device(&self) -> DeviceId;
}

/// The machine's monotonic clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct MonotonicClock;

impl Clock for MonotonicClock {
    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// UUIDs: version 7 for containers, 4 for devices.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn container(&self) -> ContainerId {
        ContainerId::new()
    }

    fn device(&self) -> DeviceId {
        DeviceId::new()
    }
}
