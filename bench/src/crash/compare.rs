//! Comparing what is served with what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use serde::Serialize;
use testdata::Instance;

use crate::crash::{Acknowledged, spec};
use crate::http;

/// DICOM files in whatever transfer syntax they are stored.
const ACCEPT: &str = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";

/// What the comparison found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Compared {
    /// Instances that were fetched and are the same.
    pub same: usize,
    /// Instances that were acknowledged and are not served: UIDs.
    pub lost: Vec<String>,
    /// Instances that are served with other bytes: UIDs.
    pub different: Vec<String>,
    /// Instances that a search lists more than once: UIDs.
    pub doubled: Vec<String>,
    /// Instances that were acknowledged and that a search does not list: UIDs.
    pub not_found: Vec<String>,
}

impl Compared {
    /// Whether everything is as it should be.
    pub fn is_clean(&self) -> bool {
        [&self.lost, &self.different, &self.doubled, &self.not_found].iter().all(|list| list.is_empty())
    }
}

/// Fetches and searches everything that was acknowledged.
pub(super) fn compare(address: &str, acknowledged: &Acknowledged) -> anyhow::Result<Compared> {
    let mut found = Compared::default();
    for (seed, numbers) in acknowledged {
        let study: Vec<Instance> = testdata::study(spec(*seed)).collect();
        let sent: Vec<&Instance> = numbers.iter().filter_map(|number| study.get(*number)).collect();
        for instance in &sent {
            let path = format!(
                "/dicomweb/studies/{}/series/{}/instances/{}",
                instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid
            );
            let answer = http::get(address, &path, ACCEPT)?;
            match answer.status {
                200 if same(&answer, instance) => found.same += 1,
                200 => found.different.push(instance.sop_instance_uid.clone()),
                _ => found.lost.push(instance.sop_instance_uid.clone()),
            }
        }
        search(address, &sent, &mut found)?;
    }
    Ok(found)
}

/// Whether the answer is one DICOM file with exactly the data set that was sent.
fn same(answer: &http::Answer, instance: &Instance) -> bool {
    let Ok(parts) = answer.parts() else {
        return false;
    };
    let [file] = parts.as_slice() else {
        return false;
    };
    // (0002,0000) comes first: its value counts the bytes behind it up to the data set (PS3.10 §7.1).
    let meta_bytes = file.get(140..).and_then(|rest| rest.first_chunk()).map(|length| u32::from_le_bytes(*length));
    let data_set = meta_bytes.and_then(|length| file.get(144 + usize::try_from(length).ok()?..));
    data_set == Some(&instance.data_set)
}

fn search(address: &str, sent: &[&Instance], found: &mut Compared) -> anyhow::Result<()> {
    let Some(first) = sent.first() else {
        return Ok(());
    };
    let path = format!("/dicomweb/studies/{}/instances?limit=5000", first.study_instance_uid);
    let answer = http::get(address, &path, "application/dicom+json")?;
    ensure!(matches!(answer.status, 200 | 204), "search for instances: status {}", answer.status);
    let body = if answer.body.is_empty() { b"[]" } else { answer.body.as_slice() };
    let matches: Vec<serde_json::Value> = serde_json::from_slice(body).context("read the search's answer")?;
    let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
    for uid in matches.iter().filter_map(|found| found.pointer("/00080018/Value/0")?.as_str()) {
        *listed.entry(uid).or_default() += 1;
    }
    found.doubled.extend(listed.iter().filter(|(_, count)| **count > 1).map(|(uid, _)| (*uid).to_owned()));
    let listed: BTreeSet<&str> = listed.into_keys().collect();
    let missing = sent.iter().filter(|instance| !listed.contains(instance.sop_instance_uid.as_str()));
    found.not_found.extend(missing.map(|instance| instance.sop_instance_uid.clone()));
    Ok(())
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
