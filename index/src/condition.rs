//! Keys as SQL conditions: `p` is the patient, `t` the study, `s` the series.

use dicom_core::Tag;
use sqlx::{Postgres, QueryBuilder};

use dicom_data::TagPath;
use dicom_data::query::{InvalidKey, Key, Level, Matching, Query, dates, known_key, text};

/// Where a key is looked for.
#[derive(Debug, Clone, Copy)]
enum Column {
    /// Text, compared as it is.
    Text(&'static str),
    /// Whole number.
    Number(&'static str),
    Date(&'static str),
    /// Study Date, by its rank: one index then gives the restriction and the order of the answers.
    StudyDate,
    Time(&'static str),
    /// Alphabetic, ideographic and phonetic group, folded.
    Name([&'static str; 3]),
    /// Array of text; any element may match.
    List(&'static str),
    /// UIDs in an array of each series of the study.
    SopClasses,
    /// Column of `series_request`.
    Request(&'static str),
}

const MODALITIES: Tag = Tag(0x0008, 0x0061);
const STUDY_DATE: Tag = Tag(0x0008, 0x0020);
const STUDY_TIME: Tag = Tag(0x0008, 0x0030);
const START_DATE: Tag = Tag(0x0040, 0x0244);
const START_TIME: Tag = Tag(0x0040, 0x0245);

fn column(path: &TagPath) -> Option<Column> {
    let column = match path.0.as_slice() {
        [Tag(0x0010, 0x0010)] => {
            Column::Name(["p.patient_name_alphabetic", "p.patient_name_ideographic", "p.patient_name_phonetic"])
        }
        [Tag(0x0010, 0x0020)] => Column::Text("p.patient_id"),
        [Tag(0x0010, 0x0021)] => Column::Text("p.issuer_of_patient_id"),
        [Tag(0x0010, 0x0030)] => Column::Date("p.patient_birth_date"),
        [Tag(0x0010, 0x0040)] => Column::Text("p.patient_sex"),
        [Tag(0x0020, 0x000D)] => Column::Text("t.study_instance_uid"),
        [Tag(0x0008, 0x0020)] => Column::StudyDate,
        [Tag(0x0008, 0x0030)] => Column::Time("t.study_time"),
        [Tag(0x0008, 0x0050)] => Column::Text("t.accession_number"),
        [Tag(0x0020, 0x0010)] => Column::Text("t.study_id"),
        [Tag(0x0008, 0x1030)] => Column::Text("t.study_description"),
        [Tag(0x0008, 0x0090)] => Column::Name([
            "t.referring_physician_alphabetic",
            "t.referring_physician_ideographic",
            "t.referring_physician_phonetic",
        ]),
        [Tag(0x0008, 0x0061)] => Column::List("t.modalities"),
        [Tag(0x0008, 0x0062)] => Column::SopClasses,
        [Tag(0x0020, 0x000E)] => Column::Text("s.series_instance_uid"),
        [Tag(0x0008, 0x0060)] => Column::Text("s.modality"),
        [Tag(0x0020, 0x0011)] => Column::Number("s.series_number"),
        [Tag(0x0008, 0x103E)] => Column::Text("s.series_description"),
        [Tag(0x0040, 0x0244)] => Column::Date("s.performed_procedure_step_start_date"),
        [Tag(0x0040, 0x0245)] => Column::Time("s.performed_procedure_step_start_time"),
        [Tag(0x0040, 0x0275), Tag(0x0040, 0x0009)] => Column::Request("r.scheduled_procedure_step_id"),
        [Tag(0x0040, 0x0275), Tag(0x0040, 0x1001)] => Column::Request("r.requested_procedure_id"),
        _ => return None,
    };
    Some(column)
}

/// Tells whether one value of a key is one patient, study or series, or a few.
pub(crate) fn is_identifier(path: &TagPath) -> bool {
    const IDENTIFIERS: [Tag; 4] = [Tag(0x0010, 0x0020), Tag(0x0020, 0x000D), Tag(0x0008, 0x0050), Tag(0x0020, 0x000E)];
    matches!(path.0.as_slice(), [tag] if IDENTIFIERS.contains(tag))
}

/// Tells whether a key restricts by a column of the patient.
pub(crate) fn is_of_patient(path: &TagPath) -> bool {
    known_key(path).is_some_and(|known| known.level == Level::Patient)
}

/// How a wild card at the beginning of a patient's name is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Infix<'a> {
    /// By the grams of the name: the order of the answers does not matter, or there are few.
    Grams,
    /// These patients have such names.
    Patients(&'a [i64]),
    /// Many patients have such names: studies are looked at in the order of the answers.
    Many,
}

/// How a list of modalities is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listed {
    /// Few studies have one of them: they are taken from the lists of the modalities.
    Few,
    /// Many studies do, or there is no such list: studies are looked at in the order of the answers.
    Many,
}

/// What was looked up first, since it decides how studies are found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Narrowed<'a> {
    pub(crate) infix: Infix<'a>,
    pub(crate) listed: Listed,
}

/// Returns the modalities of a search for any of several, if no key finds few studies.
pub(crate) fn listed_modalities(query: &Query) -> Option<Vec<String>> {
    let mut matched = query.keys.iter().filter(|key| Query::is_matched(&key.path, query.level));
    if query.level == Level::Patient || matched.clone().any(|key| finds_few(&key.path)) {
        return None;
    }
    match &matched.find(|key| key.path.0 == [MODALITIES])?.matching {
        Matching::AnyOf(values) if !values.iter().any(|value| value.contains(['*', '?'])) => {
            Some(values.iter().filter_map(|value| text::normal(value)).collect())
        }
        Matching::AnyOf(_) | Matching::Single(_) | Matching::WildCard(_) | Matching::Range(..) => None,
    }
}

/// Returns the modality by whose list the studies of a search are read, if they are: no key finds fewer of them.
pub(crate) fn by_modality(query: &Query) -> Option<String> {
    let mut matched = query.keys.iter().filter(|key| Query::is_matched(&key.path, query.level));
    if query.level == Level::Patient || matched.clone().any(|key| finds_few(&key.path)) {
        return None;
    }
    let key = matched.find(|key| key.path.0 == [MODALITIES])?;
    match &key.matching {
        Matching::Single(modality) => text::normal(modality),
        Matching::WildCard(_) | Matching::Range(..) | Matching::AnyOf(_) => None,
    }
}

fn finds_few(path: &TagPath) -> bool {
    is_identifier(path) || is_of_patient(path)
}

/// Adds the condition on the name alone, for patients.
pub(crate) fn push_infix(sql: &mut QueryBuilder<Postgres>, query: &Query) -> bool {
    let Some((names, matching, _)) = infix(query) else { return false };
    push_name(sql, names, matching, Infix::Grams);
    true
}

/// Adds only that the name has the grams of the key.
pub(crate) fn push_infix_grams(sql: &mut QueryBuilder<Postgres>, query: &Query) {
    if let Some((.., grams)) = infix(query) {
        sql.push(" and p.name_grams @> ").push_bind(grams);
    }
}

/// Tells whether conditions are on columns of the patient.
pub(crate) fn reads_patient(query: &Query, infix: Infix<'_>) -> bool {
    // Who has the name is known: that is a condition on the study.
    let known = |key: &Key| matches!(infix, Infix::Patients(_)) && infix_of(key).is_some();
    query.keys.iter().any(|key| is_of_patient(&key.path) && !known(key))
}

/// Returns the key of a patient's name with a wild card at its beginning, and its grams.
fn infix(query: &Query) -> Option<([&'static str; 3], &Matching, Vec<i32>)> {
    let mut matched = query.keys.iter().filter(|key| Query::is_matched(&key.path, query.level));
    if query.level == Level::Patient { None } else { matched.find_map(infix_of) }
}

fn infix_of(key: &Key) -> Option<([&'static str; 3], &Matching, Vec<i32>)> {
    let Some(Column::Name(names)) = column(&key.path) else { return None };
    let Matching::WildCard(pattern) = &key.matching else { return None };
    let (any_group, groups) = text::fold_name_pattern(pattern, true);
    let grams = infix_grams(any_group, &groups);
    (names.iter().all(|name| is_patients(name)) && !grams.is_empty()).then_some((names, &key.matching, grams))
}

fn is_patients(name: &str) -> bool {
    name.starts_with("p.")
}

/// Returns the keys that are matched but have no column: they are matched in memory.
pub(crate) fn without_column(query: &Query) -> Vec<Key> {
    let matched = query.keys.iter().filter(|key| Query::is_matched(&key.path, query.level));
    matched.filter(|key| column(&key.path).is_none()).cloned().collect()
}

/// Adds ` and ...` for each key that has a column. `x` is a row of `study_modality` if studies are read by modality.
pub(crate) fn push(sql: &mut QueryBuilder<Postgres>, query: &Query, narrowed: Narrowed<'_>) -> Result<(), InvalidKey> {
    let by_modality = by_modality(query);
    let mut requests: Vec<(&'static str, &Key)> = Vec::new();
    let combined: Vec<Tag> = if query.combined_date_time { push_combined(sql, query) } else { Vec::new() };
    for key in query.keys.iter().filter(|key| Query::is_matched(&key.path, query.level)) {
        if matches!(key.path.0.as_slice(), [tag] if combined.contains(tag)) {
            continue;
        }
        match column(&key.path) {
            Some(Column::Request(name)) => requests.push((name, key)),
            Some(Column::Name(names)) => push_name(sql, names, &key.matching, narrowed.infix),
            Some(Column::StudyDate) => push_study_date(sql, key, by_modality.is_some())?,
            Some(Column::List(name)) => match &by_modality {
                Some(modality) => {
                    sql.push(" and x.modality = ").push_bind(modality.clone());
                }
                None => push_list(sql, name, &key.matching, narrowed.listed),
            },
            Some(column) => push_key(sql, column, key)?,
            None => {}
        }
    }
    if !requests.is_empty() {
        // One and the same item must match all of its keys (QR-031).
        sql.push(" and exists (select from series_request r where r.series = s.id");
        for (name, key) in requests {
            push_text(sql, name, &key.matching);
        }
        sql.push(")");
    }
    Ok(())
}

/// A prefilter for instances: series that have none of the SOP classes are not opened.
pub(crate) fn push_sop_classes(sql: &mut QueryBuilder<Postgres>, query: &Query) {
    let key = query.keys.iter().find(|key| key.path.0 == [Tag(0x0008, 0x0016)]);
    if let Some(uids) = key.and_then(|key| uids(&key.matching))
        && query.level == Level::Instance
    {
        sql.push(" and s.sop_class_uids && ").push_bind(uids);
    }
}

/// Returns the values of a UID key.
pub(crate) fn uids(matching: &Matching) -> Option<Vec<String>> {
    match matching {
        Matching::Single(uid) => Some(vec![uid.clone()]),
        Matching::AnyOf(uids) => Some(uids.clone()),
        Matching::WildCard(_) | Matching::Range(..) => None,
    }
}

fn push_key(sql: &mut QueryBuilder<Postgres>, column: Column, key: &Key) -> Result<(), InvalidKey> {
    match column {
        Column::Text(name) | Column::Request(name) | Column::List(name) => push_text(sql, name, &key.matching),
        Column::Number(name) => {
            let numbers: Vec<i64> = match &key.matching {
                Matching::Single(value) => value.trim().parse().into_iter().collect(),
                Matching::AnyOf(values) => values.iter().filter_map(|v| v.trim().parse().ok()).collect(),
                Matching::WildCard(_) | Matching::Range(..) => {
                    return Err(InvalidKey::new(&key.path, "it must be a whole number"));
                }
            };
            sql.push(" and ").push(name).push(" = any(").push_bind(numbers).push(")");
        }
        Column::Date(name) => push_date(sql, name, key)?,
        Column::StudyDate => push_study_date(sql, key, false)?,
        Column::Time(name) => push_time(sql, name, key)?,
        Column::Name(names) => push_name(sql, names, &key.matching, Infix::Grams),
        Column::SopClasses => {
            let uids = uids(&key.matching).unwrap_or_default();
            sql.push(" and exists (select from series c where c.study = t.id and c.sop_class_uids && ")
                .push_bind(uids)
                .push(")");
        }
    }
    Ok(())
}

fn push_text(sql: &mut QueryBuilder<Postgres>, name: &'static str, matching: &Matching) {
    sql.push(" and ").push(name);
    match matching {
        // An empty value matches no column, for columns are null or not empty.
        Matching::Single(value) => sql.push(" = ").push_bind(text::normal(value)),
        Matching::WildCard(pattern) => {
            sql.push(" like ").push_bind(text::normal(pattern).map(|pattern| text::like(&pattern)))
        }
        Matching::AnyOf(values) => {
            let values: Vec<String> = values.iter().filter_map(|value| text::normal(value)).collect();
            sql.push(" = any(").push_bind(values).push(")")
        }
        Matching::Range(..) => sql.push(" is null and false"),
    };
}

fn push_list(sql: &mut QueryBuilder<Postgres>, name: &'static str, matching: &Matching, listed: Listed) {
    let patterns: Vec<String> = match matching {
        Matching::Single(value) => vec![value.clone()],
        Matching::WildCard(pattern) => vec![pattern.clone()],
        Matching::AnyOf(values) => values.clone(),
        Matching::Range(..) => Vec::new(),
    };
    let patterns: Vec<String> = patterns.iter().filter_map(|value| text::normal(value)).collect();
    if patterns.iter().any(|p| p.contains(['*', '?'])) {
        let like: Vec<String> = patterns.iter().map(|p| text::like(p)).collect();
        sql.push(" and exists (select from unnest(")
            .push(name)
            .push(") as m where m like any(")
            .push_bind(like)
            .push("))");
        return;
    }
    match listed {
        Listed::Few => {
            sql.push(" and t.id = any(array(select y.study from study_modality y where y.modality = any(");
            sql.push_bind(patterns).push(")))");
        }
        Listed::Many => {
            // `case`, so that the planner does not guess how many studies have them: that is known better.
            sql.push(" and case when ").push(name).push(" && ").push_bind(patterns).push(" then true else false end");
        }
    }
}

fn push_name(sql: &mut QueryBuilder<Postgres>, names: [&'static str; 3], matching: &Matching, infix: Infix<'_>) {
    let (pattern, wild) = match matching {
        Matching::Single(pattern) => (pattern, false),
        Matching::WildCard(pattern) => (pattern, true),
        Matching::AnyOf(_) | Matching::Range(..) => {
            sql.push(" and false");
            return;
        }
    };
    let (any_group, groups) = text::fold_name_pattern(pattern, wild);
    let [first, ..] = names;
    let grams = if wild && is_patients(first) { infix_grams(any_group, &groups) } else { Vec::new() };
    if grams.is_empty() {
        sql.push(" and ");
        push_name_groups(sql, names, any_group, &groups, wild);
        return;
    }
    match infix {
        Infix::Patients(patients) => {
            sql.push(" and t.patient = any(").push_bind(patients.to_vec()).push(")");
            return;
        }
        Infix::Grams => {
            sql.push(" and p.name_grams @> ").push_bind(grams);
        }
        Infix::Many => {
            // Most studies of others are passed without a look at their patient. Null: stored before there were bits.
            let bits = text::gram_bits(&grams);
            sql.push(" and case when (t.name_bits & ").push_bind(bits).push(") <> ").push_bind(bits);
            sql.push(" then false else true end");
        }
    }
    // `case`, so that the planner does not guess how many patients have such names: that is known better.
    sql.push(" and case when ");
    push_name_groups(sql, names, any_group, &groups, wild);
    sql.push(" then true else false end");
}

/// Adds what the groups must be like; `true` when anything will do.
fn push_name_groups(
    sql: &mut QueryBuilder<Postgres>,
    names: [&'static str; 3],
    any_group: bool,
    groups: &[Option<String>; 3],
    wild: bool,
) {
    let [first, ..] = groups;
    let patterns: [Option<&String>; 3] =
        if any_group { [first.as_ref(); 3] } else { groups.each_ref().map(Option::as_ref) };
    let separator = if any_group { " or " } else { " and " };
    let mut count = 0;
    for (name, pattern) in names.into_iter().zip(patterns) {
        let Some(pattern) = pattern else { continue };
        sql.push(if count == 0 { "(" } else { separator });
        count += 1;
        push_name_group(sql, name, pattern, wild);
    }
    sql.push(if count == 0 { "true" } else { ")" });
}

fn push_name_group(sql: &mut QueryBuilder<Postgres>, name: &'static str, pattern: &str, wild: bool) {
    if !wild {
        sql.push(name).push(" = ").push_bind(pattern.to_owned());
        return;
    }
    for (no, pattern) in text::name_alternatives(pattern).iter().enumerate() {
        // One by one: `like any(array)` has no index.
        sql.push(if no == 0 { "(" } else { " or " }).push(name).push(" like ").push_bind(text::like(pattern));
    }
    sql.push(")");
}

/// Returns the grams that names have which match all patterns; none when a pattern begins with a letter, for that is
/// looked up in the order of the names.
fn infix_grams(any_group: bool, groups: &[Option<String>; 3]) -> Vec<i32> {
    let patterns: Vec<&String> = groups.iter().take(if any_group { 1 } else { 3 }).flatten().collect();
    if patterns.iter().any(|pattern| !pattern.starts_with(['*', '?'])) {
        return Vec::new();
    }
    // The shortest of the alternatives is part of all of them.
    let shortest: Vec<String> =
        patterns.iter().filter_map(|pattern| text::name_alternatives(pattern.as_str()).pop()).collect();
    text::grams(shortest.iter().flat_map(|pattern| pattern.split(['*', '?'])))
}

fn bounds(matching: &Matching) -> (Option<&String>, Option<&String>) {
    match matching {
        Matching::Single(value) => (Some(value), Some(value)),
        Matching::Range(from, to) => (from.as_ref(), to.as_ref()),
        Matching::WildCard(_) | Matching::AnyOf(_) => (None, None),
    }
}

fn push_date(sql: &mut QueryBuilder<Postgres>, name: &'static str, key: &Key) -> Result<(), InvalidKey> {
    let (from, to) = date_bounds(key)?;
    for (bound, operator) in [(from, " >= "), (to, " <= ")] {
        if let Some(date) = bound {
            sql.push(" and ").push(name).push(operator).push_bind(date).push("::date");
        }
    }
    Ok(())
}

fn push_study_date(sql: &mut QueryBuilder<Postgres>, key: &Key, by_modality: bool) -> Result<(), InvalidKey> {
    let (from, to) = date_bounds(key)?;
    let rank = if by_modality { " and x.date_rank" } else { " and t.date_rank" };
    sql.push(rank).push(" < 2147483647"); // the rank of undated studies
    for (bound, operator) in [(from, " <= "), (to, " >= ")] {
        if let Some(date) = bound {
            sql.push(rank).push(operator).push("(date '0001-01-01' - ").push_bind(date).push("::date)");
        }
    }
    Ok(())
}

/// Returns from and to in ISO 8601, one of them at least.
fn date_bounds(key: &Key) -> Result<(Option<String>, Option<String>), InvalidKey> {
    let invalid = || InvalidKey::new(&key.path, "it must be a date or a range of dates");
    let read = |end: &String| dates::date_end(end).ok_or_else(invalid);
    match bounds(&key.matching) {
        (None, None) => Err(invalid()),
        (from, to) => {
            let (from, to) = (from.map(read).transpose()?, to.map(read).transpose()?);
            Ok((from.map(|(first, _)| first.to_string()), to.map(|(_, last)| last.to_string())))
        }
    }
}

fn push_time(sql: &mut QueryBuilder<Postgres>, name: &'static str, key: &Key) -> Result<(), InvalidKey> {
    let (from, to) = bounds(&key.matching);
    let read = |bound: &String| {
        dates::time(bound).ok_or_else(|| InvalidKey::new(&key.path, "it must be a valid time or a range of times"))
    };
    if from.is_none() && to.is_none() {
        return Err(InvalidKey::new(&key.path, "it must be a time or a range of times"));
    }
    if let Some(from) = from {
        sql.push(" and ").push(name).push(" >= ").push_bind(read(from)?.first);
    }
    if let Some(to) = to {
        sql.push(" and ").push(name).push(" <= ").push_bind(read(to)?.last);
    }
    Ok(())
}

/// Takes a range of dates and a range of times as one interval of moments (PS3.4 §C.2.2.2.5.1, WE-054) and returns the
/// tags that need no condition of their own any more. A stored date without a time is the beginning of its day.
fn push_combined(sql: &mut QueryBuilder<Postgres>, query: &Query) -> Vec<Tag> {
    let pairs = [
        (STUDY_DATE, STUDY_TIME, "(t.study_date, coalesce(t.study_time, 0))"),
        (
            START_DATE,
            START_TIME,
            "(s.performed_procedure_step_start_date, coalesce(s.performed_procedure_step_start_time, 0))",
        ),
    ];
    let mut done = Vec::new();
    for (date_tag, time_tag, columns) in pairs {
        let range = |tag: Tag| {
            let key = query.keys.iter().find(|key| key.path.0 == [tag])?;
            let matched = Query::is_matched(&key.path, query.level);
            match &key.matching {
                Matching::Range(from, to) if matched => Some((from.as_deref(), to.as_deref())),
                Matching::Range(..) | Matching::Single(_) | Matching::WildCard(_) | Matching::AnyOf(_) => None,
            }
        };
        let (Some(days), Some(times)) = (range(date_tag), range(time_tag)) else {
            continue;
        };
        let from = days.0.and_then(dates::date_end).map(|(first, _)| first);
        let to = days.1.and_then(dates::date_end).map(|(_, last)| last);
        let first = times.0.and_then(dates::time).map_or(0, |span| span.first);
        let last = times.1.and_then(dates::time).map_or(dates::DAY_MICROS - 1, |span| span.last);
        for (day, micros, operator) in [(from, first, " >= ("), (to, last, " <= (")] {
            let Some(day) = day else { continue };
            sql.push(" and ").push(columns).push(operator);
            sql.push_bind(day.to_string()).push("::date, ").push_bind(micros).push(")");
        }
        // The dates still restrict on their own, which an index understands.
        done.push(time_tag);
    }
    done
}

/// Tells whether the study, or the series, is named by its UID.
pub(crate) fn names_parents(query: &Query) -> bool {
    query.keys.iter().any(|key| {
        [Tag(0x0020, 0x000D), Tag(0x0020, 0x000E)].iter().any(|tag| key.path.0 == [*tag])
            && known_key(&key.path).is_some()
    })
}
