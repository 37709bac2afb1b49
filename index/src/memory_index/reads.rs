//! What an index in memory answers about places, unsealed instances, deletions and counts.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use dicom_data::Uid;
use dicom_data::query::text;
use journal::Lsn;
use uuid::Uuid;

use super::state::{Series, State, Study};
use crate::containers::Counts;
use crate::error::Error;
use crate::instances::Instance;
use crate::pack::{PackStudy, UnsealedRow};
use crate::places::{Located, Selector};
use crate::segment::Segment;
use crate::tombstone::Tombstone;

impl State {
    /// Returns the instances of a selection in reading order.
    pub(super) fn locate(&self, selector: &Selector) -> Result<Vec<Located>, Error> {
        if selector.patient_id.is_none() && selector.studies.is_empty() && selector.series.is_empty() {
            return self.locate_by_sop(&selector.instances);
        }
        let patient = selector.patient_id.as_ref().map(|id| text::normal(id).unwrap_or_default());
        let named = |list: &[Uid], uid: &Uid| list.is_empty() || list.contains(uid);
        let mut found = Vec::new();
        for (uid, study) in &self.studies {
            if !named(&selector.studies, uid) || patient.as_ref().is_some_and(|id| *id != study.patient.0) {
                continue;
            }
            for (series_uid, series) in by_number(study) {
                if named(&selector.series, series_uid) {
                    let all = series.all()?.into_iter().map(|instance| instance.located);
                    found.extend(all.filter(|one| named(&selector.instances, &one.instance.sop_instance_uid)));
                }
            }
        }
        Ok(found)
    }

    fn locate_by_sop(&self, sops: &[Uid]) -> Result<Vec<Located>, Error> {
        let sops: BTreeSet<&Uid> = sops.iter().collect();
        let mut found = Vec::new();
        for series in self.studies.values().flat_map(|study| study.series.values()) {
            for sop in &sops {
                found.extend(series.find(sop)?);
            }
        }
        found.sort_by(|a, b| {
            let key = |one: &Located| {
                let uids = (one.instance.study_instance_uid.clone(), one.instance.series_instance_uid.clone());
                (uids, one.instance_number.is_none(), one.instance_number, one.instance.sop_instance_uid.clone())
            };
            key(a).cmp(&key(b))
        });
        Ok(found)
    }

    /// Returns the segments of all series with this UID, oldest first.
    pub(super) fn segments_of(&self, series: &Uid) -> Vec<Arc<Segment>> {
        let parts = self.studies.values().filter_map(|study| study.series.get(series)).flat_map(|s| &s.segments);
        let mut found: Vec<Arc<Segment>> = parts.map(|part| Arc::clone(&part.segment)).collect();
        found.sort_by_key(|segment| segment.id);
        found
    }

    /// Returns the segment with this row number.
    pub(super) fn segment(&self, id: i64) -> Result<Arc<Segment>, Error> {
        let mut parts = self.studies.values().flat_map(|study| study.series.values()).flat_map(|s| &s.segments);
        let found = parts.find(|part| part.segment.id == id);
        found.map(|part| Arc::clone(&part.segment)).ok_or(Error::NotFound { what: "segment" })
    }

    /// Returns studies with unsealed instances none of which came in these milliseconds.
    pub(super) fn quiet_studies(&self, busy_millis: &RangeInclusive<i64>) -> Vec<PackStudy> {
        let mut found: Vec<PackStudy> = self
            .studies
            .iter()
            .filter_map(|(uid, study)| {
                let rows: Vec<&UnsealedRow> = study.series.values().flat_map(|s| s.unsealed.values()).collect();
                let received = || rows.iter().map(|row| row.received_millis);
                Some(PackStudy {
                    study_instance_uid: uid.clone(),
                    month: month(study.row.date.as_deref()),
                    instances: count(rows.len()),
                    bytes: rows.iter().map(|row| row.record.payload_bytes).sum(),
                    oldest_received: received().min()?,
                    newest_received: received().max()?,
                })
            })
            .filter(|study| !busy_millis.contains(&study.newest_received))
            .collect();
        found.sort_by(|a, b| {
            (a.oldest_received, &a.study_instance_uid).cmp(&(b.oldest_received, &b.study_instance_uid))
        });
        found
    }

    /// Returns unsealed instances of studies in packing order.
    pub(super) fn unsealed_instances(&self, studies: &[Uid], left_out: &[Lsn], most: usize) -> Vec<UnsealedRow> {
        let studies = studies.iter().filter_map(|uid| self.studies.get(uid));
        let series = studies.flat_map(|study| by_number(study).into_iter().map(|(_, series)| series));
        let rows = series.flat_map(|series| {
            let mut rows: Vec<&UnsealedRow> = series.unsealed.values().collect();
            rows.sort_by_key(|row| (row.instance_number.is_none(), row.instance_number));
            rows
        });
        rows.filter(|row| !left_out.contains(&row.record.lsn)).take(most).cloned().collect()
    }

