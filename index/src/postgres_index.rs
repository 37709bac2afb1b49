//! The index in Postgres as an archive uses it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use dicom_data::Uid;
use dicom_data::query::Query;
use futures_core::future::BoxFuture;
use journal::Lsn;
use uuid::Uuid;

use crate::apply::Prepared;
use crate::archive_index::{Answer, ArchiveIndex, PreparedBatch};
use crate::arrival::{Applied, Arrival};
use crate::connection::Index;
use crate::containers::{Container, Counts};
use crate::matches::Matches;
use crate::new_container::NewContainer;
use crate::pack::{PackStudy, UnsealedRow};
use crate::places::{Located, Selector};
use crate::segment::Segment;
use crate::tombstone::Tombstone;

impl PreparedBatch for Prepared {
    fn outcomes(&self) -> &[Applied] {
        Prepared::outcomes(self)
    }

    fn commit(self: Box<Self>) -> Answer<'static, Vec<Applied>> {
        Box::pin(Prepared::commit(*self))
    }
}

impl ArchiveIndex for Index {
    fn answers(&self) -> BoxFuture<'_, bool> {
        Box::pin(Index::answers(self))
    }

    fn applied(&self, journal: Uuid) -> Answer<'_, Option<Lsn>> {
        Box::pin(Index::applied(self, journal))
    }

    fn prepare<'a>(&'a self, journal: Uuid, arrivals: &'a [Arrival], end: Lsn) -> Answer<'a, Box<dyn PreparedBatch>> {
        Box::pin(async move {
            let prepared: Box<dyn PreparedBatch> = Box::new(Index::prepare(self, journal, arrivals, end).await?);
            Ok(prepared)
        })
    }

    fn locate<'a>(&'a self, selector: &'a Selector) -> Answer<'a, Vec<Located>> {
        Box::pin(Index::locate(self, selector))
    }

    fn series_segments<'a>(&'a self, series_instance_uid: &'a Uid) -> Answer<'a, Vec<Arc<Segment>>> {
        Box::pin(Index::series_segments(self, series_instance_uid))
    }

    fn segment(&self, id: i64) -> Answer<'_, Arc<Segment>> {
        Box::pin(Index::segment(self, id))
    }

    fn seal<'a>(&'a self, container: &'a NewContainer) -> Answer<'a, ()> {
        Box::pin(Index::seal(self, container))
    }

    fn adopt<'a>(&'a self, container: &'a NewContainer) -> Answer<'a, ()> {
        Box::pin(Index::adopt(self, container))
    }

    fn quiet_studies(&self, busy_millis: RangeInclusive<i64>) -> Answer<'_, Vec<PackStudy>> {
        Box::pin(Index::quiet_studies(self, busy_millis))
    }

    fn unsealed_instances<'a>(
        &'a self,
        studies: &'a [Uid],
        left_out: &'a [Lsn],
        instances_max: usize,
    ) -> Answer<'a, Vec<UnsealedRow>> {
        Box::pin(Index::unsealed_instances(self, studies, left_out, instances_max))
    }

    fn unsealed_in_order<'a>(
        &'a self,
        behind: Option<&'a UnsealedRow>,
        instances_max: usize,
    ) -> Answer<'a, Vec<UnsealedRow>> {
        Box::pin(Index::unsealed_in_order(self, behind, instances_max))
    }

    fn unsealed_lsns(&self, journal: Uuid) -> Answer<'_, Vec<u64>> {
        Box::pin(Index::unsealed_lsns(self, journal))
    }

    fn journal_segments_in_use(&self, journal: Uuid, segment_bytes: u64) -> Answer<'_, BTreeSet<u64>> {
        Box::pin(Index::journal_segments_in_use(self, journal, segment_bytes))
    }

    fn series_summaries<'a>(&'a self, series: &'a [(Uid, Uid)]) -> Answer<'a, Vec<Bytes>> {
        Box::pin(Index::series_summaries(self, series))
    }

    fn add_tombstone<'a>(&'a self, tombstone: &'a Tombstone) -> Answer<'a, bool> {
        Box::pin(Index::add_tombstone(self, tombstone))
    }

    fn tombstones(&self) -> Answer<'_, Vec<Tombstone>> {
        Box::pin(Index::tombstones(self))
    }

    fn was_deleted<'a>(&'a self, selector: &'a Selector) -> Answer<'a, bool> {
        Box::pin(Index::was_deleted(self, selector))
    }

    fn containers(&self) -> Answer<'_, Vec<Container>> {
        Box::pin(Index::containers(self))
    }

    fn counts(&self) -> Answer<'_, Counts> {
        Box::pin(Index::counts(self))
    }

    fn contradictions(&self) -> Answer<'_, Vec<String>> {
        Box::pin(Index::contradictions(self))
    }

    fn search<'a>(&'a self, query: &'a Query) -> Answer<'a, Matches> {
        Box::pin(Index::search(self, query))
    }

    fn count<'a>(&'a self, query: &'a Query, at_most: u64) -> Answer<'a, Option<u64>> {
        Box::pin(Index::count(self, query, at_most))
    }

    fn analyze_if_grown(&self) -> Answer<'_, bool> {
        Box::pin(Index::analyze_if_grown(self))
    }

    fn put_job<'a>(&'a self, name: &'a str, state: &'a str, changed_millis: i64) -> Answer<'a, ()> {
        Box::pin(Index::put_job(self, name, state, changed_millis))
    }

    fn job<'a>(&'a self, name: &'a str) -> Answer<'a, Option<(String, i64)>> {
        Box::pin(Index::job(self, name))
    }

    fn clear(&self) -> Answer<'_, ()> {
        Box::pin(Index::clear(self))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(Index::close(self))
    }
}
