//! Searches: pages of rows by key, turned into attributes as they are asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use dicom_data::Attributes;
use dicom_data::query::{Level, Query, matches};
use futures_util::stream::{empty, try_unfold};

use crate::connection::Index;
use crate::error::Error;
use crate::instances::Instance;
use crate::matches::Matches;
use crate::plan::{Lookups, Plan};
use crate::plan_sql::{self, Page};
use crate::search_row::{Cursor, SearchRow, describe};

/// Rows that one statement reads: a page of 100 and what tells that there are more. The connection is free in between; the
/// rows are in memory while their reader is slow.
const PAGE_ROWS: u64 = 101;
/// As above if rows are matched in memory: few of them are answered.
const SIFTED_ROWS: u64 = 500;
/// Series that are opened at once in a search for instances; the first page has one, each further one twice as many, so
/// that a short answer does not wait for the thousands of instances of series that are not in it.
const PAGE_SERIES: u64 = 16;

/// Limits of statements that are kept prepared: what is found by one value, and the page sizes of everyday.
const KEPT_LIMITS: [u64; 5] = [26, 51, PAGE_ROWS, SIFTED_ROWS, 1];

impl Index {
    /// Searches. A match has what the index keeps of its level and those above, and counts: of the patient at PATIENT level
    /// (0020,1200/1202/1204), of the study from STUDY level on (0020,1206/1208), of the series from SERIES level on
    /// (0020,1209). The first rows are read before this returns; dropping the stream stops the search.
    pub async fn search(&self, query: &Query) -> Result<Matches, Error> {
        let left = query.limit.unwrap_or(u64::MAX);
        if left == 0 {
            return Ok(Box::pin(empty()));
        }
        let facts = self.look_up(Lookups::of(query)).await?;
        let mut search = Search {
            index: self.clone(),
            plan: Plan::of(query, &facts)?,
            found: VecDeque::new(),
            cursor: None,
            page_series: 1,
            skip: query.offset,
            left,
            ended: false,
        };
        search.read().await?;
        Ok(Box::pin(try_unfold(search, |mut search| async move {
            Ok(search.next().await?.map(|attributes| (attributes, search)))
        })))
    }
}

/// What was read, not yet made attributes: those take several times the memory.
enum Found {
    Row(Box<SearchRow>),
    /// With what its series and the levels above have.
    Instance(Arc<Attributes>, Box<Instance>),
}

struct Search {
    index: Index,
    plan: Plan,
    found: VecDeque<Found>,
    /// Position after the last row that was read.
    cursor: Option<Cursor>,
    /// Series of the next page of a search for instances.
    page_series: u64,
    skip: u64,
    left: u64,
    ended: bool,
}

impl Search {
    /// Returns the next match.
    async fn next(&mut self) -> Result<Option<Attributes>, Error> {
        while self.left > 0 {
            let Some(found) = self.found.pop_front() else {
                if self.ended {
                    break;
                }
                self.read().await?;
                continue;
            };
            let attributes = found.attributes(self.plan.level)?;
            if !matches(&attributes, &self.plan.in_memory) {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.left -= 1;
            return Ok(Some(attributes));
        }
        Ok(None)
    }

    /// Reads the next page.
    async fn read(&mut self) -> Result<(), Error> {
        let in_sql = self.plan.in_memory.is_empty() && self.plan.level != Level::Instance;
        let limit = match self.plan.level {
            Level::Instance => self.page_series,
            Level::Patient | Level::Study | Level::Series if in_sql => self.left.min(PAGE_ROWS),
            Level::Patient | Level::Study | Level::Series => SIFTED_ROWS,
        };
        let offset = if in_sql { std::mem::take(&mut self.skip) } else { 0 };
        let rows = self.page(limit, offset).await?;
        self.ended = rows.len() < usize::try_from(limit).unwrap_or(usize::MAX);
        if let Some(last) = rows.last() {
            self.cursor = Some(last.cursor());
        }
        if self.plan.level == Level::Instance {
            self.page_series = (limit * 2).min(PAGE_SERIES);
            return self.take_instances(&rows).await;
        }
        self.found.extend(rows.into_iter().map(|row| Found::Row(Box::new(row))));
        Ok(())
    }

    async fn take_instances(&mut self, rows: &[SearchRow]) -> Result<(), Error> {
        let series = rows.iter().map(SearchRow::series_ref).collect::<Result<Vec<_>, _>>()?;
        let mut connection = self.index.pool.acquire().await?;
        let instances = self.index.instances_of(&mut connection, &series, &self.plan.instances).await?;
        drop(connection);
        for (row, mut instances) in rows.iter().zip(instances) {
            let upper = Arc::new(row.attributes(Level::Instance)?);
            instances.sort_by(|a, b| a.located.instance.sop_instance_uid.cmp(&b.located.instance.sop_instance_uid));
            let found = instances.into_iter().map(|one| Found::Instance(Arc::clone(&upper), Box::new(one)));
            self.found.extend(found);
        }
        Ok(())
    }

    async fn page(&self, limit: u64, offset: u64) -> Result<Vec<SearchRow>, Error> {
        let page = Page { behind: self.cursor.as_ref(), limit, offset };
        let mut sql = plan_sql::rows(&self.plan, page);
        let kept = self.plan.is_kept && page.behind.is_none() && offset == 0 && KEPT_LIMITS.contains(&limit);
        Ok(sql.build_query_as().persistent(kept).fetch_all(&self.index.pool).await?)
    }
}

impl Found {
    fn attributes(&self, level: Level) -> Result<Attributes, Error> {
        match self {
            Self::Row(row) => row.attributes(level),
            Self::Instance(upper, instance) => {
                let mut attributes = Attributes::clone(upper);
                describe(&mut attributes, instance)?;
                Ok(attributes)
            }
        }
    }
}