    /// Returns unsealed instances in the order of their journals.
    pub(super) fn unsealed_in_order(&self, behind: Option<&UnsealedRow>, most: usize) -> Vec<UnsealedRow> {
        let place = |row: &UnsealedRow| (row.journal, row.record.lsn);
        let mut rows: Vec<&UnsealedRow> =
            self.unsealed().filter(|row| behind.is_none_or(|behind| place(row) > place(behind))).collect();
        rows.sort_by_key(|row| place(row));
        rows.into_iter().take(most).cloned().collect()
    }

    /// Returns all unsealed instances, in no order that means anything.
    pub(super) fn unsealed(&self) -> impl Iterator<Item = &UnsealedRow> {
        self.studies.values().flat_map(|study| study.series.values()).flat_map(|series| series.unsealed.values())
    }

    /// Returns the positions of a journal's unsealed records.
    pub(super) fn lsns(&self, journal: Uuid) -> impl Iterator<Item = u64> {
        self.unsealed().filter(move |row| row.journal == journal).map(|row| row.record.lsn.0)
    }

    /// Returns what the rows of series are made from again.
    pub(super) fn summaries(&self, wanted: &[(Uid, Uid)]) -> Result<Vec<Bytes>, Error> {
        let summary = |(study, series): &(Uid, Uid)| {
            let study = self.studies.get(study)?;
            let (patient, series) = (self.patients.get(&study.patient)?, study.series.get(series)?);
            let (study, series) = (&study.row.attributes, &series.row.attributes);
            Some(format!(r#"{{"patient":{patient},"study":{study},"series":{series}}}"#).into())
        };
        wanted.iter().map(|one| summary(one).ok_or(Error::NotFound { what: "series" })).collect()
    }

    /// Returns all deletions, the oldest first.
    pub(super) fn tombstones(&self) -> Result<Vec<Tombstone>, Error> {
        let uid = |text: &String| text.parse::<Uid>().map_err(|_| Error::Damaged { what: "tombstone" });
        let some = |text: &String| if text.is_empty() { Ok(None) } else { uid(text).map(Some) };
        let mut rows: Vec<_> = self.tombstones.iter().collect();
        rows.sort_by_key(|(_, deleted_millis)| **deleted_millis);
        rows.into_iter()
            .map(|((study, series, instance), deleted_millis)| {
                let (study, series, instance) = (uid(study)?, some(series)?, some(instance)?);
                Ok(Tombstone { study, series, instance, deleted_millis: *deleted_millis })
            })
            .collect()
    }

    /// Tells whether something of the selection was deleted.
    pub(super) fn was_deleted(&self, selector: &Selector) -> bool {
        let (by_study, by_series) = (!selector.studies.is_empty(), !selector.series.is_empty());
        let named = |list: &[Uid], text: &str, whole: bool| {
            list.is_empty() || list.iter().any(|uid| uid.as_str() == text) || (whole && text.is_empty())
        };
        (by_study || by_series || !selector.instances.is_empty())
            && self.tombstones.keys().any(|(study, series, instance)| {
                named(&selector.studies, study, false)
                    && named(&selector.series, series, by_study)
                    && named(&selector.instances, instance, by_series || by_study)
            })
    }

    /// Counts everything.
    pub(super) fn counts(&self) -> Result<Counts, Error> {
        let mut counts = Counts {
            patients: count(self.patients.len()),
            studies: count(self.studies.len()),
            containers: count(self.containers.len()),
            ..Counts::default()
        };
        for series in self.studies.values().flat_map(|study| study.series.values()) {
            counts.series += 1;
            counts.instances += count(series.instances());
            counts.bytes += series.all()?.iter().map(|one| one.located.instance.bytes).sum::<u64>();
            counts.instances_unsealed += count(series.unsealed.len());
            counts.bytes_unsealed += series.unsealed.values().map(|row| row.record.payload_bytes).sum::<u64>();
        }
        Ok(counts)
    }
}

impl Series {
    /// Returns all instances that are served, by instance number and SOP Instance UID.
    pub(super) fn all(&self) -> Result<Vec<Instance>, Error> {
        let unsealed = self.unsealed.values();
        let mut all: Vec<Instance> =
            unsealed.map(|row| Instance { located: row.located(), detail: row.detail.clone() }).collect();
        for part in &self.segments {
            for (index, instance) in part.segment.manifest.instances.iter().enumerate() {
                let located = part.segment.located(index, instance)?;
                all.push(Instance { located, detail: instance.kind.detail.clone() });
            }
        }
        all.sort_by(|a, b| {
            let key = |i: &Instance| (i.located.instance_number.is_none(), i.located.instance_number);
            let uid = |i: &Instance| i.located.instance.sop_instance_uid.clone();
            key(a).cmp(&key(b)).then_with(|| uid(a).cmp(&uid(b)))
        });
        Ok(all)
    }
}

/// Returns the series of a study by number, those without one last, and UID.
fn by_number(study: &Study) -> Vec<(&Uid, &Series)> {
    let mut series: Vec<(&Uid, &Series)> = study.series.iter().collect();
    series.sort_by_key(|(_, series)| (series.row.number.is_none(), series.row.number));
    series
}

fn month(date: Option<&str>) -> Option<(i16, u8)> {
    let mut parts = date?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
