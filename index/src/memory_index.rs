//! A double of the index: the same answers from memory, with the faults of a database on demand.
//!
//! For tests and simulations only: nothing survives the process. A test runs the same random operations on it and on
//! Postgres and compares all answers. It departs from Postgres in three points: writers wait for each other whatever
//! studies they touch; searches match each key by itself (`combined_date_time` has no effect); and statistics never grow.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dicom_data::Uid;
use dicom_data::query::Query;
use futures_core::future::BoxFuture;
use journal::Lsn;
use tokio::sync::{OwnedMutexGuard, watch};
use uuid::Uuid;

use crate::archive_index::{Answer, ArchiveIndex, PreparedBatch};
use crate::arrival::{Applied, Arrival};
use crate::containers::{Container, Counts};
use crate::error::Error;
use crate::matches::Matches;
use crate::new_container::NewContainer;
use crate::pack::{PackStudy, UnsealedRow};
use crate::places::{Located, Selector};
use crate::plan;
use crate::segment::Segment;
use crate::tombstone::Tombstone;
use reads::count;
use state::State;

mod reads;
mod search;
mod state;

/// An index in memory. Clones share it, as connections share a database.
#[derive(Debug, Clone)]
pub struct MemoryIndex {
    database: Arc<Mutex<Database>>,
    health: watch::Sender<Health>,
    writer: Arc<tokio::sync::Mutex<()>>,
}

/// What is committed, at one moment: a backup.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    state: State,
    jobs: BTreeMap<String, (String, i64)>,
}

#[derive(Debug, Default)]
struct Database {
    committed: Snapshot,
    /// Grows with each crash: transactions that began before it are lost.
    crashes: u64,
    loses_next_answer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Up,
    Away,
    Hung,
}

impl Default for MemoryIndex {
    fn default() -> Self {
        Self { database: Arc::default(), health: watch::Sender::new(Health::Up), writer: Arc::default() }
    }
}

impl MemoryIndex {
    /// Makes an empty index that answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on every call answers `Error::Away` at once.
    pub fn go_away(&self) {
        self.health.send_replace(Health::Away);
    }

    /// From now on every call waits until the index comes back or goes away.
    pub fn hang(&self) {
        self.health.send_replace(Health::Hung);
    }

    /// Answers again; calls that hang go on.
    pub fn come_back(&self) {
        self.health.send_replace(Health::Up);
    }

    /// Loses all transactions that are not committed: their commits answer `Error::Away`.
    pub fn crash(&self) {
        self.database().crashes += 1;
    }

    /// The next change happens, but answers `Error::Away`.
    pub fn lose_next_answer(&self) {
        self.database().loses_next_answer = true;
    }

    /// Returns what is committed now.
    pub fn snapshot(&self) -> Snapshot {
        self.database().committed.clone()
    }

    /// Goes back in time: to a backup, or to a standby that lagged behind. Row numbers are given a second time.
    pub fn restore(&self, snapshot: &Snapshot) {
        let mut database = self.database();
        database.crashes += 1;
        database.committed = snapshot.clone();
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the index hangs.
    async fn reach(&self) -> Result<(), Error> {
        let mut health = self.health.subscribe();
        let reached = health.wait_for(|health| *health != Health::Hung).await;
        if reached.is_ok_and(|health| *health == Health::Up) { Ok(()) } else { Err(away()) }
    }

    fn read<'a, T: Send + 'a>(&'a self, read: impl FnOnce(&State) -> Result<T, Error> + Send + 'a) -> Answer<'a, T> {
        Box::pin(async move {
            self.reach().await?;
            read(&self.database().committed.state)
        })
    }

    fn change<'a, T: Send + 'a>(
        &'a self,
        change: impl FnOnce(&mut State) -> Result<T, Error> + Send + 'a,
    ) -> Answer<'a, T> {
        Box::pin(async move {
            self.reach().await?;
            let _writer = self.writer.lock().await;
            self.reach().await?;
            let mut database = self.database();
            let mut next = database.committed.state.clone();
            let answer = change(&mut next)?;
            database.commit(next)?;
            Ok(answer)
        })
    }
}

impl Database {
    fn commit(&mut self, next: State) -> Result<(), Error> {
        self.committed.state = next;
        if std::mem::take(&mut self.loses_next_answer) { Err(away()) } else { Ok(()) }
    }
}

fn away() -> Error {
    Error::Away(sqlx::Error::PoolTimedOut)
}

/// A batch that is applied to a copy of the state.
#[derive(Debug)]
struct MemoryBatch {
    index: MemoryIndex,
    next: State,
    crashes: u64,
    outcomes: Vec<Applied>,
    _writer: OwnedMutexGuard<()>,
}

impl PreparedBatch for MemoryBatch {
    fn outcomes(&self) -> &[Applied] {
        &self.outcomes
    }

    fn commit(self: Box<Self>) -> Answer<'static, Vec<Applied>> {
        Box::pin(async move {
            let Self { index, next, crashes, outcomes, _writer } = *self;
            index.reach().await?;
            let mut database = index.database();
            if database.crashes != crashes {
                return Err(away());
            }
            database.commit(next)?;
            Ok(outcomes)
        })
    }
}

