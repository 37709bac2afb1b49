//! What the services and jobs of an archive ask of its index, whichever keeps it: Postgres, or memory in a simulation.
//!
//! Each call answers a boxed future, so that the trait serves as `dyn ArchiveIndex`. The box is nothing beside a round
//! trip to Postgres.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use dicom_data::Uid;
use dicom_data::query::Query;
use futures_core::future::BoxFuture;
use journal::Lsn;
use uuid::Uuid;

use crate::arrival::{Applied, Arrival};
use crate::containers::{Container, Counts};
use crate::error::Error;
use crate::matches::Matches;
use crate::new_container::NewContainer;
use crate::pack::{PackStudy, UnsealedRow};
use crate::places::{Located, Selector};
use crate::segment::Segment;
use crate::tombstone::Tombstone;

/// What a call answers when it is done.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// A batch of instances that is applied and not yet committed. Dropping it undoes it.
pub trait PreparedBatch: Debug + Send {
    /// Returns what the commit makes of each arrival, in order.
    fn outcomes(&self) -> &[Applied];

    /// Makes the batch durable. An error leaves open whether it was committed.
    fn commit(self: Box<Self>) -> Answer<'static, Vec<Applied>>;
}

/// The index as the archive uses it. Whoever implements it owes the following.
///
/// A call that changes something is all or nothing, and durable when it returns `Ok`. Any call may answer `Error::Away`;
/// then the same call may succeed later, and a change may or may not have happened. Dropping a future stops the call,
/// which has the same effect. Repeating a change has no further effect. Readers see every instance at least once while it
/// moves from unsealed to sealed.
pub trait ArchiveIndex: Debug + Send + Sync {
    /// Tells whether the index answers now.
    fn answers(&self) -> BoxFuture<'_, bool>;

    /// Returns the position up to which a journal is applied.
    fn applied(&self, journal: Uuid) -> Answer<'_, Option<Lsn>>;

    /// Applies a batch up to the commit, the journal's position included. Until the batch is committed or dropped, other
    /// writers of its studies wait.
    fn prepare<'a>(&'a self, journal: Uuid, arrivals: &'a [Arrival], end: Lsn) -> Answer<'a, Box<dyn PreparedBatch>>;

    /// Returns the instances of a selection, ordered by study, series number, series UID, instance number and SOP
    /// Instance UID (WE-087). A selector without any restriction selects nothing.
    fn locate<'a>(&'a self, selector: &'a Selector) -> Answer<'a, Vec<Located>>;

    /// Returns the segments of a series, oldest first; of every study that has a series with this UID.
    fn series_segments<'a>(&'a self, series_instance_uid: &'a Uid) -> Answer<'a, Vec<Arc<Segment>>>;

    /// Returns one segment; `NotFound` when it was deleted or rewritten: locate the instance again.
    fn segment(&self, id: i64) -> Answer<'_, Arc<Segment>>;

    /// Records a sealed container: its instances are no longer unsealed.
    fn seal<'a>(&'a self, container: &'a NewContainer) -> Answer<'a, ()>;

    /// Takes a container over from its own table of contents. Rows that are missing are made. Instances that are deleted,
    /// or known from another container, are not served from it. Unsealed rows of its instances go.
    fn adopt<'a>(&'a self, container: &'a NewContainer) -> Answer<'a, ()>;

    /// Returns the studies with unsealed instances none of which came in these milliseconds, the one that waits longest
    /// first.
    fn quiet_studies(&self, busy_millis: RangeInclusive<i64>) -> Answer<'_, Vec<PackStudy>>;

    /// Returns the first unsealed instances of studies in the order given, each study's by series number and UID, instance
    /// number and SOP Instance UID; not those in `left_out`, and at most `instances_max`.
    fn unsealed_instances<'a>(
        &'a self,
        studies: &'a [Uid],
        left_out: &'a [Lsn],
        instances_max: usize,
    ) -> Answer<'a, Vec<UnsealedRow>>;

    /// Returns unsealed instances as they lie in their journals, behind one of them or from the first: at most
    /// `instances_max`.
    fn unsealed_in_order<'a>(
        &'a self,
        behind: Option<&'a UnsealedRow>,
        instances_max: usize,
    ) -> Answer<'a, Vec<UnsealedRow>>;

    /// Returns the positions of all journal records that are not yet sealed, in any order.
    fn unsealed_lsns(&self, journal: Uuid) -> Answer<'_, Vec<u64>>;

    /// Returns the numbers of the journal's segments (position / `segment_bytes`) in which unsealed instances begin.
    fn journal_segments_in_use(&self, journal: Uuid, segment_bytes: u64) -> Answer<'_, BTreeSet<u64>>;

    /// Returns for each series, named by Study and Series Instance UID, what its rows are made from again:
    /// `{"patient": {..}, "study": {..}, "series": {..}}`, DICOM JSON objects. `NotFound` when one of them is not there.
    fn series_summaries<'a>(&'a self, series: &'a [(Uid, Uid)]) -> Answer<'a, Vec<Bytes>>;

    /// Deletes and remembers; tells whether anything was there. The bytes stay until their container is rewritten.
    fn add_tombstone<'a>(&'a self, tombstone: &'a Tombstone) -> Answer<'a, bool>;

    /// Returns all deletions, the oldest first.
    fn tombstones(&self) -> Answer<'_, Vec<Tombstone>>;

    /// Tells whether something of the selection was deleted. A patient alone is never known to be.
    fn was_deleted<'a>(&'a self, selector: &'a Selector) -> Answer<'a, bool>;

    /// Returns all containers in the order in which they were recorded.
    fn containers(&self) -> Answer<'_, Vec<Container>>;

    /// Counts everything.
    fn counts(&self) -> Answer<'_, Counts>;

    /// Names what contradicts itself: series whose kept counts differ from their rows and manifests.
    fn contradictions(&self) -> Answer<'_, Vec<String>>;

    /// Searches; matches are read as they are asked for.
    fn search<'a>(&'a self, query: &'a Query) -> Answer<'a, Matches>;

    /// Returns the number of matches after the query's offset, or `at_most` if there are more. `None` when only the search
    /// itself can tell.
    fn count<'a>(&'a self, query: &'a Query, at_most: u64) -> Answer<'a, Option<u64>>;

    /// Makes the planner's statistics fresh when a tenth of a table changed since they were made; tells whether it did.
    fn analyze_if_grown(&self) -> Answer<'_, bool>;

    /// Stores the state of a job; replaces the state before.
    fn put_job<'a>(&'a self, name: &'a str, state: &'a str, changed_millis: i64) -> Answer<'a, ()>;

    /// Returns the stored state of a job and when it was stored, in milliseconds since 1970.
    fn job<'a>(&'a self, name: &'a str) -> Answer<'a, Option<(String, i64)>>;

    /// Forgets everything but the states of jobs, tombstones included, before a rebuild.
    fn clear(&self) -> Answer<'_, ()>;

    /// Ends all connections.
    fn close(&self) -> BoxFuture<'_, ()>;
}
