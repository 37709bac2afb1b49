//! The time, passed in so that tests can hold it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Tells the time of day in whole milliseconds; tests set it by hand.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    set_millis: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// Returns the machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// Returns a clock that stands still at `start` until it is moved.
    pub fn manual(start: Timestamp) -> Self {
        Self { set_millis: Some(Arc::new(AtomicI64::new(start.as_millisecond()))) }
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        match &self.set_millis {
            Some(millis) => Timestamp::from_millisecond(millis.load(Ordering::Relaxed)).unwrap_or(Timestamp::MAX),
            None => Timestamp::now(),
        }
    }

    /// Moves a manual clock on by `millis`; the machine's clock stays as it is.
    pub fn advance_millis(&self, millis: i64) {
        if let Some(set) = &self.set_millis {
            set.fetch_add(millis, Ordering::Relaxed);
        }
    }
}
