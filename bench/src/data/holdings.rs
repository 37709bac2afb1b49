//! The holdings: large studies of slices, and many small studies with names in several scripts.

use std::net::SocketAddr;

use anyhow::Context;
use testdata::{Charset, StudySpec};

use super::{Sample, slices_spec};
use crate::load::dimse::{self, Store};
use crate::sizes::Sizes;

/// Associations that fill a peer.
const ASSOCIATIONS: u64 = 4;
/// Seed of the first large study; small ones follow from [`SMALL_SEED`].
const LARGE_SEED: u64 = 1_000;
/// Seed of the first small study.
const SMALL_SEED: u64 = 10_000;
/// Instances of a small study.
const SMALL_INSTANCES: u32 = 4;

/// What every peer holds.
#[derive(Debug)]
pub struct Holdings {
    /// One series each.
    pub large: Vec<Study>,
    /// A few small slices each.
    pub small: Vec<Study>,
    specs: Vec<StudySpec>,
}

/// A study as it was sent.
#[derive(Debug, Clone)]
pub struct Study {
    /// Study Instance UID.
    pub study_instance_uid: String,
    /// Patient ID.
    pub patient_id: String,
    /// Patient's name in Unicode.
    pub patient_name: &'static str,
    /// Its series.
    pub series: Vec<Series>,
    /// Bytes of all data sets.
    pub bytes: u64,
}

/// A series as it was sent.
#[derive(Debug, Clone)]
pub struct Series {
    /// Series Instance UID.
    pub series_instance_uid: String,
    /// SOP Instance UIDs by instance number.
    pub sop_instance_uids: Vec<String>,
}

impl Holdings {
    /// Plans the holdings; generates them once to know the identifiers.
    pub fn plan(sizes: &Sizes) -> Self {
        let large: Vec<StudySpec> =
            (0..sizes.large_studies).map(|n| slices_spec(LARGE_SEED + u64::from(n), sizes.slices)).collect();
        let small: Vec<StudySpec> =
            (0..sizes.small_studies).zip(Charset::ALL.into_iter().cycle()).map(small_spec).collect();
        let specs = [large.clone(), small.clone()].concat();
        Self { large: large.iter().map(study).collect(), small: small.iter().map(study).collect(), specs }
    }

    /// Returns how many instances there are.
    pub fn instances(&self) -> usize {
        self.large.iter().chain(&self.small).map(Study::instances).sum()
    }

    /// Sends everything to a peer, a study at a time on each association.
    pub fn send(&self, address: SocketAddr, ae: &str) -> anyhow::Result<()> {
        let lanes = usize::try_from(ASSOCIATIONS).context("count associations")?;
        std::thread::scope(|scope| {
            let send = |first: usize| -> anyhow::Result<()> {
                for specs in self.specs.iter().skip(first).step_by(lanes).collect::<Vec<_>>().chunks(50) {
                    let samples: Vec<Sample> =
                        specs.iter().flat_map(|spec| testdata::study((*spec).clone())).map(Sample::new).collect();
                    dimse::store(&Store { address, ae, samples: &samples, ..Store::default() })?;
                }
                Ok(())
            };
            let senders: Vec<_> = (0..lanes).map(|first| scope.spawn(move || send(first))).collect();
            senders
                .into_iter()
                .try_for_each(|sender| sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))?)
        })
    }
}

impl Study {
    /// Returns how many instances it has.
    pub fn instances(&self) -> usize {
        self.series.iter().map(|series| series.sop_instance_uids.len()).sum()
    }
}

fn small_spec((number, charset): (u32, Charset)) -> StudySpec {
    StudySpec {
        seed: SMALL_SEED + u64::from(number),
        instances_per_series: SMALL_INSTANCES,
        rows: 64,
        columns: 64,
        charset,
        ..StudySpec::default()
    }
}

fn study(spec: &StudySpec) -> Study {
    let mut found = Study {
        study_instance_uid: String::new(),
        patient_id: String::new(),
        patient_name: spec.charset.name(),
        series: Vec::new(),
        bytes: 0,
    };
    for instance in testdata::study(spec.clone()) {
        found.bytes += u64::try_from(instance.data_set.len()).unwrap_or(0);
        if found.series.last().is_none_or(|series| series.series_instance_uid != instance.series_instance_uid) {
            let uid = instance.series_instance_uid.clone();
            found.series.push(Series { series_instance_uid: uid, sop_instance_uids: Vec::new() });
        }
        if let Some(series) = found.series.last_mut() {
            series.sop_instance_uids.push(instance.sop_instance_uid);
        }
        (found.study_instance_uid, found.patient_id) = (instance.study_instance_uid, instance.patient_id);
    }
    found
}
