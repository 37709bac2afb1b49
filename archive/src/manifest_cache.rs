//! The cache of manifests: the sealed parts of the series that are being received or read, found without asking Postgres.
//!
//! A new series costs one question, not one for each instance. An entry is dropped when its series changes.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dicom_data::Uid;
use index::{InstanceRef, Segment};
use lru::LruCache;
use tiering::{ContainerId, Extent};
use tokio::time::{Instant, timeout};

use crate::Error;
use crate::link::IndexLink;

/// Series remembered. The manifests themselves are shared with the index's cache, which bounds their memory.
const SERIES_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not zero");
/// How long senders do not ask an index that did not answer one of them: ingest does not wait for Postgres.
const BACK_OFF: Duration = Duration::from_secs(3);
/// How long a sender waits for the index to say whether an instance is sealed.
const SENDER_WAIT_MAX: Duration = Duration::from_secs(1);

/// Segments by Series Instance UID; no segments is an answer too.
#[derive(Debug)]
pub(crate) struct ManifestCache {
    link: Arc<IndexLink>,
    known: Mutex<Known>,
    /// Until when senders do not ask, because the index did not answer.
    backs_off_until: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Known {
    segments: LruCache<Uid, Vec<Arc<Segment>>>,
    /// How often something changed: tells an answer that was on its way meanwhile.
    changes: u64,
}

impl ManifestCache {
    /// Returns an empty cache in front of the index.
    pub(crate) fn new(link: Arc<IndexLink>) -> Self {
        let known = Known { segments: LruCache::new(SERIES_MAX), changes: 0 };
        Self { link, known: Mutex::new(known), backs_off_until: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what is known of a series: it was sealed further or deleted.
    pub(crate) fn changed(&self, series: &Uid) {
        let mut known = self.lock();
        known.segments.pop(series);
        known.changes += 1;
    }

    /// Drops everything.
    pub(crate) fn all_changed(&self) {
        let mut known = self.lock();
        known.segments.clear();
        known.changes += 1;
    }

    /// Returns the sealed instance with these UIDs for a sender that waits. An index that is away answers "none": the follower
    /// finds the duplicate later and keeps the first.
    pub(crate) async fn find_for_sender(&self, study: &Uid, series: &Uid, instance: &Uid) -> Option<InstanceRef> {
        if !self.lock().segments.contains(series) && self.backs_off() {
            return None;
        }
        let error = match timeout(SENDER_WAIT_MAX, self.find(study, series, instance)).await {
            Ok(Ok(found)) => return found,
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        tracing::debug!(?error, "whether an instance is sealed is not known now");
        *self.backs_off_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + BACK_OFF);
        None
    }

    /// Tells whether the index did not answer a short time ago.
    fn backs_off(&self) -> bool {
        let until = *self.backs_off_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Returns the sealed instance with these UIDs.
    pub(crate) async fn find(&self, study: &Uid, series: &Uid, instance: &Uid) -> Result<Option<InstanceRef>, Error> {
        for segment in self.segments(series).await? {
            if segment.study == *study
                && let Some(found) = segment.locate(instance)?
            {
                return Ok(Some(found.instance));
            }
        }
        Ok(None)
    }

    /// Returns where the ready-made metadata of a series segment lies.
    pub(crate) async fn metadata_extent(&self, series: &Uid, segment: i64) -> Result<(ContainerId, Extent), Error> {
        let known = self.segments(series).await?;
        let found = match known.into_iter().find(|known| known.id == segment) {
            Some(known) => known,
            None => self.link.get()?.segment(segment).await?,
        };
        Ok((found.container, found.metadata))
    }

    async fn segments(&self, series: &Uid) -> Result<Vec<Arc<Segment>>, Error> {
        let asked_at = {
            let mut known = self.lock();
            if let Some(segments) = known.segments.get(series) {
                return Ok(segments.clone());
            }
            known.changes
        };
        let index = self.link.get()?;
        let segments = Box::pin(index.series_segments(series)).await?;
        let mut known = self.lock();
        // An answer from before a change is used this once and not kept.
        if known.changes == asked_at {
            known.segments.put(series.clone(), segments.clone());
        }
        Ok(segments)
    }
}
