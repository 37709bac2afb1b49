//! What an index in memory knows, and how changes change it: the rules of the Postgres index in plain collections.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use dicom_data::{Attributes, Uid};
use journal::Lsn;
use tiering::{Extent, Manifest};
use uuid::Uuid;

use crate::arrival::{Applied, Arrival};
use crate::containers::Container;
use crate::error::Error;
use crate::levels::{PatientRow, SeriesRow, StudyRow};
use crate::new_container::{NewContainer, NewSegment};
use crate::pack::UnsealedRow;
use crate::places::Located;
use crate::segment::Segment;
use crate::summary::Summary;
use crate::tombstone::Tombstone;

/// Patient ID, issuer, and the only study of a patient without ID.
pub(super) type Identity = (String, String, String);

/// All rows. Cheap to clone: a transaction changes a clone.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) positions: BTreeMap<Uuid, Lsn>,
    /// Attributes of each patient, as DICOM JSON: those that came first.
    pub(super) patients: BTreeMap<Identity, Arc<str>>,
    pub(super) studies: BTreeMap<Uid, Arc<Study>>,
    /// In the order in which they were recorded.
    pub(super) containers: Vec<Container>,
    /// When study, series and instance were deleted; an empty UID stands for everything beneath.
    pub(super) tombstones: BTreeMap<(String, String, String), i64>,
    /// The last row number that was given.
    last_row: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Study {
    pub(super) patient: Identity,
    pub(super) row: StudyRow,
    pub(super) series: BTreeMap<Uid, Series>,
}

#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) row: SeriesRow,
    pub(super) unsealed: BTreeMap<Uid, UnsealedRow>,
    pub(super) segments: Vec<SealedPart>,
}

/// A part of a series in a container.
#[derive(Debug, Clone)]
pub(super) struct SealedPart {
    pub(super) segment: Arc<Segment>,
    /// As sealed.
    manifest: Arc<Manifest>,
    metadata: Extent,
    dead: BTreeSet<usize>,
}

/// Attributes of a patient and a study that a study is made from when it is missing.
type NewStudy<'a> = (&'a Attributes, &'a Attributes);

