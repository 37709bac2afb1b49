//! The set of unsealed instances: which ones the journal holds, so that a resent one is known without asking Postgres.
//!
//! One entry per unsealed instance, some 50 bytes each: a journal of 16 GiB of 60 KB slices is 280,000 entries, 14 MB.
//! Two associations that store the same instance at once meet here: one reserves, the other waits for its outcome.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use dicom_data::Uid;
use journal::RecordRef;

/// 128 bits of two independently keyed hashes: at 10^9 entries a collision has a chance of 10^-21.
type Key = (u64, u64);

/// What is known of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    /// Another sender is writing it now.
    Pending,
    /// It lies in the journal.
    Stored(RecordRef),
}

/// The set of unsealed instances.
#[derive(Debug)]
pub(crate) struct UnsealedSet {
    hashers: (RandomState, RandomState),
    entries: Mutex<HashMap<Key, Known>>,
    changed: Notify,
}

/// The right to store one instance. Dropped without `confirm`, it lets the next one try.
#[derive(Debug)]
pub(crate) struct Reservation {
    set: Arc<UnsealedSet>,
    key: Key,
    confirmed: bool,
}

/// What came of trying to reserve.
#[derive(Debug)]
pub(crate) enum Reserved {
    /// It is not there: store it.
    New(Reservation),
    /// It lies in the journal already.
    Stored(RecordRef),
}

impl UnsealedSet {
    pub(crate) fn new() -> Self {
        Self { hashers: (RandomState::new(), RandomState::new()), entries: Mutex::default(), changed: Notify::new() }
    }

    fn key(&self, study: &Uid, series: &Uid, instance: &Uid) -> Key {
        let uids = (study, series, instance);
        (self.hashers.0.hash_one(uids), self.hashers.1.hash_one(uids))
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Known>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves an instance; waits while another holds the reservation. Cancel safe.
    pub(crate) async fn reserve(self: &Arc<Self>, study: &Uid, series: &Uid, instance: &Uid) -> Reserved {
        let key = self.key(study, series, instance);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Listening starts before looking, so that no change falls between the two.
            changed.as_mut().enable();
            if let Some(reserved) = self.try_reserve(key) {
                return reserved;
            }
            changed.await;
        }
    }

    fn try_reserve(self: &Arc<Self>, key: Key) -> Option<Reserved> {
        let mut entries = self.entries();
        match entries.get(&key) {
            Some(Known::Pending) => None,
            Some(Known::Stored(record)) => Some(Reserved::Stored(record.clone())),
            None => {
                entries.insert(key, Known::Pending);
                Some(Reserved::New(Reservation { set: Arc::clone(self), key, confirmed: false }))
            }
        }
    }

    /// Enters an instance that was found in the journal; the first one found stays.
    pub(crate) fn enter(&self, study: &Uid, series: &Uid, instance: &Uid, record: RecordRef) {
        let key = self.key(study, series, instance);
        self.entries().entry(key).or_insert(Known::Stored(record));
    }

    /// Returns where the journal has an instance.
    pub(crate) fn find(&self, study: &Uid, series: &Uid, instance: &Uid) -> Option<RecordRef> {
        match self.entries().get(&self.key(study, series, instance)) {
            Some(Known::Stored(record)) => Some(record.clone()),
            Some(Known::Pending) | None => None,
        }
    }

    /// Forgets an instance if this record is what is known of it.
    pub(crate) fn forget(&self, study: &Uid, series: &Uid, instance: &Uid, record: &RecordRef) {
        let key = self.key(study, series, instance);
        let mut entries = self.entries();
        if entries.get(&key).is_some_and(|known| matches!(known, Known::Stored(at) if at == record)) {
            entries.remove(&key);
        }
    }

    /// Returns how many instances are known.
    pub(crate) fn len(&self) -> usize {
        self.entries().len()
    }
}

impl Reservation {
    /// Says where the instance now lies.
    pub(crate) fn confirm(mut self, record: RecordRef) {
        self.set.entries().insert(self.key, Known::Stored(record));
        self.confirmed = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.confirmed {
            self.set.entries().remove(&self.key);
        }
        self.set.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::Lsn;

    fn uid(text: &str) -> Uid {
        text.parse().unwrap()
    }

    fn record(lsn: u64) -> RecordRef {
        RecordRef { lsn: Lsn(lsn), head_bytes: 1, payload_bytes: 2, crc32c: 3, large: false }
    }

    #[tokio::test]
    async fn the_second_of_two_waits_for_the_first_and_gets_its_record() {
        // ST-044
        let set = Arc::new(UnsealedSet::new());
        let Reserved::New(first) = set.reserve(&uid("1"), &uid("1.2"), &uid("1.2.3")).await else {
            panic!("nobody else is there");
        };
        let other = Arc::clone(&set);
        let second = tokio::spawn(async move { other.reserve(&uid("1"), &uid("1.2"), &uid("1.2.3")).await });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        first.confirm(record(7));
        assert!(matches!(second.await.unwrap(), Reserved::Stored(r) if r == record(7)));
    }

    #[tokio::test]
    async fn a_reservation_given_up_lets_the_next_one_store() {
        let set = Arc::new(UnsealedSet::new());
        drop(set.reserve(&uid("1"), &uid("1.2"), &uid("1.2.3")).await);
        assert!(matches!(set.reserve(&uid("1"), &uid("1.2"), &uid("1.2.3")).await, Reserved::New(_)));
        assert_eq!(set.len(), 0);
    }

    #[tokio::test]
    async fn the_same_instance_uid_in_another_series_or_study_is_another_instance() {
        // ST-043
        let set = Arc::new(UnsealedSet::new());
        set.enter(&uid("1"), &uid("1.2"), &uid("1.2.3"), record(1));
        assert!(matches!(set.reserve(&uid("1"), &uid("1.3"), &uid("1.2.3")).await, Reserved::New(_)));
        assert!(matches!(set.reserve(&uid("2"), &uid("1.2"), &uid("1.2.3")).await, Reserved::New(_)));
    }
}
