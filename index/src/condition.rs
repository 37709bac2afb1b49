//! What rows of a search must fulfil: keys as conditions on columns, with their values read and folded. Pure.

use dicom_core::Tag;
use dicom_data::query::{InvalidKey, Key, Matching, Query, dates, text};

use crate::columns::is_patients;

/// A condition on rows. `x` is a row of `study_modality`, when studies are read from the list of one modality.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    /// No row fulfils it.
    Never,
    /// A text column.
    Text(&'static str, TextMatch),
    /// A whole number is one of these.
    Numbers(&'static str, Vec<i64>),
    /// A date, from and to in ISO 8601.
    Date(&'static str, Bounds<String>),
    /// Study Date by the rank column, from and to in ISO 8601: one index then gives the restriction and the order.
    DateRank(&'static str, Bounds<String>),
    /// A time in microseconds since midnight.
    Time(&'static str, Bounds<i64>),
    /// Date and time as one moment (PS3.4 §C.2.2.2.5.1, WE-054). A stored date without a time is the beginning of its day.
    Moment(&'static str, Bounds<(String, i64)>),
    /// Component groups of a name.
    Name(NameGroups),
    /// A name with a wild card at its beginning, found by the grams of the name.
    NameByGrams(Vec<i32>, NameGroups),
    /// As above, but studies are passed in the order of answers. Most of other patients are passed by the bits of the name
    /// without a look at their patient. Null: stored before there were bits.
    NameByBits(i64, NameGroups),
    /// The study is of one of these patients.
    OfPatients(Vec<i64>),
    /// The study is read from the list of this modality.
    ListedUnder(String),
    /// An element of an array column is like one of these patterns.
    ElementLike(&'static str, Vec<String>),
    /// The study is in the list of one of these modalities.
    InListsOf(Vec<String>),
    /// An array column has one of these elements.
    HasElement(&'static str, Vec<String>),
    /// A series of the study has one of these SOP classes.
    StudyHasSopClass(Vec<String>),
    /// One and the same item of Request Attributes Sequence fulfils all of these (QR-031).
    Request(Vec<(&'static str, TextMatch)>),
    /// The series has one of these SOP classes: others are not opened in a search for instances.
    SeriesHasSopClass(Vec<String>),
    /// The series is one of these.
    SeriesIs(Vec<String>),
}

/// How a text column is compared. An empty value matches no column, for columns are null or not empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TextMatch {
    Is(Option<String>),
    Like(Option<String>),
    AnyOf(Vec<String>),
    Never,
}

/// From and to, both inclusive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bounds<T> {
    pub(crate) from: Option<T>,
    pub(crate) to: Option<T>,
}

/// What the component groups of a name must be like: any of them, or each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NameGroups {
    pub(crate) any: bool,
    pub(crate) groups: Vec<(&'static str, GroupMatch)>,
}

/// What one component group must be like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GroupMatch {
    Is(String),
    LikeOneOf(Vec<String>),
}

/// A name key, folded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NameKey {
    pub(crate) groups: NameGroups,
    /// Grams of a patient's name with a wild card at its beginning; none for every other name.
    pub(crate) grams: Vec<i32>,
}

impl NameKey {
    /// Folds a key; `None` when no name can match it.
    pub(crate) fn new(columns: [&'static str; 3], matching: &Matching) -> Option<Self> {
        let (pattern, wild) = match matching {
            Matching::Single(pattern) => (pattern, false),
            Matching::WildCard(pattern) => (pattern, true),
            Matching::AnyOf(_) | Matching::Range(..) => return None,
        };
        let (any, patterns) = text::fold_name_pattern(pattern, wild);
        let [first, ..] = columns;
        let grams = if wild && is_patients(first) { infix_grams(any, &patterns) } else { Vec::new() };
        Some(Self { groups: NameGroups::new(columns, any, &patterns, wild), grams })
    }
}

impl NameGroups {
    fn new(columns: [&'static str; 3], any: bool, patterns: &[Option<String>; 3], wild: bool) -> Self {
        let [first, ..] = patterns;
        let wanted: [Option<&String>; 3] =
            if any { [first.as_ref(); 3] } else { patterns.each_ref().map(Option::as_ref) };
        let group = |pattern: &String| {
            if !wild {
                return GroupMatch::Is(pattern.clone());
            }
            GroupMatch::LikeOneOf(text::name_alternatives(pattern).iter().map(|p| text::like(p)).collect())
        };
        let groups = columns.into_iter().zip(wanted).filter_map(|(column, pattern)| Some((column, group(pattern?))));
        Self { any, groups: groups.collect() }
    }
}

/// Returns the grams that names have which match all patterns; none when a pattern begins with a letter, for that is
/// looked up in the order of the names.
fn infix_grams(any: bool, patterns: &[Option<String>; 3]) -> Vec<i32> {
    let patterns: Vec<&String> = patterns.iter().take(if any { 1 } else { 3 }).flatten().collect();
    if patterns.iter().any(|pattern| !pattern.starts_with(['*', '?'])) {
        return Vec::new();
    }
    // The shortest of the alternatives is part of all of them.
    let shortest: Vec<String> =
        patterns.iter().filter_map(|pattern| text::name_alternatives(pattern.as_str()).pop()).collect();
    text::grams(shortest.iter().flat_map(|pattern| pattern.split(['*', '?'])))
}

/// Reads a key of a text column.
pub(crate) fn text_match(matching: &Matching) -> TextMatch {
    match matching {
        Matching::Single(value) => TextMatch::Is(text::normal(value)),
        Matching::WildCard(pattern) => TextMatch::Like(text::normal(pattern).map(|pattern| text::like(&pattern))),
        Matching::AnyOf(values) => TextMatch::AnyOf(values.iter().filter_map(|value| text::normal(value)).collect()),
        Matching::Range(..) => TextMatch::Never,
    }
}

/// Reads a key of a number column.
pub(crate) fn numbers(key: &Key) -> Result<Vec<i64>, InvalidKey> {
    match &key.matching {
        Matching::Single(value) => Ok(value.trim().parse().into_iter().collect()),
        Matching::AnyOf(values) => Ok(values.iter().filter_map(|v| v.trim().parse().ok()).collect()),
        Matching::WildCard(_) | Matching::Range(..) => Err(InvalidKey::new(&key.path, "it must be a whole number")),
    }
}

/// Reads a key of a date column: from and to in ISO 8601, one of them at least.
pub(crate) fn date_bounds(key: &Key) -> Result<Bounds<String>, InvalidKey> {
    let invalid = || InvalidKey::new(&key.path, "it must be a date or a range of dates");
    let read = |end: &String| dates::date_end(end).ok_or_else(invalid);
    match bounds(&key.matching) {
        (None, None) => Err(invalid()),
        (from, to) => {
            let (from, to) = (from.map(read).transpose()?, to.map(read).transpose()?);
            Ok(Bounds { from: from.map(|(first, _)| first.to_string()), to: to.map(|(_, last)| last.to_string()) })
        }
    }
}

/// Reads a key of a time column.
pub(crate) fn time_bounds(key: &Key) -> Result<Bounds<i64>, InvalidKey> {
    let (from, to) = bounds(&key.matching);
    let read = |bound: &String| {
        dates::time(bound).ok_or_else(|| InvalidKey::new(&key.path, "it must be a valid time or a range of times"))
    };
    if from.is_none() && to.is_none() {
        return Err(InvalidKey::new(&key.path, "it must be a time or a range of times"));
    }
    let from = from.map(read).transpose()?.map(|span| span.first);
    Ok(Bounds { from, to: to.map(read).transpose()?.map(|span| span.last) })
}

fn bounds(matching: &Matching) -> (Option<&String>, Option<&String>) {
    match matching {
        Matching::Single(value) => (Some(value), Some(value)),
        Matching::Range(from, to) => (from.as_ref(), to.as_ref()),
        Matching::WildCard(_) | Matching::AnyOf(_) => (None, None),
    }
}

/// Takes a range of dates and a range of times as one interval of moments; `None` unless the query has both. The dates
/// still restrict by themselves, which an index understands; the times need no condition of their own any more.
pub(crate) fn moment_bounds(query: &Query, date_tag: Tag, time_tag: Tag) -> Option<Bounds<(String, i64)>> {
    let range = |tag: Tag| {
        let key = query.keys.iter().find(|key| key.path.0 == [tag])?;
        let matched = Query::is_matched(&key.path, query.level);
        match &key.matching {
            Matching::Range(from, to) if matched => Some((from.as_deref(), to.as_deref())),
            Matching::Range(..) | Matching::Single(_) | Matching::WildCard(_) | Matching::AnyOf(_) => None,
        }
    };
    let (days, times) = (range(date_tag)?, range(time_tag)?);
    let from = days.0.and_then(dates::date_end).map(|(first, _)| first.to_string());
    let to = days.1.and_then(dates::date_end).map(|(_, last)| last.to_string());
    let first = times.0.and_then(dates::time).map_or(0, |span| span.first);
    let last = times.1.and_then(dates::time).map_or(dates::DAY_MICROS - 1, |span| span.last);
    Some(Bounds { from: from.map(|day| (day, first)), to: to.map(|day| (day, last)) })
}

/// Returns the values of a UID key.
pub(crate) fn uids(matching: &Matching) -> Option<Vec<String>> {
    match matching {
        Matching::Single(uid) => Some(vec![uid.clone()]),
        Matching::AnyOf(uids) => Some(uids.clone()),
        Matching::WildCard(_) | Matching::Range(..) => None,
    }
}
