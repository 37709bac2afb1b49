//! Which column a key is matched in: `p` is the patient, `t` the study, `s` the series, `r` a request of the series. Pure.

use dicom_core::Tag;
use dicom_data::TagPath;
use dicom_data::query::{Level, known_key};

/// The column of a key, and how its values are compared.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
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

/// Returns the column of a key; without one, the key is matched in memory.
pub(crate) fn column(path: &TagPath) -> Option<Column> {
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

/// Tells whether one value of a key finds few studies.
pub(crate) fn finds_few(path: &TagPath) -> bool {
    is_identifier(path) || is_of_patient(path)
}

/// Tells whether a column is one of the patient.
pub(crate) fn is_patients(name: &str) -> bool {
    name.starts_with("p.")
}
