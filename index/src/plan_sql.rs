//! A plan as SQL: `p` is the patient, `t` the study, `s` the series, `x` the list of a modality.
//!
//! Rendering decides nothing. Numbers of rows are part of the text, not parameters: the way in which Postgres executes a
//! statement that is kept depends on them.

use dicom_data::query::Level;
use sqlx::{Encode, Postgres, QueryBuilder, Type};

use crate::condition::{Bounds, Condition, GroupMatch, NameGroups, NameKey, TextMatch};
use crate::numbers::signed;
use crate::plan::{Plan, Strategy};
use crate::search_row::Cursor;

type Sql = QueryBuilder<Postgres>;

/// Which rows of a search one statement reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    /// Behind this row; from the first without one.
    pub(crate) behind: Option<&'a Cursor>,
    pub(crate) limit: u64,
    pub(crate) offset: u64,
}

/// Returns the statement that reads a page of a search.
pub(crate) fn rows(plan: &Plan, page: Page<'_>) -> Sql {
    let mut sql = Sql::new("");
    push_select(&mut sql, plan);
    push_all(&mut sql, &plan.conditions);
    let rank = rank(plan.strategy);
    if let Some(cursor) = page.behind {
        push_behind(&mut sql, plan.level, rank, cursor);
    }
    let (order, counts) = match plan.level {
        Level::Patient => (" order by patient_id, issuer_of_patient_id, only_study_instance_uid", PATIENT_COUNTS),
        Level::Study => (" order by date_rank, study_instance_uid", STUDY_COUNTS),
        Level::Series | Level::Instance => {
            (" order by date_rank, study_instance_uid, series_instance_uid", STUDY_COUNTS)
        }
    };
    sql.push(order).push(" limit ").push(signed(page.limit));
    if page.offset > 0 {
        sql.push(" offset ").push_bind(signed(page.offset));
    }
    if plan.strategy == Strategy::Walk {
        sql.push(WALKED);
    }
    // Counts, and patients that no condition reads, only for the rows of the page.
    sql.push(") as m");
    if plan.level > Level::Patient {
        sql.push(" join patient p on p.id = m.patient");
    }
    sql.push(counts).push(order);
    sql
}

/// Returns the statement that counts matches, `rows_max` of them at most. Instances are counted by their series.
pub(crate) fn count(plan: &Plan, rows_max: u64) -> Sql {
    let mut sql = Sql::new(match plan.level {
        Level::Patient => COUNT_PATIENTS,
        Level::Study => COUNT_STUDIES,
        Level::Series => COUNT_SERIES,
        Level::Instance => COUNT_INSTANCES,
    });
    if plan.level != Level::Patient {
        push_joins(&mut sql, plan);
    }
    push_all(&mut sql, &plan.conditions);
    sql.push(" limit ").push_bind(signed(rows_max)).push(") as m");
    sql
}

/// Returns the statement that finds the patients of a name, `rows_max` of them at most.
pub(crate) fn patients_of(name: &NameKey, rows_max: usize) -> Sql {
    let mut sql = Sql::new("select p.id from patient p where true");
    push(&mut sql, &Condition::NameByGrams(name.grams.clone(), name.groups.clone()));
    sql.push(" limit ").push(rows_max);
    sql
}

/// Returns the statement that asks the planner how many patients have the grams of a name.
pub(crate) fn estimate_of(name: &NameKey) -> Sql {
    let mut sql = Sql::new("explain select from patient p where true");
    sql.push(" and p.name_grams @> ").push_bind(name.grams.clone());
    sql
}

/// Returns the statement that counts the studies in the lists of modalities, `rows_max` at most. Reads an index only.
pub(crate) fn studies_listed(modalities: Vec<String>, rows_max: i64) -> Sql {
    let mut sql = Sql::new("select count(*) from (select from study_modality x where x.modality = any(");
    sql.push_bind(modalities).push(") limit ").push(rows_max).push(") as m");
    sql
}

fn rank(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::ByModality => "x.date_rank, x.study_instance_uid",
        Strategy::InOrder | Strategy::Walk => "t.date_rank, t.study_instance_uid",
    }
}

fn push_select(sql: &mut Sql, plan: &Plan) {
    match (plan.level, plan.strategy) {
        (Level::Patient, _) => {
            sql.push(PATIENT);
            return;
        }
        (Level::Study, Strategy::Walk) => sql.push(WALK),
        (Level::Study, _) => sql.push(STUDY).push(rank(plan.strategy)).push(STUDY_COLUMNS),
        (Level::Series | Level::Instance, _) => sql.push(SERIES).push(rank(plan.strategy)).push(SERIES_COLUMNS),
    };
    push_joins(sql, plan);
}