impl State {
    /// Applies a batch; the answer has one outcome for each arrival.
    pub(super) fn apply(&mut self, journal: Uuid, arrivals: &[Arrival], end: Lsn) -> Result<Vec<Applied>, Error> {
        let mut wanted: BTreeMap<&Uid, NewStudy<'_>> = BTreeMap::new();
        for arrival in arrivals {
            wanted.entry(&arrival.head.study_instance_uid).or_insert((&arrival.patient, &arrival.study));
        }
        let made = self.make_studies(&wanted);
        let mut unused = made.clone();
        let mut outcomes = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let head = &arrival.head;
            let (study, series) = (&head.study_instance_uid, &head.series_instance_uid);
            if !made.contains(study) || self.is_deleted(study, series, head.sop_instance_uid.as_str()) {
                outcomes.push(Applied::Deleted);
                continue;
            }
            unused.remove(study);
            outcomes.push(self.add(journal, arrival)?);
        }
        self.remove_empty(&unused);
        let position = self.positions.entry(journal).or_insert(end);
        *position = (*position).max(end);
        Ok(outcomes)
    }

    fn add(&mut self, journal: Uuid, arrival: &Arrival) -> Result<Applied, Error> {
        let head = &arrival.head;
        let Some(study) = self.studies.get_mut(&head.study_instance_uid) else { return Ok(Applied::Deleted) };
        let series = Arc::make_mut(study)
            .series
            .entry(head.series_instance_uid.clone())
            .or_insert_with(|| Series::new(&arrival.series));
        if let Some(known) = series.find(&head.sop_instance_uid)? {
            return Ok(Applied::beside(journal, arrival, &known));
        }
        let row = UnsealedRow {
            journal,
            record: arrival.record.clone(),
            study_instance_uid: head.study_instance_uid.clone(),
            series_instance_uid: head.series_instance_uid.clone(),
            sop_instance_uid: head.sop_instance_uid.clone(),
            sop_class_uid: head.sop_class_uid.clone(),
            transfer_syntax_uid: head.transfer_syntax_uid.clone(),
            instance_number: arrival.instance_number,
            detail: arrival.detail.clone(),
            received_millis: head.received_millis,
        };
        series.unsealed.insert(head.sop_instance_uid.clone(), row);
        Ok(Applied::New)
    }

    /// Records a container, sealed or adopted. A container that is known changes nothing.
    pub(super) fn record(&mut self, container: &NewContainer) -> Result<(), Error> {
        let summaries = container.segments.iter().map(Summary::of).collect::<Result<Vec<_>, _>>()?;
        if self.containers.iter().any(|known| known.id == container.id) {
            return Ok(());
        }
        self.containers.push(row_of(container));
        let mut wanted: BTreeMap<&Uid, NewStudy<'_>> = BTreeMap::new();
        for (segment, summary) in container.segments.iter().zip(&summaries) {
            wanted.entry(&segment.study).or_insert((&summary.patient, &summary.study));
        }
        let made = self.make_studies(&wanted);
        let mut with_dead = BTreeSet::new();
        for (segment, summary) in container.segments.iter().zip(&summaries) {
            if !made.contains(&segment.study) {
                continue;
            }
            let dead = self.dead_by_tombstone(segment);
            if !dead.is_empty() {
                with_dead.insert(segment.study.clone());
            }
            if dead.len() < segment.manifest.instances.len() {
                self.add_segment(container, segment, &summary.series, dead);
            }
        }
        self.remove_empty(&with_dead);
        Ok(())
    }

    fn add_segment(
        &mut self,
        container: &NewContainer,
        segment: &NewSegment,
        attributes: &Attributes,
        mut dead: BTreeSet<usize>,
    ) {
        let Some(study) = self.studies.get_mut(&segment.study) else { return };
        let series =
            Arc::make_mut(study).series.entry(segment.series.clone()).or_insert_with(|| Series::new(attributes));
        let mut seen = HashSet::new();
        for (position, instance) in segment.manifest.instances.iter().enumerate() {
            let again = !seen.insert(instance.sop_instance_uid.as_str());
            if again || series.segments.iter().any(|part| part.segment.has(&instance.sop_instance_uid)) {
                dead.insert(position);
            }
        }
        series.unsealed.retain(|sop, _| !seen.contains(sop.as_str()));
        self.last_row += 1;
        let listed: Vec<usize> = dead.iter().copied().collect();
        let uids = (segment.study.clone(), segment.series.clone());
        let manifest = Manifest::clone(&segment.manifest);
        series.segments.push(SealedPart {
            segment: Arc::new(Segment::new(self.last_row, container.id, uids, segment.metadata, manifest, &listed)),
            manifest: Arc::clone(&segment.manifest),
            metadata: segment.metadata,
            dead,
        });
    }

    /// Deletes and remembers; tells whether anything was there.
    pub(super) fn add_tombstone(&mut self, tombstone: &Tombstone) -> bool {
        let text = |uid: &Option<Uid>| uid.as_ref().map_or_else(String::new, Uid::to_string);
        let key = (tombstone.study.to_string(), text(&tombstone.series), text(&tombstone.instance));
        self.tombstones.entry(key).or_insert(tombstone.deleted_millis);
        let Some(study) = self.studies.get_mut(&tombstone.study).map(Arc::make_mut) else { return false };
        let there = match (&tombstone.series, &tombstone.instance) {
            (None, _) => {
                study.series.clear();
                true
            }
            (Some(series), None) => study.series.remove(series).is_some(),
            (Some(series), Some(instance)) => {
                study.series.get_mut(series).is_some_and(|series| series.delete(instance))
            }
        };
        self.remove_empty(&BTreeSet::from([tombstone.study.clone()]));
        there
    }

    /// Forgets everything. Row numbers go on: they name what caches hold.
    pub(super) fn clear(&mut self) {
        *self = Self { last_row: self.last_row, ..Self::default() };
    }

    /// Makes missing studies but deleted ones; returns those that are there now.
    fn make_studies(&mut self, wanted: &BTreeMap<&Uid, NewStudy<'_>>) -> BTreeSet<Uid> {
        let mut made = BTreeSet::new();
        for (uid, (patient, study)) in wanted {
            if self.tombstones.contains_key(&(uid.to_string(), String::new(), String::new())) {
                continue;
            }
            made.insert((*uid).clone());
            if self.studies.contains_key(*uid) {
                continue;
            }
            let patient = PatientRow::new(uid, patient);
            self.patients.entry(patient.identity.clone()).or_insert_with(|| patient.attributes.as_str().into());
            let row = StudyRow::new(study);
            let study = Study { patient: patient.identity, row, series: BTreeMap::new() };
            self.studies.insert((*uid).clone(), Arc::new(study));
        }
        made
    }

    /// Removes series without instances, then studies without series, then patients without studies.
    fn remove_empty(&mut self, studies: &BTreeSet<Uid>) {
        for uid in studies {
            let Some(study) = self.studies.get_mut(uid).map(Arc::make_mut) else { continue };
            study.series.retain(|_, series| series.instances() > 0);
            if !study.series.is_empty() {
                continue;
            }
            let patient = study.patient.clone();
            self.studies.remove(uid);
            if !self.studies.values().any(|study| study.patient == patient) {
                self.patients.remove(&patient);
            }
        }
    }

    fn is_deleted(&self, study: &Uid, series: &Uid, sop: &str) -> bool {
        let has = |sop: &str| self.tombstones.contains_key(&(study.to_string(), series.to_string(), sop.to_owned()));
        has("") || has(sop)
    }

    fn dead_by_tombstone(&self, segment: &NewSegment) -> BTreeSet<usize> {
        let instances = segment.manifest.instances.iter().enumerate();
        instances
            .filter(|(_, instance)| self.is_deleted(&segment.study, &segment.series, &instance.sop_instance_uid))
            .map(|(position, _)| position)
            .collect()
    }
}

