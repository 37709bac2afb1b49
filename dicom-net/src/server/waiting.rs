//! Connections without an association: they have not asked for one yet, or theirs is over and the peer should close.
//!
//! They cost little and are cheap to make, so they are many when somebody means harm or a network is half dead. When
//! their places are taken, the one that has waited longest loses its place, so that silent peers never keep out those
//! that speak. Nobody loses a place before a grace time: a burst of honest peers waits in the kernel's queue instead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The places for connections without an association.
#[derive(Debug, Clone)]
pub(super) struct Waiting(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places_max: usize,
    grace: Duration,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    /// In the order in which they were taken.
    places: BTreeMap<u64, (Instant, CancellationToken)>,
    next: u64,
}

/// One place; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Waiting,
    number: u64,
    lost: CancellationToken,
}

impl Waiting {
    pub(super) fn new(places_max: usize, grace: Duration) -> Self {
        Self(Arc::new(Inner { places_max, grace, taken: Mutex::default(), freed: Notify::new() }))
    }

    /// Waits for a place, for the grace time at most.
    pub(super) async fn place(&self) -> Place {
        loop {
            let freed = self.0.freed.notified();
            match self.try_place() {
                Ok(place) => return place,
                Err(wait) => tokio::select! {
                    () = freed => {}
                    () = tokio::time::sleep(wait) => {}
                },
            }
        }
    }

    /// Takes a place, perhaps that of the one who has waited longest; an error says how long until that can be.
    pub(super) fn try_place(&self) -> Result<Place, Duration> {
        let mut taken = self.taken();
        if taken.places.len() >= self.0.places_max
            && let Some(oldest) = taken.places.first_entry()
        {
            let wait = self.0.grace.saturating_sub(oldest.get().0.elapsed());
            if !wait.is_zero() {
                return Err(wait);
            }
            oldest.remove().1.cancel();
        }
        let (number, lost) = (taken.next, CancellationToken::new());
        taken.next += 1;
        taken.places.insert(number, (Instant::now(), lost.clone()));
        Ok(Place { waiting: self.clone(), number, lost })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Runs this while the place is kept; `None` when it was lost.
    pub(super) async fn keep<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.lost.run_until_cancelled(work).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.taken().places.remove(&self.number);
        self.waiting.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn the_one_that_waited_longest_makes_room() {
        // UL-010, SE-036
        let waiting = Waiting::new(2, Duration::ZERO);
        let (first, second) = (waiting.place().await, waiting.place().await);
        let third = waiting.place().await;
        assert_eq!(first.keep(pending::<()>()).await, None);
        assert_eq!((second.keep(ready(2)).await, third.keep(ready(3)).await), (Some(2), Some(3)));
        drop(first);
        assert_eq!(waiting.taken().places.len(), 2);
        drop((second, third));
        assert!(waiting.taken().places.is_empty());
    }

    #[tokio::test]
    async fn in_the_grace_time_newcomers_wait_for_a_free_place() {
        let waiting = Waiting::new(1, Duration::from_hours(1));
        let first = waiting.place().await;
        assert!(waiting.try_place().is_err());
        let next = waiting.place();
        let (_second, kept) = tokio::join!(next, async {
            let kept = first.keep(ready(1)).await;
            drop(first);
            kept
        });
        assert_eq!(kept, Some(1));
    }
}
