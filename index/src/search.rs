//! Searches: pages of rows by key, turned into attributes as they are asked for.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use dicom_core::Tag;
use futures_util::stream::try_unfold;
use sqlx::{Postgres, QueryBuilder};

use crate::condition::{self, Listed};
use crate::connection::Index;
use crate::error::Error;
use crate::instances::Instance;
use crate::matches::Matches;
use crate::numbers::signed;
use crate::search_row::{Cursor, SearchRow, describe};
use dicom_data::Attributes;
use dicom_data::Uid;
use dicom_data::query::{Key, Level, Matching, Query, matches};

/// Rows that one statement reads: a page of 100 and what tells that there are more. The connection is free in between; the
/// rows are in memory while their reader is slow.
const PAGE_ROWS: u64 = 101;
/// As above if rows are matched in memory: few of them are answered.
const SIFTED_ROWS: u64 = 500;
/// Series that are opened at once in a search for instances; the first page has one, each further one twice as many, so
/// that a short answer does not wait for the thousands of instances of series that are not in it.
const PAGE_SERIES: u64 = 16;

/// A name with a wild card at its beginning that so many patients have at most is looked for among their studies; of more
/// patients there is one every few hundred studies in a million, so that a page is found on the way.
const PATIENTS_FEW_MAX: usize = 1_000;

/// A name with a wild card at its beginning that the planner believes to be of so many patients is not looked up: reading
/// them takes longer than the page, and it knows how often characters and pairs of them are.
const PATIENTS_MANY_MIN: u64 = 2_000;

/// Studies that have one of several modalities are taken from the lists if there are so many at most.
const STUDIES_FEW_MAX: i64 = 1_000;

const SOP_INSTANCE_UID: Tag = Tag(0x0008, 0x0018);

impl Index {
    /// Searches. A match has what the index keeps of its level and those above, and counts: of the patient at PATIENT level
    /// (0020,1200/1202/1204), of the study from STUDY level on (0020,1206/1208), of the series from SERIES level on
    /// (0020,1209). The first rows are read before this returns; dropping the stream stops the search.
    pub async fn search(&self, query: &Query) -> Result<Matches, Error> {
        let post = condition::without_column(query);
        let mut search = Search {
            index: self.clone(),
            found: VecDeque::new(),
            cursor: None,
            page_series: 1,
            skip: query.offset,
            left: query.limit.unwrap_or(u64::MAX),
            ended: query.limit == Some(0),
            only: only(query),
            series_only: None,
            infix: Infix::Grams,
            listed: self.listed(query).await?,
            post,
            query: Arc::new(query.clone()),
        };
        search.narrow().await?;
        search.narrow_name().await?;
        if search.left > 0 {
            search.read().await?;
        }
        Ok(Box::pin(try_unfold(search, |mut search| async move {
            Ok(search.next().await?.map(|attributes| (attributes, search)))
        })))
    }
}

impl Index {
    /// Tells how studies of several modalities are looked for. Reads an index only.
    pub(super) async fn listed(&self, query: &Query) -> Result<Listed, Error> {
        let Some(modalities) = condition::listed_modalities(query) else { return Ok(Listed::Many) };
        let mut sql = QueryBuilder::new("select count(*) from (select from study_modality x where x.modality = any(");
        sql.push_bind(modalities).push(") limit ").push(STUDIES_FEW_MAX + 1).push(") as m");
        let studies: i64 = sql.build_query_scalar().persistent(false).fetch_one(&self.pool).await?;
        Ok(if studies <= STUDIES_FEW_MAX { Listed::Few } else { Listed::Many })
    }

    /// Returns how many patients the planner believes to have a name with a wild card at its beginning.
    async fn estimated(&self, query: &Query) -> Result<u64, Error> {
        let mut sql = QueryBuilder::new("explain select from patient p where true");
        condition::push_infix_grams(&mut sql, query);
        let plan: Vec<String> = sql.build_query_scalar().persistent(false).fetch_all(&self.pool).await?;
        let rows = plan.first().and_then(|line| line.split_once("rows=")?.1.split(' ').next()?.parse().ok());
        Ok(rows.unwrap_or(0))
    }
}

/// See `condition::Infix`.
enum Infix {
    Grams,
    Patients(Vec<i64>),
    Many,
}

/// What was read, not yet made attributes: those take several times the memory.
enum Found {
    Row(Box<SearchRow>),
    /// With what its series and the levels above have.
    Instance(Arc<Attributes>, Box<Instance>),
}

struct Search {
    index: Index,
    query: Arc<Query>,
    /// Keys that are matched in memory.
    post: Vec<Key>,
    /// SOP Instance UIDs that were asked for.
    only: BTreeSet<Uid>,
    /// Series of those, when only they are known.
    series_only: Option<Vec<String>>,
    /// Whose name has a wild card at the beginning of its key.
    infix: Infix,
    /// How a list of modalities is looked for.
    listed: Listed,
    found: VecDeque<Found>,
    cursor: Option<Cursor>,
    /// Series of the next page of a search for instances.
    page_series: u64,
    skip: u64,
    left: u64,
    ended: bool,
}

