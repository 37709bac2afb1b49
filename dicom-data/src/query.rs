//! Queries: levels, keys and matching (PS3.4 §C), the same for C-FIND and QIDO-RS.
//!
//! Rules that the standard leaves open: person names are compared without case and accents, group by group; IS and
//! DS are compared as numbers; Modalities in Study takes a list. A key that the index does not keep is ignored.

use crate::TagPath;

pub use filter::matches;
pub use keys::{KnownKey, known_key};

pub mod dates;
mod filter;
mod keys;
mod matching;
pub mod text;

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

impl InvalidKey {
    /// Makes the error for a key; the value is never part of it, for it may name a patient.
    pub fn new(path: &TagPath, reason: &'static str) -> Self {
        let tags: Vec<String> = path.0.iter().map(|t| format!("{:04X}{:04X}", t.0, t.1)).collect();
        Self { path: tags.join("."), reason }
    }
}

impl Query {
    /// Tells whether a key restricts the matches of this level; keys of lower levels never do (QR-013).
    pub fn is_matched(path: &TagPath, level: Level) -> bool {
        known_key(path).is_some_and(|known| known.level <= level)
    }

    /// Returns the keys that are ignored in matching: unknown ones and those of lower levels.
    pub fn unsupported(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(|key| !Self::is_matched(&key.path, self.level))
    }
}
