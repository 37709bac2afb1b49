//! The places where no copy has a readable record.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::record::Lsn;

/// Places that are remembered for the status.
const PLACES_MAX: usize = 1000;

/// Known damage, in the order in which it was found.
#[derive(Debug, Default)]
pub(crate) struct Damage(Mutex<Vec<Lsn>>);

impl Damage {
    /// Remembers and logs a place, once.
    pub(crate) fn report(&self, at: Lsn) {
        let mut places = self.lock();
        if !places.contains(&at) && places.len() < PLACES_MAX {
            places.push(at);
            tracing::error!(lsn = at.0, "journal record damaged on every copy");
        }
    }

    pub(crate) fn places(&self) -> Vec<Lsn> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lsn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