impl Search {
    /// A SOP Instance UID alone is looked up first: the statement then reads its series, not all of them.
    async fn narrow(&mut self) -> Result<(), Error> {
        if self.query.level != Level::Instance || self.only.is_empty() || condition::names_parents(&self.query) {
            return Ok(());
        }
        let mut series = BTreeSet::new();
        for sop in &self.only {
            for located in self.index.find_by_sop(sop).await? {
                series.insert(located.instance.series_instance_uid.as_str().to_owned());
            }
        }
        self.series_only = Some(series.into_iter().collect());
        Ok(())
    }

    /// A name with a wild card at its beginning is looked up first: whether few or many have it decides what to do.
    async fn narrow_name(&mut self) -> Result<(), Error> {
        let mut sql = QueryBuilder::new("select p.id from patient p where true");
        if !condition::push_infix(&mut sql, &self.query) {
            return Ok(());
        }
        if self.index.estimated(&self.query).await? >= PATIENTS_MANY_MIN {
            self.infix = Infix::Many;
            return Ok(());
        }
        sql.push(" limit ").push(PATIENTS_FEW_MAX + 1);
        let patients: Vec<i64> = sql.build_query_scalar().persistent(false).fetch_all(&self.index.pool).await?;
        self.infix = if patients.len() > PATIENTS_FEW_MAX { Infix::Many } else { Infix::Patients(patients) };
        Ok(())
    }

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
            let attributes = found.attributes(self.query.level)?;
            if !matches(&attributes, &self.post) {
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
        let in_sql = self.post.is_empty() && self.query.level != Level::Instance;
        let limit = match self.query.level {
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
        if self.query.level == Level::Instance {
            self.page_series = (limit * 2).min(PAGE_SERIES);
            return self.take_instances(&rows).await;
        }
        self.found.extend(rows.into_iter().map(|row| Found::Row(Box::new(row))));
        Ok(())
    }

    async fn take_instances(&mut self, rows: &[SearchRow]) -> Result<(), Error> {
        let series = rows.iter().map(SearchRow::series_ref).collect::<Result<Vec<_>, _>>()?;
        let mut connection = self.index.pool.acquire().await?;
        let instances = self.index.instances_of(&mut connection, &series, &self.only).await?;
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
        let mut sql = QueryBuilder::new("");
        let infix = match &self.infix {
            Infix::Grams => condition::Infix::Grams,
            Infix::Patients(patients) => condition::Infix::Patients(patients),
            Infix::Many => condition::Infix::Many,
        };
        let tables = Tables::of(&self.query, infix);
        self.push_select(&mut sql, tables);
        condition::push(&mut sql, &self.query, condition::Narrowed { infix, listed: self.listed })?;
        condition::push_sop_classes(&mut sql, &self.query);
        if let Some(series) = &self.series_only {
            sql.push(" and s.series_instance_uid = any(").push_bind(series.clone()).push(")");
        }
        self.push_order(&mut sql, tables, limit, offset);
        let kept = self.series_only.is_none() && self.cursor.is_none() && offset == 0 && is_kept(&self.query, limit);
        Ok(sql.build_query_as().persistent(kept).fetch_all(&self.index.pool).await?)
    }

    fn push_select(&self, sql: &mut QueryBuilder<Postgres>, tables: Tables) {
        match self.query.level {
            Level::Patient => {
                sql.push(PATIENT);
                return;
            }
            Level::Study if self.is_walk() => sql.push(WALK),
            Level::Study => sql.push(STUDY).push(tables.rank).push(STUDY_COLUMNS),
            Level::Series | Level::Instance => sql.push(SERIES).push(tables.rank).push(SERIES_COLUMNS),
        };
        if tables.patient_inside {
            sql.push(" join patient p on p.id = t.patient");
        }
        if tables.by_modality {
            sql.push(" join study_modality x on x.study = t.id");
        }
        sql.push(" where true");
    }

    /// Tells whether many studies are passed by for a page: the index of their order has all that decides.
    fn is_walk(&self) -> bool {
        self.query.level == Level::Study && matches!(self.infix, Infix::Many)
    }

    fn push_order(&self, sql: &mut QueryBuilder<Postgres>, tables: Tables, limit: u64, offset: u64) {
        let cursor = self.cursor.as_ref();
        let (order, counts) = match self.query.level {
            Level::Patient => {
                if let Some(cursor) = cursor {
                    sql.push(" and (p.patient_id, p.issuer_of_patient_id, p.only_study_instance_uid) > (");
                    sql.push_bind(cursor.first.clone()).push(", ").push_bind(cursor.second.clone()).push(", ");
                    sql.push_bind(cursor.third.clone()).push(")");
                }
                (" order by patient_id, issuer_of_patient_id, only_study_instance_uid", PATIENT_COUNTS)
            }
            Level::Study => {
                if let Some(cursor) = cursor {
                    sql.push(" and (").push(tables.rank).push(") > (").push_bind(cursor.rank).push(", ");
                    sql.push_bind(cursor.first.clone()).push(")");
                }
                (" order by date_rank, study_instance_uid", STUDY_COUNTS)
            }
            Level::Series | Level::Instance => {
                if let Some(cursor) = cursor {
                    // The first half is implied, and is what the index of studies understands.
                    sql.push(" and (").push(tables.rank).push(") >= (").push_bind(cursor.rank).push(", ");
                    sql.push_bind(cursor.first.clone()).push(")");
                    sql.push(" and (").push(tables.rank).push(", s.series_instance_uid) > (");
                    sql.push_bind(cursor.rank).push(", ").push_bind(cursor.first.clone()).push(", ");
                    sql.push_bind(cursor.second.clone()).push(")");
                }
                (" order by date_rank, study_instance_uid, series_instance_uid", STUDY_COUNTS)
            }
        };
        // Numbers, not parameters: the plan of a statement that is kept depends on them.
        sql.push(order).push(" limit ").push(signed(limit));
        if offset > 0 {
            sql.push(" offset ").push_bind(signed(offset));
        }
        if self.is_walk() {
            sql.push(WALKED);
        }
        // Counts, and patients that nobody asked for, only for the rows of the page.
        sql.push(") as m");
        if self.query.level > Level::Patient {
            sql.push(" join patient p on p.id = m.patient");
        }
        sql.push(counts).push(order);
    }
}

const PATIENT: &str = "select m.*, c.* from (
    select p.id, p.patient_id, p.issuer_of_patient_id, p.only_study_instance_uid, p.attributes as patient_attributes
    from patient p
    where exists (select from study t where t.patient = p.id)";

const PATIENT_COUNTS: &str = " cross join lateral (
    select count(distinct t.id) as patient_studies, count(s.id) as patient_series,
        coalesce(sum(s.instances), 0)::bigint as patient_instances
    from study t left join series s on s.study = t.id where t.patient = m.id) as c";

