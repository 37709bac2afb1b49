//! Comparing what is served with what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use serde::Serialize;
use testdata::Instance;

use super::studies::{Studies, spec};
use crate::http;

/// DICOM files in whatever transfer syntax they are stored.
const ACCEPT: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
/// One instance in so many is fetched on its own, too.
const ALONE_EVERY: usize = 16;

/// What the comparison found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Compared {
    /// Instances that were fetched and are the same.
    pub same: usize,
    /// Instances that were acknowledged and are not served as they were sent: UIDs.
    pub lost: Vec<String>,
    /// UIDs of studies with an instance whose bytes were never sent, or that is served more than once.
    pub different: Vec<String>,
    /// Instances that a search lists more than once: UIDs.
    pub doubled: Vec<String>,
    /// Instances that were acknowledged and that a search does not list: UIDs.
    pub not_found: Vec<String>,
    /// UIDs of instances that a search lists and that were never sent.
    pub strange: Vec<String>,
    /// UIDs of studies whose count of instances differs from the list.
    pub miscounted: Vec<String>,
}

impl Compared {
    /// Whether everything is as it should be.
    pub fn is_clean(&self) -> bool {
        let Self { same: _, lost, different, doubled, not_found, strange, miscounted } = self;
        [lost, different, doubled, not_found, strange, miscounted].iter().all(|list| list.is_empty())
    }

    pub(super) fn add(&mut self, other: Self) {
        self.same += other.same;
        self.lost.extend(other.lost);
        self.different.extend(other.different);
        self.doubled.extend(other.doubled);
        self.not_found.extend(other.not_found);
        self.strange.extend(other.strange);
        self.miscounted.extend(other.miscounted);
    }
}

/// Fetches and searches everything that was acknowledged; what is in `maybe` may be there or not.
pub(super) fn compare(address: &str, acknowledged: &Studies, maybe: &Studies) -> anyhow::Result<Compared> {
    let mut found = Compared::default();
    for (seed, numbers) in acknowledged {
        let study: Vec<Instance> = testdata::study(spec(*seed)).collect();
        let sent: Vec<&Instance> = numbers.iter().filter_map(|number| study.get(*number)).collect();
        let perhaps = maybe.get(seed).into_iter().flatten().filter_map(|number| study.get(*number));
        let perhaps: Vec<&Instance> = perhaps.collect();
        fetch(address, &sent, &perhaps, &mut found)?;
        search(address, &sent, &perhaps, &mut found)?;
    }
    Ok(found)
}

/// Fetches the study as a whole and some of its instances alone.
fn fetch(address: &str, sent: &[&Instance], perhaps: &[&Instance], found: &mut Compared) -> anyhow::Result<()> {
    let Some(first) = sent.first() else {
        return Ok(());
    };
    let study = &first.study_instance_uid;
    let answer = http::get(address, &format!("/dicomweb/studies/{study}"), ACCEPT)?;
    let parts = if answer.status == 200 { answer.parts().unwrap_or_default() } else { Vec::new() };
    let mut served: BTreeMap<&[u8], usize> = BTreeMap::new();
    for part in &parts {
        *served.entry(data_set(part).unwrap_or_default()).or_default() += 1;
    }
    for (place, instance) in sent.iter().enumerate() {
        let data_set = instance.data_set.as_slice();
        if served.contains_key(data_set) && (!place.is_multiple_of(ALONE_EVERY) || alone(address, instance)?) {
            found.same += 1;
        } else {
            found.lost.push(instance.sop_instance_uid.clone());
        }
    }
    let known: BTreeSet<&[u8]> = sent.iter().chain(perhaps).map(|instance| instance.data_set.as_slice()).collect();
    if served.iter().any(|(data_set, count)| *count > 1 || !known.contains(data_set)) {
        found.different.push(study.clone());
    }
    Ok(())
}

/// Fetches one instance and tells whether it is what was sent.
fn alone(address: &str, instance: &Instance) -> anyhow::Result<bool> {
    let path = format!(
        "/dicomweb/studies/{}/series/{}/instances/{}",
        instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid
    );
    let answer = http::get(address, &path, ACCEPT)?;
    Ok(answer.status == 200 && same(&answer, instance))
}

/// Whether the answer is one DICOM file with exactly the data set that was sent.
fn same(answer: &http::Answer, instance: &Instance) -> bool {
    let Ok(parts) = answer.parts() else {
        return false;
    };
    let [file] = parts.as_slice() else {
        return false;
    };
    data_set(file) == Some(&instance.data_set)
}

/// Returns the data set of a DICOM file.
fn data_set(file: &[u8]) -> Option<&[u8]> {
    // (0002,0000) comes first: its value counts the bytes behind it up to the data set (PS3.10 §7.1).
    let meta_bytes = u32::from_le_bytes(*file.get(140..)?.first_chunk()?);
    file.get(144 + usize::try_from(meta_bytes).ok()?..)
}

fn search(address: &str, sent: &[&Instance], perhaps: &[&Instance], found: &mut Compared) -> anyhow::Result<()> {
    let Some(first) = sent.first() else {
        return Ok(());
    };
    let study = &first.study_instance_uid;
    let matches = matches(address, &format!("/dicomweb/studies/{study}/instances?limit=5000"))?;
    let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
    for uid in matches.iter().filter_map(|found| found.pointer("/00080018/Value/0")?.as_str()) {
        *listed.entry(uid).or_default() += 1;
    }
    found.doubled.extend(listed.iter().filter(|(_, count)| **count > 1).map(|(uid, _)| (*uid).to_owned()));
    let listed: BTreeSet<&str> = listed.into_keys().collect();
    let missing = sent.iter().filter(|instance| !listed.contains(instance.sop_instance_uid.as_str()));
    found.not_found.extend(missing.map(|instance| instance.sop_instance_uid.clone()));
    let known: BTreeSet<&str> = sent.iter().chain(perhaps).map(|instance| instance.sop_instance_uid.as_str()).collect();
    found.strange.extend(listed.difference(&known).map(|uid| (*uid).to_owned()));
    let path = format!("/dicomweb/studies?StudyInstanceUID={study}&includefield=00201208");
    let studies = self::matches(address, &path)?;
    let count = |study: &serde_json::Value| study.pointer("/00201208/Value/0")?.as_u64();
    let counts: Vec<_> = studies.iter().map(count).collect();
    if counts != [u64::try_from(listed.len()).ok()] {
        found.miscounted.push(format!("{study}: {counts:?} of {}", listed.len()));
    }
    Ok(())
}

/// Returns the matches of a search.
fn matches(address: &str, path: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    let answer = http::get(address, path, "application/dicom+json")?;
    ensure!(matches!(answer.status, 200 | 204), "search {path}: status {}", answer.status);
    let body = if answer.body.is_empty() { b"[]" } else { answer.body.as_slice() };
    serde_json::from_slice(body).context("read the search's answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_is_seen() {
        let instance = testdata::study(spec(1)).next().unwrap();
        let mut file = testdata::part10(&instance);
        let answer = |file: &[u8]| http::Answer {
            status: 200,
            headers: vec![("content-type".to_owned(), "multipart/related; boundary=b".to_owned())],
            body: [b"--b\r\n\r\n", file, b"\r\n--b--"].concat(),
        };
        assert!(same(&answer(&file), &instance));
        *file.last_mut().unwrap() ^= 1;
        assert!(!same(&answer(&file), &instance));
        assert!(!same(&answer(&file[..100]), &instance));
    }
}
