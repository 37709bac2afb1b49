//! A row that a search found, and the attributes that a match is answered with.

use std::collections::BTreeSet;

use dicom_core::{Tag, VR};
use dicom_data::query::Level;
use dicom_data::{Attribute, Attributes, Value};

use crate::error::Error;
use crate::instances::{Instance, SeriesRef};
use crate::json;

const SOP_INSTANCE_UID: Tag = Tag(0x0008, 0x0018);

/// Position after the last row that was read.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) rank: i32,
    pub(crate) first: String,
    pub(crate) second: String,
    pub(crate) third: String,
}

/// A row of a search. Columns that a level does not have are empty.
#[derive(Debug, Default, sqlx::FromRow)]
#[sqlx(default)]
pub(crate) struct SearchRow {
    pub(crate) date_rank: i32,
    pub(crate) patient_id: String,
    pub(crate) issuer_of_patient_id: String,
    pub(crate) only_study_instance_uid: String,
    pub(crate) study_instance_uid: String,
    pub(crate) series: i64,
    pub(crate) series_instance_uid: String,
    pub(crate) patient_attributes: String,
    pub(crate) study_attributes: Option<String>,
    pub(crate) series_attributes: Option<String>,
    pub(crate) modalities: Vec<String>,
    pub(crate) sop_classes: Option<String>,
    pub(crate) patient_studies: Option<i64>,
    pub(crate) patient_series: Option<i64>,
    pub(crate) patient_instances: Option<i64>,
    pub(crate) study_series: Option<i64>,
    pub(crate) study_instances: Option<i64>,
    pub(crate) series_instances: Option<i64>,
}

impl SearchRow {
    /// Returns the position after this row.
    pub(crate) fn cursor(&self) -> Cursor {
        if self.study_instance_uid.is_empty() {
            return Cursor {
                rank: 0,
                first: self.patient_id.clone(),
                second: self.issuer_of_patient_id.clone(),
                third: self.only_study_instance_uid.clone(),
            };
        }
        Cursor {
            rank: self.date_rank,
            first: self.study_instance_uid.clone(),
            second: self.series_instance_uid.clone(),
            third: String::new(),
        }
    }

    /// Returns the series of this row.
    pub(crate) fn series_ref(&self) -> Result<SeriesRef, Error> {
        let damaged = |_| Error::Damaged { what: "series" };
        Ok(SeriesRef {
            id: self.series,
            study: self.study_instance_uid.parse().map_err(damaged)?,
            series: self.series_instance_uid.parse().map_err(damaged)?,
        })
    }

    /// Returns what a match has at this level: stored attributes of it and the levels above, counts and sets.
    pub(crate) fn attributes(&self, level: Level) -> Result<Attributes, Error> {
        let mut all = json::read(&self.patient_attributes)?;
        for lower in [&self.study_attributes, &self.series_attributes].into_iter().flatten() {
            all.0.extend(json::read(lower)?.0);
        }
        let counts = [
            (Tag(0x0020, 0x1200), self.patient_studies),
            (Tag(0x0020, 0x1202), self.patient_series),
            (Tag(0x0020, 0x1204), self.patient_instances),
            (Tag(0x0020, 0x1206), self.study_series),
            (Tag(0x0020, 0x1208), self.study_instances),
            (Tag(0x0020, 0x1209), self.series_instances),
        ];
        for (tag, count) in counts {
            if let Some(count) = count {
                all.put_text(tag, VR::IS, count.to_string());
            }
        }
        if level >= Level::Study {
            all.put_text(Tag(0x0020, 0x000D), VR::UI, self.study_instance_uid.as_str());
            put_list(&mut all, Tag(0x0008, 0x0061), VR::CS, &self.modalities);
            let classes: BTreeSet<&str> = self.sop_classes.iter().flat_map(|classes| classes.split('\\')).collect();
            let classes: Vec<String> = classes.into_iter().filter(|c| !c.is_empty()).map(str::to_owned).collect();
            put_list(&mut all, Tag(0x0008, 0x0062), VR::UI, &classes);
            all.put_text(Tag(0x0008, 0x0056), VR::CS, "ONLINE"); // QR-061
        }
        if level >= Level::Series {
            all.put_text(Tag(0x0020, 0x000E), VR::UI, self.series_instance_uid.as_str());
        }
        Ok(all)
    }
}

/// An attribute without values is left out, not empty.
fn put_list(attributes: &mut Attributes, tag: Tag, vr: VR, values: &[String]) {
    if !values.is_empty() {
        attributes.0.insert(tag, Attribute { vr, value: Value::Text(values.to_vec()) });
    }
}

/// Adds what is known of the instance (WE-063).
pub(crate) fn describe(attributes: &mut Attributes, instance: &Instance) -> Result<(), Error> {
    if !instance.detail.is_empty() {
        let detail = std::str::from_utf8(&instance.detail).map_err(|_| Error::Damaged { what: "detail" })?;
        attributes.0.extend(json::read(detail)?.0);
    }
    let found = &instance.located.instance;
    attributes.put_text(Tag(0x0008, 0x0016), VR::UI, found.sop_class_uid.as_str());
    attributes.put_text(SOP_INSTANCE_UID, VR::UI, found.sop_instance_uid.as_str());
    attributes.put_text(Tag(0x0008, 0x3002), VR::UI, found.transfer_syntax_uid.as_str());
    if let Some(number) = instance.located.instance_number {
        attributes.put_text(Tag(0x0020, 0x0013), VR::IS, number.to_string());
    }
    Ok(())
}