const STUDY: &str = "select m.*, c.*, p.attributes as patient_attributes from (
    select t.id, ";

const STUDY_COLUMNS: &str = ", t.patient, t.modalities, t.attributes as study_attributes from study t";

/// As `STUDY`, but rows are read for the page only: what is read of all others is in `study_order`.
const WALK: &str = "select m.*, c.*, p.attributes as patient_attributes from (
    select t.id, w.date_rank, w.study_instance_uid, w.patient, t.modalities, t.attributes as study_attributes from (
    select t.date_rank, t.study_instance_uid, t.patient from study t";

const WALKED: &str = ") as w join study t on t.study_instance_uid = w.study_instance_uid";

const SERIES: &str = "select m.*, c.*, p.attributes as patient_attributes from (
    select t.id, ";

const SERIES_COLUMNS: &str = ", t.patient, t.modalities, s.id as series, s.series_instance_uid, \
        s.instances as series_instances, t.attributes as study_attributes, s.attributes as series_attributes
    from series s join study t on t.id = s.study";

/// The tables that studies are read from.
#[derive(Debug, Clone, Copy)]
struct Tables {
    /// Columns of the order.
    rank: &'static str,
    /// From the list of one modality.
    by_modality: bool,
    /// Conditions are on columns of the patient.
    patient_inside: bool,
}

impl Tables {
    fn of(query: &Query, infix: condition::Infix<'_>) -> Self {
        let by_modality = condition::by_modality(query).is_some();
        Self {
            rank: if by_modality { "x.date_rank, x.study_instance_uid" } else { "t.date_rank, t.study_instance_uid" },
            by_modality,
            patient_inside: condition::reads_patient(query, infix),
        }
    }
}

/// One look at the series of a study; their SOP classes are made a set by the reader.
const STUDY_COUNTS: &str = " cross join lateral (
    select count(*) as study_series, coalesce(sum(s.instances), 0)::bigint as study_instances,
        string_agg(array_to_string(s.sop_class_uids, '\\'), '\\') as sop_classes
    from series s where s.study = m.id) as c";

/// Limits of statements that are kept prepared: what is found by one value, and the page sizes of everyday.
const KEPT_LIMITS: [u64; 5] = [26, 51, PAGE_ROWS, SIFTED_ROWS, 1];

/// Tells whether a search is one whose plan does not depend on the values: planning is then half of its time. All others
/// are planned with their very values: what an index is worth depends on them.
fn is_kept(query: &Query, limit: u64) -> bool {
    let by_one_value = |key: &Key| condition::is_identifier(&key.path) && matches!(key.matching, Matching::Single(_));
    let matched = || query.keys.iter().filter(|key| Query::is_matched(&key.path, query.level));
    KEPT_LIMITS.contains(&limit) && (matched().any(by_one_value) || matched().next().is_none())
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

fn only(query: &Query) -> BTreeSet<Uid> {
    if query.level != Level::Instance {
        return BTreeSet::new();
    }
    let key = query.keys.iter().find(|key| key.path.0 == [SOP_INSTANCE_UID]);
    let uids = key.and_then(|key| condition::uids(&key.matching)).unwrap_or_default();
    uids.iter().filter_map(|uid| uid.parse().ok()).collect()
}