fn push_joins(sql: &mut Sql, plan: &Plan) {
    if plan.joins_patient {
        sql.push(" join patient p on p.id = t.patient");
    }
    if plan.strategy == Strategy::ByModality {
        sql.push(" join study_modality x on x.study = t.id");
    }
    sql.push(" where true");
}

fn push_behind(sql: &mut Sql, level: Level, rank: &'static str, cursor: &Cursor) {
    match level {
        Level::Patient => {
            sql.push(" and (p.patient_id, p.issuer_of_patient_id, p.only_study_instance_uid) > (");
            sql.push_bind(cursor.first.clone()).push(", ").push_bind(cursor.second.clone()).push(", ");
            sql.push_bind(cursor.third.clone()).push(")");
        }
        Level::Study => {
            sql.push(" and (").push(rank).push(") > (").push_bind(cursor.rank).push(", ");
            sql.push_bind(cursor.first.clone()).push(")");
        }
        Level::Series | Level::Instance => {
            // The first half is implied, and is what the index of studies understands.
            sql.push(" and (").push(rank).push(") >= (").push_bind(cursor.rank).push(", ");
            sql.push_bind(cursor.first.clone()).push(")");
            sql.push(" and (").push(rank).push(", s.series_instance_uid) > (");
            sql.push_bind(cursor.rank).push(", ").push_bind(cursor.first.clone()).push(", ");
            sql.push_bind(cursor.second.clone()).push(")");
        }
    }
}

fn push_all(sql: &mut Sql, conditions: &[Condition]) {
    for condition in conditions {
        push(sql, condition);
    }
}

/// Adds ` and ...`.
fn push(sql: &mut Sql, condition: &Condition) {
    match condition {
        Condition::Never => {
            sql.push(" and false");
        }
        Condition::Text(name, wanted) => push_text(sql, name, wanted),
        Condition::Numbers(name, numbers) => {
            sql.push(" and ").push(*name);
            push_value(sql, " = any(", numbers.clone(), ")");
        }
        Condition::Date(name, bounds) => push_bounds(sql, bounds, |sql, operator, date| {
            sql.push(" and ").push(*name).push(operator).push_bind(date.clone()).push("::date");
        }),
        Condition::DateRank(rank, bounds) => push_date_rank(sql, rank, bounds),
        Condition::Time(name, bounds) => push_bounds(sql, bounds, |sql, operator, micros| {
            sql.push(" and ").push(*name).push(operator).push_bind(*micros);
        }),
        Condition::Moment(columns, bounds) => push_bounds(sql, bounds, |sql, operator, (day, micros)| {
            sql.push(" and ").push(*columns).push(operator).push("(").push_bind(day.clone());
            sql.push("::date, ").push_bind(*micros).push(")");
        }),
        Condition::Name(groups) => {
            sql.push(" and ");
            push_groups(sql, groups);
        }
        Condition::NameByGrams(grams, groups) => {
            push_value(sql, " and p.name_grams @> ", grams.clone(), "");
            push_known_groups(sql, groups);
        }
        Condition::NameByBits(bits, groups) => {
            push_value(sql, " and case when (t.name_bits & ", *bits, ") <> ");
            sql.push_bind(*bits).push(" then false else true end");
            push_known_groups(sql, groups);
        }
        Condition::OfPatients(patients) => push_value(sql, " and t.patient = any(", patients.clone(), ")"),
        Condition::ListedUnder(modality) => push_value(sql, " and x.modality = ", modality.clone(), ""),
        Condition::ElementLike(name, patterns) => {
            sql.push(" and exists (select from unnest(").push(*name);
            push_value(sql, ") as m where m like any(", patterns.clone(), "))");
        }
        Condition::InListsOf(modalities) => push_value(sql, IN_LISTS_OF, modalities.clone(), ")))"),
        Condition::HasElement(name, values) => {
            // `case`, so that the planner does not guess how many studies have them: that is known better.
            sql.push(" and case when ").push(*name);
            push_value(sql, " && ", values.clone(), " then true else false end");
        }
        Condition::StudyHasSopClass(uids) => push_value(sql, STUDY_HAS_SOP_CLASS, uids.clone(), ")"),
        Condition::Request(wanted) => {
            sql.push(" and exists (select from series_request r where r.series = s.id");
            for (name, wanted) in wanted {
                push_text(sql, name, wanted);
            }
            sql.push(")");
        }
        Condition::SeriesHasSopClass(uids) => push_value(sql, " and s.sop_class_uids && ", uids.clone(), ""),
        Condition::SeriesIs(uids) => push_value(sql, " and s.series_instance_uid = any(", uids.clone(), ")"),
    }
}

