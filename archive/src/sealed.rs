//! The sealed parts of the series that are being received or read: found without asking Postgres.
//!
//! A new series costs one question, not one for each instance. An entry is dropped when its series changes.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tiering::{ContainerId, Extent};
use tokio::time::Instant;

use crate::Error;
use crate::archive::Inner;
use dicom_data::Uid;
use index::InstanceRef;
use index::Segment;

/// Series remembered. The manifests themselves are shared with the index's cache, which bounds their memory.
const SERIES_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("it is not zero");
/// How long senders do not ask an index that did not answer one of them: ingest does not wait for Postgres.
const REST: Duration = Duration::from_secs(3);

/// Segments by Series Instance UID; no segments is an answer too.
#[derive(Debug)]
pub(crate) struct SealedSeries {
    known: Mutex<Known>,
    /// Until when senders do not ask, because the index did not answer.
    rests_until: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Known {
    segments: LruCache<Uid, Vec<Arc<Segment>>>,
    /// How often something changed: tells an answer that was on its way meanwhile.
    changes: u64,
}

impl SealedSeries {
    pub(crate) fn new() -> Self {
        let known = Known { segments: LruCache::new(SERIES_MAX), changes: 0 };
        Self { known: Mutex::new(known), rests_until: Mutex::default() }
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

    /// Tells whether the index would have to be asked about a series.
    pub(crate) fn must_ask(&self, series: &Uid) -> bool {
        !self.lock().segments.contains(series)
    }

    /// Lets senders go on without an answer for a while.
    pub(crate) fn rest(&self) {
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
    }

    /// Tells whether the index did not answer a short time ago.
    pub(crate) fn rests(&self) -> bool {
        let until = *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    async fn segments(&self, archive: &Inner, series: &Uid) -> Result<Vec<Arc<Segment>>, Error> {
        let asked_at = {
            let mut known = self.lock();
            if let Some(segments) = known.segments.get(series) {
                return Ok(segments.clone());
            }
            known.changes
        };
        let index = archive.link.get()?;
        let segments = Box::pin(index.series_segments(series)).await?;
        let mut known = self.lock();
        // An answer from before a change is used this once and not kept.
        if known.changes == asked_at {
            known.segments.put(series.clone(), segments.clone());
        }
        Ok(segments)
    }
}

impl Inner {
    /// Returns where the ready-made metadata of a series segment lies.
    pub(crate) async fn metadata_extent(&self, series: &Uid, segment: i64) -> Result<(ContainerId, Extent), Error> {
        let known = self.sealed_series.segments(self, series).await?;
        let found = match known.into_iter().find(|known| known.id == segment) {
            Some(known) => known,
            None => self.link.get()?.segment(segment).await?,
        };
        Ok((found.container, found.metadata))
    }

    /// Returns the sealed instance with these UIDs.
    pub(crate) async fn sealed_instance(
        &self,
        study: &Uid,
        series: &Uid,
        instance: &Uid,
    ) -> Result<Option<InstanceRef>, Error> {
        for segment in self.sealed_series.segments(self, series).await? {
            if segment.study == *study
                && let Some(found) = index::sealed(&segment, instance)?
            {
                return Ok(Some(found.instance));
            }
        }
        Ok(None)
    }
}
