//! Searches of an index in memory: every candidate is made an answer, and keys are matched on it.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use dicom_data::query::{Key, Level, Query, matches};
use dicom_data::{Attributes, Uid};

use super::reads::count;
use super::state::{Identity, Series, State, Study};
use crate::error::Error;
use crate::search_row::{SearchRow, describe};

impl State {
    /// Returns all matches from the query's offset on, in the order of answers.
    pub(super) fn search(&self, query: &Query) -> Result<Vec<Attributes>, Error> {
        let keys: Vec<&Key> = query.keys.iter().filter(|key| Query::is_matched(&key.path, query.level)).collect();
        let mut found =
            if query.level == Level::Patient { self.patient_answers()? } else { self.answers(query.level)? };
        found.retain(|attributes| matches(attributes, keys.iter().copied()));
        let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
        Ok(found.into_iter().skip(offset).collect())
    }

    fn patient_answers(&self) -> Result<Vec<Attributes>, Error> {
        let row = |(identity, attributes): (&Identity, &std::sync::Arc<str>)| {
            let studies: Vec<&Study> =
                self.studies.values().map(AsRef::as_ref).filter(|study| study.patient == *identity).collect();
            let series = || studies.iter().flat_map(|study| study.series.values());
            SearchRow {
                patient_attributes: attributes.to_string(),
                patient_studies: Some(number(studies.len())),
                patient_series: Some(number(series().count())),
                patient_instances: Some(number(series().map(Series::instances).sum())),
                ..SearchRow::default()
            }
        };
        self.patients.iter().map(|patient| row(patient).attributes(Level::Patient)).collect()
    }

    fn answers(&self, level: Level) -> Result<Vec<Attributes>, Error> {
        let mut studies: Vec<(&Uid, &Study)> = self.studies.iter().map(|(uid, study)| (uid, study.as_ref())).collect();
        // The newest first, undated ones last; UIDs are in order already.
        studies.sort_by_key(|(_, study)| (study.row.date.is_none(), Reverse(study.row.date.as_deref())));
        let mut found = Vec::new();
        for (uid, study) in studies {
            if level == Level::Study {
                found.push(self.row(uid, study).attributes(level)?);
                continue;
            }
            for (series_uid, series) in &study.series {
                let upper = SearchRow {
                    series_instance_uid: series_uid.to_string(),
                    series_attributes: Some(series.row.attributes.clone()),
                    series_instances: Some(number(series.instances())),
                    ..self.row(uid, study)
                }
                .attributes(level)?;
                if level == Level::Series {
                    found.push(upper);
                    continue;
                }
                let mut instances = series.all()?;
                instances.sort_by(|a, b| a.located.instance.sop_instance_uid.cmp(&b.located.instance.sop_instance_uid));
                for instance in instances {
                    let mut attributes = upper.clone();
                    describe(&mut attributes, &instance)?;
                    found.push(attributes);
                }
            }
        }
        Ok(found)
    }

    fn row(&self, uid: &Uid, study: &Study) -> SearchRow {
        let modalities: BTreeSet<&String> = study.series.values().filter_map(|s| s.row.modality.as_ref()).collect();
        let classes: BTreeSet<String> = study.series.values().flat_map(sop_classes).collect();
        SearchRow {
            study_instance_uid: uid.to_string(),
            patient_attributes: self.patients.get(&study.patient).map_or_else(String::new, ToString::to_string),
            study_attributes: Some(study.row.attributes.clone()),
            modalities: modalities.into_iter().cloned().collect(),
            sop_classes: Some(classes.into_iter().collect::<Vec<_>>().join("\\")),
            study_series: Some(number(study.series.len())),
            study_instances: Some(number(study.series.values().map(Series::instances).sum())),
            ..SearchRow::default()
        }
    }
}

fn sop_classes(series: &Series) -> BTreeSet<String> {
    let sealed = series.segments.iter().flat_map(|part| &part.segment.manifest.instances);
    let sealed = sealed.map(|instance| instance.kind.sop_class_uid.clone());
    series.unsealed.values().map(|row| row.sop_class_uid.to_string()).chain(sealed).collect()
}

fn number(count_of: usize) -> i64 {
    i64::try_from(count(count_of)).unwrap_or(i64::MAX)
}
