//! Deletions that stay: durable beside the containers, so that a rebuilt index does not bring anything back.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::Error;
use dicom_data::Identifiers;
use dicom_data::Uid;
use index::Tombstone;

/// A deletion as the pools keep it, in JSON.
#[derive(Serialize, Deserialize)]
struct Record {
    study_instance_uid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    series_instance_uid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sop_instance_uid: Option<String>,
    deleted_millis: i64,
}

/// Returns the bytes that the pools keep of a deletion.
pub(crate) fn encode(tombstone: &Tombstone) -> Vec<u8> {
    let record = Record {
        study_instance_uid: tombstone.study.to_string(),
        series_instance_uid: tombstone.series.as_ref().map(ToString::to_string),
        sop_instance_uid: tombstone.instance.as_ref().map(ToString::to_string),
        deleted_millis: tombstone.deleted_millis,
    };
    serde_json::to_vec(&record).expect("text and numbers are always JSON")
}

/// Reads what `encode` wrote; `None` if it is damaged.
pub(crate) fn decode(bytes: &[u8]) -> Option<Tombstone> {
    let record: Record = serde_json::from_slice(bytes).ok()?;
    let uid = |text: Option<String>| text.map(|text| text.parse().ok()).map_or(Some(None), |uid| uid.map(Some));
    Some(Tombstone {
        study: record.study_instance_uid.parse().ok()?,
        series: uid(record.series_instance_uid)?,
        instance: uid(record.sop_instance_uid)?,
        deleted_millis: record.deleted_millis,
    })
}

/// What was deleted: a study, a series of it, or an instance of that.
type Target = (Uid, Option<Uid>, Option<Uid>);

fn target(tombstone: &Tombstone) -> Target {
    (tombstone.study.clone(), tombstone.series.clone(), tombstone.instance.clone())
}

/// All deletions, for the look at every arriving instance.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    targets: HashSet<Target>,
    /// The UIDs of what was deleted, whatever it belonged to.
    uids: HashSet<Uid>,
}

impl Tombstones {
    pub(crate) fn enter(&self, tombstone: &Tombstone) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let uid = tombstone.instance.as_ref().or(tombstone.series.as_ref()).unwrap_or(&tombstone.study);
        known.uids.insert(uid.clone());
        known.targets.insert(target(tombstone));
    }

    /// Refuses an instance that was deleted, alone or with its series or study (ST-086). The same UID elsewhere is another
    /// instance, as for the index.
    pub(crate) fn check(&self, identifiers: &Identifiers) -> Result<(), Error> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.targets.is_empty() {
            return Ok(());
        }
        let study = identifiers.study_instance_uid.clone();
        let series = Some(identifiers.series_instance_uid.clone());
        let instance = Some(identifiers.sop_instance_uid.clone());
        let deleted = [(study.clone(), None, None), (study.clone(), series.clone(), None), (study, series, instance)];
        if deleted.iter().any(|target| known.targets.contains(target)) { Err(Error::Deleted) } else { Ok(()) }
    }

    pub(crate) fn has(&self, uid: &Uid) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).uids.contains(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_series_refuses_its_instances_and_no_others() {
        let tombstones = Tombstones::default();
        let deleted = Tombstone {
            study: "1.2".parse().unwrap(),
            series: Some("1.2.3".parse().unwrap()),
            instance: None,
            deleted_millis: 7,
        };
        assert_eq!(decode(&encode(&deleted)), Some(deleted.clone()));
        tombstones.enter(&deleted);
        let instance = |series: &str| Identifiers {
            sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".parse().unwrap(),
            sop_instance_uid: "1.2.3.4".parse().unwrap(),
            study_instance_uid: "1.2".parse().unwrap(),
            series_instance_uid: series.parse().unwrap(),
        };
        assert!(matches!(tombstones.check(&instance("1.2.3")), Err(Error::Deleted)));
        assert!(tombstones.check(&instance("1.2.4")).is_ok());
        let elsewhere = Identifiers { study_instance_uid: "1.3".parse().unwrap(), ..instance("1.2.3") };
        assert!(tombstones.check(&elsewhere).is_ok());
        assert!(tombstones.has(&"1.2.3".parse().unwrap()) && !tombstones.has(&"1.2".parse().unwrap()));
    }
}
