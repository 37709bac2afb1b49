//! The plan of a search, decided once from the query and from what was looked up before. Pure.
//!
//! Studies are found in one of three ways: in the order of answers, from the list of one modality, or, for a name that
//! many patients have, by walking the index of the order. The plan says which, what is joined, and what rows must fulfil;
//! `plan_sql` renders it.

use std::collections::BTreeSet;

use dicom_core::Tag;
use dicom_data::query::{InvalidKey, Key, Level, Matching, Query, known_key, text};
use dicom_data::{TagPath, Uid};

use crate::columns::{Column, column, finds_few, is_identifier, is_of_patient, is_patients};
use crate::condition::{
    Condition, NameKey, TextMatch, date_bounds, moment_bounds, numbers, text_match, time_bounds, uids,
};

const MODALITIES: Tag = Tag(0x0008, 0x0061);
const STUDY_DATE: Tag = Tag(0x0008, 0x0020);
const STUDY_TIME: Tag = Tag(0x0008, 0x0030);
const START_DATE: Tag = Tag(0x0040, 0x0244);
const START_TIME: Tag = Tag(0x0040, 0x0245);
const SOP_CLASS_UID: Tag = Tag(0x0008, 0x0016);
const SOP_INSTANCE_UID: Tag = Tag(0x0008, 0x0018);
const STUDY_INSTANCE_UID: Tag = Tag(0x0020, 0x000D);
const SERIES_INSTANCE_UID: Tag = Tag(0x0020, 0x000E);

/// What must be looked up before a search is planned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lookups {
    /// A patient's name with a wild card at its beginning: few or many patients may have it.
    pub(crate) name: Option<NameKey>,
    /// Several modalities: few or many studies may have one of them.
    pub(crate) modalities: Option<Vec<String>>,
    /// SOP Instance UIDs alone: the statement then reads their series, not all of them.
    pub(crate) instances: BTreeSet<Uid>,
}

/// What was looked up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    pub(crate) name: NameFact,
    pub(crate) modalities: ModalitiesFact,
    /// Series of the wanted instances, when only those are named.
    pub(crate) series: Option<Vec<String>>,
}

/// How many patients have a name with a wild card at its beginning.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NameFact {
    /// Not looked up: there is no such name, or the order of the answers does not matter.
    Unknown,
    /// These few.
    Few(Vec<i64>),
    /// Many: studies are looked at in the order of the answers.
    Many,
}

/// How many studies have one of several modalities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModalitiesFact {
    /// Few: they are taken from the lists of the modalities.
    Few,
    /// Many, or there is no such list: studies are looked at in the order of the answers.
    Many,
}

/// How a search is done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) level: Level,
    /// How studies are found.
    pub(crate) strategy: Strategy,
    /// Whether conditions are on columns of the patient.
    pub(crate) joins_patient: bool,
    /// What rows must fulfil, in the order of the statement.
    pub(crate) conditions: Vec<Condition>,
    /// Keys without a column: they are matched in memory.
    pub(crate) in_memory: Vec<Key>,
    /// The only instances that are wanted, if they are named.
    pub(crate) instances: BTreeSet<Uid>,
    /// Whether the best way to read does not depend on the values: such a statement is kept prepared, for planning is half
    /// of its time. All others are planned with their very values: what an index is worth depends on them.
    pub(crate) is_kept: bool,
}

/// How studies are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// By the conditions, in the order of answers.
    InOrder,
    /// From the list of one modality, which is in the order of answers.
    ByModality,
    /// Many studies are passed by for a page: the index of their order has all that decides, and rows are read for the page
    /// only.
    Walk,
}

impl Lookups {
    /// Decides what to look up for a query.
    pub(crate) fn of(query: &Query) -> Self {
        let named = query.keys.iter().any(|key| {
            [STUDY_INSTANCE_UID, SERIES_INSTANCE_UID].iter().any(|tag| key.path.0 == [*tag])
                && known_key(&key.path).is_some()
        });
        Self {
            name: if query.level == Level::Patient { None } else { matched(query).find_map(infix_name) },
            modalities: several_modalities(query),
            instances: if named { BTreeSet::new() } else { wanted_instances(query) },
        }
    }
}

impl Default for Facts {
    /// Nothing was looked up.
    fn default() -> Self {
        Self { name: NameFact::Unknown, modalities: ModalitiesFact::Many, series: None }
    }
}