impl Series {
    fn new(attributes: &Attributes) -> Self {
        Self { row: SeriesRow::new(attributes), unsealed: BTreeMap::new(), segments: Vec::new() }
    }

    /// Number of instances that are served.
    pub(super) fn instances(&self) -> usize {
        self.unsealed.len() + self.segments.iter().map(|part| part.segment.manifest.instances.len()).sum::<usize>()
    }

    /// Returns one instance that is served.
    pub(super) fn find(&self, sop: &Uid) -> Result<Option<Located>, Error> {
        for part in self.segments.iter().rev() {
            if let Some(found) = part.segment.locate(sop)? {
                return Ok(Some(found));
            }
        }
        Ok(self.unsealed.get(sop).map(UnsealedRow::located))
    }

    /// Removes one instance; tells whether it was served.
    fn delete(&mut self, sop: &Uid) -> bool {
        let mut there = self.unsealed.remove(sop).is_some();
        for part in &mut self.segments {
            if let Some(position) = part.segment.position_of(sop) {
                part.dead.insert(position);
                part.rebuild();
                there = true;
            }
        }
        there
    }
}

impl SealedPart {
    fn rebuild(&mut self) {
        let dead: Vec<usize> = self.dead.iter().copied().collect();
        let old = &self.segment;
        let uids = (old.study.clone(), old.series.clone());
        let manifest = Manifest::clone(&self.manifest);
        self.segment = Arc::new(Segment::new(old.id, old.container, uids, self.metadata, manifest, &dead));
    }
}

fn row_of(container: &NewContainer) -> Container {
    let instances: usize = container.segments.iter().map(|segment| segment.manifest.instances.len()).sum();
    Container {
        id: container.id,
        generation: container.generation,
        pool: container.pool.clone(),
        tier: container.tier.clone(),
        month: container.month,
        data_shards: container.data_shards,
        parity_shards: container.parity_shards,
        bytes: container.bytes,
        stored_bytes: container.stored_bytes,
        instances: u64::try_from(instances).unwrap_or(u64::MAX),
        sealed_millis: container.sealed_millis,
    }
}
