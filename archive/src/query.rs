//! Queries: levels, keys and matching (PS3.4 §C), the same for C-FIND and QIDO-RS.

use crate::dataset::TagPath;

/// A level of the information model (PS3.4 §C.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// PATIENT, Patient Root only.
    Patient,
    /// STUDY.
    Study,
    /// SERIES.
    Series,
    /// IMAGE in DIMSE, instances in DICOMweb.
    Instance,
}

/// One search. Results come in a stable order: study date descending, then the UIDs.
#[derive(Debug, Clone)]
pub struct Query {
    /// What one match is.
    pub level: Level,
    /// Keys that restrict; a universal key is simply not here.
    pub keys: Vec<Key>,
    /// At most so many matches.
    pub limit: Option<u64>,
    /// So many matches are passed over.
    pub offset: u64,
    /// Study Date and Study Time ranges are one interval (always in QIDO-RS, PS3.18 §8.3.4.1.1).
    pub combined_date_time: bool,
}

/// One matching key.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The attribute.
    pub path: TagPath,
    /// How it must match.
    pub matching: Matching,
}

/// How a key matches (PS3.4 §C.2.2.2).
#[derive(Debug, Clone, PartialEq)]
pub enum Matching {
    /// Exactly this value; what "exactly" means depends on the value representation.
    Single(String),
    /// `*` and `?`; the pattern as given.
    WildCard(String),
    /// DA, TM or DT from and to, both inclusive, as given.
    Range(Option<String>, Option<String>),
    /// Any of these values: UIDs, and Modalities in Study leniently.
    AnyOf(Vec<String>),
}

/// Says why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read key {path}: {reason}")]
pub struct InvalidKey {
    /// The key as dotted tags.
    pub path: String,
    /// What is wrong and what would be right.
    pub reason: &'static str,
}