impl ArchiveIndex for MemoryIndex {
    fn answers(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move { self.reach().await.is_ok() })
    }

    fn applied(&self, journal: Uuid) -> Answer<'_, Option<Lsn>> {
        self.read(move |state| Ok(state.positions.get(&journal).copied()))
    }

    fn prepare<'a>(&'a self, journal: Uuid, arrivals: &'a [Arrival], end: Lsn) -> Answer<'a, Box<dyn PreparedBatch>> {
        Box::pin(async move {
            self.reach().await?;
            let writer = Arc::clone(&self.writer).lock_owned().await;
            self.reach().await?;
            let (mut next, crashes) = {
                let database = self.database();
                (database.committed.state.clone(), database.crashes)
            };
            let outcomes = next.apply(journal, arrivals, end)?;
            let batch: Box<dyn PreparedBatch> =
                Box::new(MemoryBatch { index: self.clone(), next, crashes, outcomes, _writer: writer });
            Ok(batch)
        })
    }

    fn locate<'a>(&'a self, selector: &'a Selector) -> Answer<'a, Vec<Located>> {
        self.read(|state| state.locate(selector))
    }

    fn series_segments<'a>(&'a self, series_instance_uid: &'a Uid) -> Answer<'a, Vec<Arc<Segment>>> {
        self.read(|state| Ok(state.segments_of(series_instance_uid)))
    }

    fn segment(&self, id: i64) -> Answer<'_, Arc<Segment>> {
        self.read(move |state| state.segment(id))
    }

    fn seal<'a>(&'a self, container: &'a NewContainer) -> Answer<'a, ()> {
        self.change(|state| state.record(container))
    }

    fn adopt<'a>(&'a self, container: &'a NewContainer) -> Answer<'a, ()> {
        self.change(|state| state.record(container))
    }

    fn quiet_studies(&self, busy_millis: RangeInclusive<i64>) -> Answer<'_, Vec<PackStudy>> {
        self.read(move |state| Ok(state.quiet_studies(&busy_millis)))
    }

    fn unsealed_instances<'a>(
        &'a self,
        studies: &'a [Uid],
        left_out: &'a [Lsn],
        instances_max: usize,
    ) -> Answer<'a, Vec<UnsealedRow>> {
        self.read(move |state| Ok(state.unsealed_instances(studies, left_out, instances_max)))
    }

    fn unsealed_in_order<'a>(
        &'a self,
        behind: Option<&'a UnsealedRow>,
        instances_max: usize,
    ) -> Answer<'a, Vec<UnsealedRow>> {
        self.read(move |state| Ok(state.unsealed_in_order(behind, instances_max)))
    }

    fn unsealed_lsns(&self, journal: Uuid) -> Answer<'_, Vec<u64>> {
        self.read(move |state| Ok(state.lsns(journal).collect()))
    }

    fn journal_segments_in_use(&self, journal: Uuid, segment_bytes: u64) -> Answer<'_, BTreeSet<u64>> {
        self.read(move |state| Ok(state.lsns(journal).map(|lsn| lsn / segment_bytes.max(1)).collect()))
    }

    fn series_summaries<'a>(&'a self, series: &'a [(Uid, Uid)]) -> Answer<'a, Vec<Bytes>> {
        self.read(|state| state.summaries(series))
    }

    fn add_tombstone<'a>(&'a self, tombstone: &'a Tombstone) -> Answer<'a, bool> {
        self.change(|state| Ok(state.add_tombstone(tombstone)))
    }

    fn tombstones(&self) -> Answer<'_, Vec<Tombstone>> {
        self.read(State::tombstones)
    }

    fn was_deleted<'a>(&'a self, selector: &'a Selector) -> Answer<'a, bool> {
        self.read(|state| Ok(state.was_deleted(selector)))
    }

    fn containers(&self) -> Answer<'_, Vec<Container>> {
        self.read(|state| Ok(state.containers.clone()))
    }

    fn counts(&self) -> Answer<'_, Counts> {
        self.read(State::counts)
    }

    fn contradictions(&self) -> Answer<'_, Vec<String>> {
        self.read(|_| Ok(Vec::new()))
    }

    fn search<'a>(&'a self, query: &'a Query) -> Answer<'a, Matches> {
        self.read(|state| {
            let found = state.search(query)?;
            let most = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
            let matches: Matches = Box::pin(futures_util::stream::iter(found.into_iter().take(most).map(Ok)));
            Ok(matches)
        })
    }

    fn count<'a>(&'a self, query: &'a Query, at_most: u64) -> Answer<'a, Option<u64>> {
        self.read(move |state| {
            if !plan::without_column(query).is_empty() {
                return Ok(None);
            }
            Ok(Some(count(state.search(query)?.len()).min(at_most)))
        })
    }

    fn analyze_if_grown(&self) -> Answer<'_, bool> {
        self.read(|_| Ok(false))
    }

    fn put_job<'a>(&'a self, name: &'a str, state: &'a str, changed_millis: i64) -> Answer<'a, ()> {
        Box::pin(async move {
            self.reach().await?;
            let mut database = self.database();
            database.committed.jobs.insert(name.to_owned(), (state.to_owned(), changed_millis));
            Ok(())
        })
    }

    fn job<'a>(&'a self, name: &'a str) -> Answer<'a, Option<(String, i64)>> {
        Box::pin(async move {
            self.reach().await?;
            Ok(self.database().committed.jobs.get(name).cloned())
        })
    }

    fn clear(&self) -> Answer<'_, ()> {
        self.change(|state| {
            state.clear();
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