const IN_LISTS_OF: &str = " and t.id = any(array(select y.study from study_modality y where y.modality = any(";

const STUDY_HAS_SOP_CLASS: &str = " and exists (select from series c where c.study = t.id and c.sop_class_uids && ";

/// Adds a parameter between two pieces of text.
fn push_value<T>(sql: &mut Sql, before: &'static str, value: T, after: &'static str)
where
    T: for<'q> Encode<'q, Postgres> + Type<Postgres>,
{
    sql.push(before).push_bind(value).push(after);
}

fn push_text(sql: &mut Sql, name: &'static str, wanted: &TextMatch) {
    sql.push(" and ").push(name);
    match wanted {
        TextMatch::Is(value) => sql.push(" = ").push_bind(value.clone()),
        TextMatch::Like(pattern) => sql.push(" like ").push_bind(pattern.clone()),
        TextMatch::AnyOf(values) => sql.push(" = any(").push_bind(values.clone()).push(")"),
        TextMatch::Never => sql.push(" is null and false"),
    };
}

fn push_bounds<T>(sql: &mut Sql, bounds: &Bounds<T>, mut push: impl FnMut(&mut Sql, &'static str, &T)) {
    for (bound, operator) in [(&bounds.from, " >= "), (&bounds.to, " <= ")] {
        if let Some(bound) = bound {
            push(sql, operator, bound);
        }
    }
}

/// An ascending rank is a descending date.
fn push_date_rank(sql: &mut Sql, rank: &'static str, bounds: &Bounds<String>) {
    sql.push(" and ").push(rank).push(" < 2147483647"); // the rank of undated studies
    for (bound, operator) in [(&bounds.from, " <= "), (&bounds.to, " >= ")] {
        if let Some(date) = bound {
            sql.push(" and ").push(rank).push(operator);
            sql.push("(date '0001-01-01' - ").push_bind(date.clone()).push("::date)");
        }
    }
}

/// Adds what the groups must be like, so that the planner does not guess (`case`) how many patients have such names: that
/// is known better.
fn push_known_groups(sql: &mut Sql, groups: &NameGroups) {
    sql.push(" and case when ");
    push_groups(sql, groups);
    sql.push(" then true else false end");
}

/// Adds what the groups must be like; `true` when anything will do.
fn push_groups(sql: &mut Sql, wanted: &NameGroups) {
    let separator = if wanted.any { " or " } else { " and " };
    for (no, (name, group)) in wanted.groups.iter().enumerate() {
        sql.push(if no == 0 { "(" } else { separator });
        match group {
            GroupMatch::Is(value) => {
                sql.push(*name).push(" = ").push_bind(value.clone());
            }
            GroupMatch::LikeOneOf(patterns) => {
                for (no, pattern) in patterns.iter().enumerate() {
                    // One by one: `like any(array)` has no index.
                    sql.push(if no == 0 { "(" } else { " or " }).push(*name).push(" like ").push_bind(pattern.clone());
                }
                sql.push(")");
            }
        }
    }
    sql.push(if wanted.groups.is_empty() { "true" } else { ")" });
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

/// One look at the series of a study; their SOP classes are made a set by the reader.
const STUDY_COUNTS: &str = " cross join lateral (
    select count(*) as study_series, coalesce(sum(s.instances), 0)::bigint as study_instances,
        string_agg(array_to_string(s.sop_class_uids, '\\'), '\\') as sop_classes
    from series s where s.study = m.id) as c";

const COUNT_PATIENTS: &str = "select count(*) from (
    select from patient p
    where exists (select from study t where t.patient = p.id)";

const COUNT_STUDIES: &str = "select count(*) from (
    select from study t";

const COUNT_SERIES: &str = "select count(*) from (
    select from series s join study t on t.id = s.study";

const COUNT_INSTANCES: &str = "select coalesce(sum(m.instances), 0)::bigint from (
    select s.instances from series s join study t on t.id = s.study";