impl Plan {
    /// Decides how to search.
    pub(crate) fn of(query: &Query, facts: &Facts) -> Result<Self, InvalidKey> {
        let modality = one_modality(query);
        let walks = query.level == Level::Study && facts.name == NameFact::Many;
        let by_one_value = |key: &Key| is_identifier(&key.path) && matches!(key.matching, Matching::Single(_));
        Ok(Self {
            level: query.level,
            strategy: match (walks, &modality) {
                (_, Some(_)) => Strategy::ByModality,
                (true, None) => Strategy::Walk,
                (false, None) => Strategy::InOrder,
            },
            joins_patient: joins_patient(query, &facts.name),
            conditions: conditions(query, facts, modality.as_deref())?,
            in_memory: without_column(query),
            instances: wanted_instances(query),
            is_kept: facts.series.is_none() && (matched(query).any(by_one_value) || matched(query).next().is_none()),
        })
    }
}

/// Returns the keys that are matched but have no column: they are matched in memory.
pub(crate) fn without_column(query: &Query) -> Vec<Key> {
    matched(query).filter(|key| column(&key.path).is_none()).cloned().collect()
}

fn matched(query: &Query) -> impl Iterator<Item = &Key> {
    query.keys.iter().filter(|key| Query::is_matched(&key.path, query.level))
}

/// Returns the key of the modalities, if no other key finds few studies.
fn modalities_key(query: &Query) -> Option<&Matching> {
    if query.level == Level::Patient || matched(query).any(|key| finds_few(&key.path)) {
        return None;
    }
    matched(query).find(|key| key.path.0 == [MODALITIES]).map(|key| &key.matching)
}

/// Returns the modality by whose list the studies of a search are read, if they are.
fn one_modality(query: &Query) -> Option<String> {
    match modalities_key(query)? {
        Matching::Single(modality) => text::normal(modality),
        Matching::WildCard(_) | Matching::Range(..) | Matching::AnyOf(_) => None,
    }
}

/// Returns the modalities of a search for any of several.
fn several_modalities(query: &Query) -> Option<Vec<String>> {
    match modalities_key(query)? {
        Matching::AnyOf(values) if !values.iter().any(|value| value.contains(['*', '?'])) => {
            Some(values.iter().filter_map(|value| text::normal(value)).collect())
        }
        Matching::AnyOf(_) | Matching::Single(_) | Matching::WildCard(_) | Matching::Range(..) => None,
    }
}

/// Reads a key of a patient's name with a wild card at its beginning.
fn infix_name(key: &Key) -> Option<NameKey> {
    let Some(Column::Name(names)) = column(&key.path) else { return None };
    let name = NameKey::new(names, &key.matching)?;
    (names.iter().all(|name| is_patients(name)) && !name.grams.is_empty()).then_some(name)
}

/// Tells whether conditions are on columns of the patient. When it is known which patients have the name, that is a
/// condition on the study.
fn joins_patient(query: &Query, name: &NameFact) -> bool {
    let known = |key: &Key| matches!(name, NameFact::Few(_)) && infix_name(key).is_some();
    query.keys.iter().any(|key| is_of_patient(&key.path) && !known(key))
}

fn wanted_instances(query: &Query) -> BTreeSet<Uid> {
    if query.level != Level::Instance {
        return BTreeSet::new();
    }
    let key = query.keys.iter().find(|key| key.path.0 == [SOP_INSTANCE_UID]);
    let wanted = key.and_then(|key| uids(&key.matching)).unwrap_or_default();
    wanted.iter().filter_map(|uid| uid.parse().ok()).collect()
}

