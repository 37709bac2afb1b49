//! What a match is answered with (PS3.18 §10.6.3.3).

use std::collections::BTreeSet;

use dicom_core::{Tag, VR};
use dicom_data::query::Level;
use dicom_data::{Attribute, Attributes, Value, write_json};
use dicom_dictionary_std::tags;

use super::request::SearchRequest;
use crate::call::Target;

/// Attributes of a study that are always there, even if empty (WE-061).
const STUDY: &[(Tag, VR)] = &[
    (tags::STUDY_DATE, VR::DA),
    (tags::STUDY_TIME, VR::TM),
    (tags::ACCESSION_NUMBER, VR::SH),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
    (tags::PATIENT_NAME, VR::PN),
    (tags::PATIENT_ID, VR::LO),
    (tags::PATIENT_BIRTH_DATE, VR::DA),
    (tags::PATIENT_SEX, VR::CS),
    (tags::STUDY_INSTANCE_UID, VR::UI),
    (tags::STUDY_ID, VR::SH),
    (tags::NUMBER_OF_STUDY_RELATED_SERIES, VR::IS),
    (tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS),
];
/// Attributes of a study that come when they are known.
const STUDY_IF_KNOWN: &[Tag] =
    &[tags::INSTANCE_AVAILABILITY, tags::MODALITIES_IN_STUDY, tags::TIMEZONE_OFFSET_FROM_UTC];
/// Attributes of a series that are always there, even if empty (WE-062).
const SERIES: &[(Tag, VR)] = &[
    (tags::SERIES_INSTANCE_UID, VR::UI),
    (tags::SERIES_NUMBER, VR::IS),
    (tags::NUMBER_OF_SERIES_RELATED_INSTANCES, VR::IS),
];
/// Attributes of a series that come when they are known; Modality is one, though required, because an empty one
/// breaks viewers.
const SERIES_IF_KNOWN: &[Tag] = &[
    tags::MODALITY,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::SERIES_DESCRIPTION,
    tags::STUDY_INSTANCE_UID,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];
/// Attributes of an instance that are always there, even if empty (WE-063).
const INSTANCE: &[(Tag, VR)] =
    &[(tags::SOP_CLASS_UID, VR::UI), (tags::SOP_INSTANCE_UID, VR::UI), (tags::INSTANCE_NUMBER, VR::IS)];
/// Attributes of an instance that come when they are known.
const INSTANCE_IF_KNOWN: &[Tag] = &[
    tags::INSTANCE_AVAILABILITY,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::AVAILABLE_TRANSFER_SYNTAX_UID,
];
/// A type R attribute without a value breaks OHIF here: left out instead (OHIF 2.2.1).
const NEVER_EMPTY: [Tag; 2] = [tags::MODALITIES_IN_STUDY, tags::MODALITY];

/// Picks the attributes of matches and writes them as DICOM JSON.
pub(super) struct Shape<'a> {
    level: Level,
    required: Vec<(Tag, VR)>,
    picked: BTreeSet<Tag>,
    all: bool,
    base_url: &'a str,
}

impl<'a> Shape<'a> {
    /// Decides what matches of a search at this level below this resource show (WE-064).
    pub(super) fn new(level: Level, target: &Target, request: &SearchRequest, base_url: &'a str) -> Self {
        let study = level == Level::Study || target.study.is_none();
        let series = level == Level::Series || (level == Level::Instance && target.series.is_none());
        let instance = level == Level::Instance;
        let mut required = Vec::new();
        let mut picked = request.include.clone();
        let groups = [
            (study, STUDY, STUDY_IF_KNOWN),
            (series, SERIES, SERIES_IF_KNOWN),
            (instance, INSTANCE, INSTANCE_IF_KNOWN),
        ];
        for (shown, always, if_known) in groups {
            if shown {
                required.extend_from_slice(always);
                picked.extend(if_known);
            }
        }
        picked.extend(required.iter().map(|(tag, _)| *tag));
        Self { level, required, picked, all: request.include_all, base_url }
    }

    /// Returns the level of the search.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Appends one match as a JSON object.
    pub(super) fn write(&self, found: Attributes, out: &mut Vec<u8>) {
        let retrieve_url = self.retrieve_url(&found);
        let mut shown = found;
        shown.0.retain(|tag, attribute| {
            (self.all || self.picked.contains(tag)) && !(NEVER_EMPTY.contains(tag) && is_blank(&attribute.value))
        });
        for (tag, vr) in &self.required {
            shown.0.insert_absent(*tag, Attribute { vr: *vr, value: Value::Empty });
        }
        if let Some(url) = retrieve_url {
            shown.put_text(tags::RETRIEVE_URL, VR::UR, url);
        }
        write_json(&shown, &|_| String::new(), out);
    }

    fn retrieve_url(&self, found: &Attributes) -> Option<String> {
        let base = self.base_url;
        let study = found.text(tags::STUDY_INSTANCE_UID)?;
        if self.level < Level::Series {
            return Some(format!("{base}/studies/{study}"));
        }
        let series = found.text(tags::SERIES_INSTANCE_UID)?;
        if self.level < Level::Instance {
            return Some(format!("{base}/studies/{study}/series/{series}"));
        }
        let instance = found.text(tags::SOP_INSTANCE_UID)?;
        Some(format!("{base}/studies/{study}/series/{series}/instances/{instance}"))
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Empty => true,
        Value::Text(values) => values.iter().all(|value| value.trim().is_empty()),
        Value::PersonNames(_)
        | Value::Integers(_)
        | Value::Floats(_)
        | Value::Sequence(_)
        | Value::Binary(_)
        | Value::Bulk { .. } => false,
    }
}
