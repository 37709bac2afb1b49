//! The double itself, and what a test sets and sees of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_data::Attributes;
use dicom_data::query::{Level, Query};

use super::filing::{Fault, Identify, Keeping};
use super::instance::{Instance, Reading};
use crate::{Caller, Error, InstanceRef, Metrics, Origin, Services};

/// The archive in memory. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Double {
    metrics: Metrics,
    state: Arc<Mutex<State>>,
    /// Where the last instance was found; the next one usually follows it.
    found_at: Arc<AtomicUsize>,
}

/// What the double has, what it does, and which calls came.
#[derive(Debug, Default)]
pub struct State {
    /// The instances, in order.
    pub instances: Vec<Instance>,
    /// What a search finds; `None` finds what the instances have.
    pub matches: Option<Vec<Attributes>>,
    /// Attributes of every match that is made of the instances.
    pub match_attributes: Attributes,
    /// Searches repeat their matches for ever.
    pub endless_search: bool,
    /// Only a search can tell how many matches there are.
    pub uncounted: bool,
    /// What is not there was deleted.
    pub deleted: bool,
    /// How long it takes to open each instance of several.
    pub open_delay: Duration,
    /// What goes wrong with the instances that are stored.
    pub fault: Fault,
    /// How the UIDs of a data set are found.
    pub identify: Identify,
    /// Whether stored instances are kept.
    pub keeping: Keeping,
    /// The calls of `receive`, in order.
    pub received: Vec<(Caller, Origin)>,
    /// The instances that were stored, duplicates included, in the order in which they were filed.
    pub stored: Vec<(Origin, Bytes)>,
    /// The searches, in order.
    pub queries: Vec<Query>,
    /// How many frames each call asked for.
    pub frame_calls: Vec<usize>,
    /// Instances that are being filed now.
    pub filing: usize,
    /// Most instances that were being filed at a time.
    pub filing_max: usize,
}

impl Double {
    /// Makes a double with this state.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), ..Self::default() }
    }

    /// Makes a double with these instances.
    #[must_use]
    pub fn with(instances: Vec<Instance>) -> Self {
        Self::new(State { instances, ..State::default() })
    }

    /// Returns the state, to look at and to change. No call is served while the guard lives.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the data set of an instance.
    #[must_use]
    pub fn data_set(&self, sop_instance_uid: &str) -> Option<Bytes> {
        self.state().instance(sop_instance_uid).map(|found| found.data_set.clone())
    }

    /// From now on this instance is read so.
    ///
    /// # Panics
    ///
    /// When there is no such instance.
    pub fn read_as(&self, sop_instance_uid: &str, reading: Reading) {
        let mut state = self.state();
        let found = state.instances.iter_mut().find(|one| one.is(sop_instance_uid));
        found.expect("the test names an instance that is there").reading = reading;
    }

    /// Does something with an instance; `NotFound` when it is not there.
    pub(super) fn with_instance<T>(
        &self,
        instance: &InstanceRef,
        read: impl FnOnce(&Instance) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let state = self.state();
        let all = || state.instances.iter().enumerate();
        let likely = all().skip(self.found_at.load(Ordering::Relaxed)).take(2).chain(all());
        let found = likely.into_iter().find(|(_, one)| one.instance.sop_instance_uid == instance.sop_instance_uid);
        let (at, found) = found.ok_or(Error::NotFound { what: "instance" })?;
        self.found_at.store(at, Ordering::Relaxed);
        read(found)
    }
}

impl State {
    pub(super) fn instance(&self, sop_instance_uid: &str) -> Option<&Instance> {
        self.instances.iter().find(|one| one.is(sop_instance_uid))
    }

    pub(super) fn matches(&self, level: Level) -> Vec<Attributes> {
        if let Some(matches) = &self.matches {
            return matches.clone();
        }
        let mut seen = BTreeSet::new();
        let new = self.instances.iter().filter(|one| seen.insert(one.unit(level)));
        let of = |one: &Instance| {
            let InstanceRef { study_instance_uid, series_instance_uid, sop_instance_uid, .. } = &one.instance;
            let mut found = self.match_attributes.clone();
            found.put_text(Tag(0x0020, 0x000D), VR::UI, study_instance_uid.as_str());
            found.put_text(Tag(0x0020, 0x000E), VR::UI, series_instance_uid.as_str());
            found.put_text(Tag(0x0008, 0x0018), VR::UI, sop_instance_uid.as_str());
            found
        };
        new.map(of).collect()
    }
}

impl Services for Double {
    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