fn conditions(query: &Query, facts: &Facts, modality: Option<&str>) -> Result<Vec<Condition>, InvalidKey> {
    let mut all = Vec::new();
    let mut requests: Vec<(&'static str, TextMatch)> = Vec::new();
    let combined: Vec<Tag> = if query.combined_date_time { push_moments(&mut all, query) } else { Vec::new() };
    for key in matched(query).filter(|key| !is_one_of(&key.path, &combined)) {
        match column(&key.path) {
            Some(Column::Request(name)) => requests.push((name, text_match(&key.matching))),
            Some(column) => all.push(condition(column, key, facts, modality)?),
            None => {}
        }
    }
    if !requests.is_empty() {
        all.push(Condition::Request(requests));
    }
    let sop_class = query.keys.iter().find(|key| key.path.0 == [SOP_CLASS_UID] && query.level == Level::Instance);
    all.extend(sop_class.and_then(|key| uids(&key.matching)).map(Condition::SeriesHasSopClass));
    all.extend(facts.series.clone().map(Condition::SeriesIs));
    Ok(all)
}

fn is_one_of(path: &TagPath, tags: &[Tag]) -> bool {
    matches!(path.0.as_slice(), [tag] if tags.contains(tag))
}

/// Adds intervals of moments; returns the tags that need no condition of their own any more.
fn push_moments(all: &mut Vec<Condition>, query: &Query) -> Vec<Tag> {
    const PAIRS: [(Tag, Tag, &str); 2] = [
        (STUDY_DATE, STUDY_TIME, "(t.study_date, coalesce(t.study_time, 0))"),
        (
            START_DATE,
            START_TIME,
            "(s.performed_procedure_step_start_date, coalesce(s.performed_procedure_step_start_time, 0))",
        ),
    ];
    let mut done = Vec::new();
    for (date, time, columns) in PAIRS {
        if let Some(bounds) = moment_bounds(query, date, time) {
            all.push(Condition::Moment(columns, bounds));
            done.push(time);
        }
    }
    done
}

fn condition(column: Column, key: &Key, facts: &Facts, modality: Option<&str>) -> Result<Condition, InvalidKey> {
    Ok(match column {
        Column::Text(name) | Column::Request(name) => Condition::Text(name, text_match(&key.matching)),
        Column::Number(name) => Condition::Numbers(name, numbers(key)?),
        Column::Date(name) => Condition::Date(name, date_bounds(key)?),
        Column::StudyDate => {
            let rank = if modality.is_some() { "x.date_rank" } else { "t.date_rank" };
            Condition::DateRank(rank, date_bounds(key)?)
        }
        Column::Time(name) => Condition::Time(name, time_bounds(key)?),
        Column::Name(names) => name_condition(NameKey::new(names, &key.matching), &facts.name),
        Column::List(name) => match modality {
            Some(modality) => Condition::ListedUnder(modality.to_owned()),
            None => list_condition(name, &key.matching, facts.modalities),
        },
        Column::SopClasses => Condition::StudyHasSopClass(uids(&key.matching).unwrap_or_default()),
    })
}

fn name_condition(name: Option<NameKey>, fact: &NameFact) -> Condition {
    let Some(NameKey { groups, grams }) = name else { return Condition::Never };
    if grams.is_empty() {
        return Condition::Name(groups);
    }
    match fact {
        NameFact::Unknown => Condition::NameByGrams(grams, groups),
        NameFact::Few(patients) => Condition::OfPatients(patients.clone()),
        NameFact::Many => Condition::NameByBits(text::gram_bits(&grams), groups),
    }
}

fn list_condition(name: &'static str, matching: &Matching, fact: ModalitiesFact) -> Condition {
    let patterns: Vec<String> = match matching {
        Matching::Single(value) | Matching::WildCard(value) => vec![value.clone()],
        Matching::AnyOf(values) => values.clone(),
        Matching::Range(..) => Vec::new(),
    };
    let patterns: Vec<String> = patterns.iter().filter_map(|value| text::normal(value)).collect();
    if patterns.iter().any(|pattern| pattern.contains(['*', '?'])) {
        return Condition::ElementLike(name, patterns.iter().map(|pattern| text::like(pattern)).collect());
    }
    match fact {
        ModalitiesFact::Few => Condition::InListsOf(patterns),
        ModalitiesFact::Many => Condition::HasElement(name, patterns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &[Tag] = &[Tag(0x0010, 0x0010)];

    fn query(level: Level, keys: &[(&[Tag], Matching)]) -> Query {
        let key =
            |(path, matching): &(&[Tag], Matching)| Key { path: TagPath(path.to_vec()), matching: matching.clone() };
        Query { level, keys: keys.iter().map(key).collect(), limit: None, offset: 0, combined_date_time: false }
    }

    fn single(value: &str) -> Matching {
        Matching::Single(value.into())
    }

    fn plan(query: &Query, facts: &Facts) -> Plan {
        Plan::of(query, facts).unwrap()
    }

    #[test]
    fn studies_of_one_modality_are_read_from_its_list() {
        let ct = query(Level::Study, &[(&[MODALITIES], single("CT"))]);
        assert_eq!(Lookups::of(&ct), Lookups { name: None, modalities: None, instances: BTreeSet::new() });
        let found = plan(&ct, &Facts::default());
        assert_eq!((found.strategy, found.joins_patient, found.is_kept), (Strategy::ByModality, false, false));
        assert_eq!(found.conditions, [Condition::ListedUnder("CT".into())]);
        // A study that is named is found by its name.
        let named = query(Level::Study, &[(&[MODALITIES], single("CT")), (&[STUDY_INSTANCE_UID], single("1.2"))]);
        let found = plan(&named, &Facts::default());
        assert_eq!((found.strategy, found.is_kept), (Strategy::InOrder, true));
        assert_eq!(found.conditions[0], Condition::HasElement("t.modalities", vec!["CT".into()]));
    }

    #[test]
    fn several_modalities_are_looked_up_first() {
        let several = query(Level::Study, &[(&[MODALITIES], Matching::AnyOf(vec!["CT".into(), "MR".into()]))]);
        let modalities = vec!["CT".to_owned(), "MR".to_owned()];
        assert_eq!(Lookups::of(&several).modalities, Some(modalities.clone()));
        let few = Facts { modalities: ModalitiesFact::Few, ..Facts::default() };
        assert_eq!(plan(&several, &few).conditions, [Condition::InListsOf(modalities.clone())]);
        let found = plan(&several, &Facts::default());
        assert_eq!(found.conditions, [Condition::HasElement("t.modalities", modalities)]);
        assert_eq!(found.strategy, Strategy::InOrder);
    }

    #[test]
    fn a_name_with_a_wild_card_at_its_beginning_is_looked_up_first() {
        let infix = query(Level::Study, &[(NAME, Matching::WildCard("*doe*".into()))]);
        let NameKey { groups, grams } = Lookups::of(&infix).name.unwrap();
        let few = Facts { name: NameFact::Few(vec![4, 5]), ..Facts::default() };
        let found = plan(&infix, &few);
        assert_eq!((found.strategy, found.joins_patient), (Strategy::InOrder, false));
        assert_eq!(found.conditions, [Condition::OfPatients(vec![4, 5])]);
        let many = Facts { name: NameFact::Many, ..Facts::default() };
        let found = plan(&infix, &many);
        assert_eq!((found.strategy, found.joins_patient), (Strategy::Walk, true));
        assert_eq!(found.conditions, [Condition::NameByBits(text::gram_bits(&grams), groups.clone())]);
        // Counting does not care for the order.
        assert_eq!(plan(&infix, &Facts::default()).conditions, [Condition::NameByGrams(grams, groups)]);
        // Patients are few, and a name that begins with a letter has an index.
        assert_eq!(Lookups::of(&query(Level::Patient, &[(NAME, Matching::WildCard("*doe".into()))])).name, None);
        let prefix = query(Level::Study, &[(NAME, Matching::WildCard("doe*".into()))]);
        assert_eq!(Lookups::of(&prefix).name, None);
        assert!(matches!(plan(&prefix, &Facts::default()).conditions.as_slice(), [Condition::Name(_)]));
    }

    #[test]
    fn instances_that_are_named_alone_are_looked_up_first() {
        let sop = (&[SOP_INSTANCE_UID][..], single("1.2.3"));
        let alone = query(Level::Instance, std::slice::from_ref(&sop));
        assert_eq!(Lookups::of(&alone).instances.len(), 1);
        let facts = Facts { series: Some(vec!["1.2".into()]), ..Facts::default() };
        let found = plan(&alone, &facts);
        assert_eq!(found.conditions, [Condition::SeriesIs(vec!["1.2".into()])]);
        assert_eq!((found.instances.len(), found.in_memory.len(), found.is_kept), (1, 1, false));
        let within = query(Level::Instance, &[sop, (&[SERIES_INSTANCE_UID], single("1.2"))]);
        assert!(Lookups::of(&within).instances.is_empty());
        assert_eq!(plan(&within, &Facts::default()).instances.len(), 1);
    }

    #[test]
    fn dates_and_times_are_one_interval_when_they_are_combined() {
        let range = |from: &str| Matching::Range(Some(from.into()), None);
        let keys = [(&[STUDY_DATE][..], range("20240105")), (&[STUDY_TIME][..], range("1030"))];
        let separate = query(Level::Study, &keys);
        let ten_thirty = 37_800_000_000;
        let day =
            Condition::DateRank("t.date_rank", crate::condition::Bounds { from: Some("2024-01-05".into()), to: None });
        let time = Condition::Time("t.study_time", crate::condition::Bounds { from: Some(ten_thirty), to: None });
        assert_eq!(plan(&separate, &Facts::default()).conditions, [day.clone(), time]);
        let combined = Query { combined_date_time: true, ..separate };
        let moment = Condition::Moment(
            "(t.study_date, coalesce(t.study_time, 0))",
            crate::condition::Bounds { from: Some(("2024-01-05".into(), ten_thirty)), to: None },
        );
        assert_eq!(plan(&combined, &Facts::default()).conditions, [moment, day]);
    }

    #[test]
    fn a_key_that_cannot_be_read_is_refused() {
        for (path, matching) in
            [(&[STUDY_DATE], single("yesterday")), (&[Tag(0x0020, 0x0011)], Matching::WildCard("1*".into()))]
        {
            assert!(Plan::of(&query(Level::Series, &[(path, matching)]), &Facts::default()).is_err());
        }
    }
}
