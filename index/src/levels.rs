//! From attributes to the columns of patient, study and series. Pure.

use dicom_core::Tag;

use crate::json;
use dicom_data::Uid;
use dicom_data::query::{dates, text};
use dicom_data::{Attributes, PersonName, Value};

/// Columns of a patient.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PatientRow {
    /// Patient ID, issuer, and the only study of a patient without ID: the patient's identity (ST-053).
    pub(crate) identity: (String, String, String),
    pub(crate) name: [Option<String>; 3],
    pub(crate) birth_date: Option<String>,
    pub(crate) sex: Option<String>,
    /// Grams of the names, separated by commas.
    pub(crate) name_grams: String,
    pub(crate) attributes: String,
}

/// Columns of a study.
#[derive(Debug, Clone)]
pub(crate) struct StudyRow {
    pub(crate) date: Option<String>,
    pub(crate) time: Option<i64>,
    pub(crate) accession_number: Option<String>,
    pub(crate) study_id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) referring: [Option<String>; 3],
    pub(crate) attributes: String,
}

/// Columns of a series.
#[derive(Debug, Clone)]
pub(crate) struct SeriesRow {
    pub(crate) modality: Option<String>,
    pub(crate) number: Option<i64>,
    pub(crate) description: Option<String>,
    pub(crate) start_date: Option<String>,
    pub(crate) start_time: Option<i64>,
    /// Scheduled Procedure Step ID and Requested Procedure ID of each request.
    pub(crate) requests: Vec<(Option<String>, Option<String>)>,
    pub(crate) attributes: String,
}

/// Most items of Request Attributes Sequence that are indexed.
const REQUESTS_MAX: usize = 64;

impl PatientRow {
    pub(crate) fn new(study: &Uid, attributes: &Attributes) -> Self {
        let patient_id = column(attributes, Tag(0x0010, 0x0020)).unwrap_or_default();
        let only = if patient_id.is_empty() { study.as_str().to_owned() } else { String::new() };
        let issuer = column(attributes, Tag(0x0010, 0x0021)).unwrap_or_default();
        let name = name(attributes, Tag(0x0010, 0x0010));
        let name_grams = text::grams(name.iter().flatten().map(String::as_str));
        Self {
            identity: (patient_id, issuer, only),
            name_grams: name_grams.iter().map(i32::to_string).collect::<Vec<_>>().join(","),
            name,
            birth_date: date(attributes, Tag(0x0010, 0x0030)),
            sex: column(attributes, Tag(0x0010, 0x0040)),
            attributes: json::write(attributes),
        }
    }
}

impl StudyRow {
    pub(crate) fn new(attributes: &Attributes) -> Self {
        Self {
            date: date(attributes, Tag(0x0008, 0x0020)),
            time: time(attributes, Tag(0x0008, 0x0030)),
            accession_number: column(attributes, Tag(0x0008, 0x0050)),
            study_id: column(attributes, Tag(0x0020, 0x0010)),
            description: column(attributes, Tag(0x0008, 0x1030)),
            referring: name(attributes, Tag(0x0008, 0x0090)),
            attributes: json::write(attributes),
        }
    }
}

impl SeriesRow {
    pub(crate) fn new(attributes: &Attributes) -> Self {
        let requests = match attributes.get(Tag(0x0040, 0x0275)).map(|a| &a.value) {
            Some(Value::Sequence(items)) => items
                .iter()
                .take(REQUESTS_MAX)
                .map(|item| (column(item, Tag(0x0040, 0x0009)), column(item, Tag(0x0040, 0x1001))))
                .collect(),
            Some(_) | None => Vec::new(),
        };
        Self {
            modality: column(attributes, Tag(0x0008, 0x0060)),
            number: attributes.integer(Tag(0x0020, 0x0011)),
            description: column(attributes, Tag(0x0008, 0x103E)),
            start_date: date(attributes, Tag(0x0040, 0x0244)),
            start_time: time(attributes, Tag(0x0040, 0x0245)),
            requests,
            attributes: json::write(attributes),
        }
    }
}

fn column(attributes: &Attributes, tag: Tag) -> Option<String> {
    text::normal(attributes.text(tag)?)
}

/// ISO 8601, as Postgres reads it whatever its settings are.
fn date(attributes: &Attributes, tag: Tag) -> Option<String> {
    Some(dates::date(attributes.text(tag)?)?.to_string())
}

fn time(attributes: &Attributes, tag: Tag) -> Option<i64> {
    Some(dates::time(attributes.text(tag)?)?.first)
}

fn name(attributes: &Attributes, tag: Tag) -> [Option<String>; 3] {
    let none = PersonName::default();
    let name = match attributes.get(tag).map(|a| &a.value) {
        Some(Value::PersonNames(names)) => names.first().unwrap_or(&none),
        Some(_) | None => &none,
    };
    text::fold_name(name)
}
