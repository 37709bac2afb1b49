//! What is sent: generated instances whose identifiers can be made fresh in place, and the holdings that peers are read
//! from.

mod holdings;

use testdata::{Instance, Modality, StudySpec};

pub use holdings::{Holdings, Series, Study};

/// Bytes at the beginning of a data set that identifiers are looked for in: they lie in front of the pixels.
const HEAD_BYTES_MAX: usize = 4096;
/// Digits of a UID that are replaced, behind `2.25.` and the leading digit, which keeps the number below 2^128.
const SALT_DIGITS: usize = 8;

/// An instance that can be sent any number of times, each time as another patient's, of another study.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The instance as it was generated.
    pub instance: Instance,
    /// Length of the part that holds identifiers.
    head_bytes: usize,
    /// Where salts go.
    uids: Vec<usize>,
    /// Where the digits of the patient ID are.
    patient: Vec<usize>,
}

impl Sample {
    /// Finds the identifiers.
    pub fn new(instance: Instance) -> Self {
        let head = instance.data_set.get(..HEAD_BYTES_MAX).unwrap_or(&instance.data_set);
        // UIDs of a study differ in their last digits only.
        let common = instance.study_instance_uid.get(..24).unwrap_or(&instance.study_instance_uid).as_bytes();
        let uids: Vec<usize> = positions(head, common).map(|at| at + "2.25.1".len()).collect();
        let patient: Vec<usize> =
            positions(head, instance.patient_id.as_bytes()).map(|at| at + "TEST-".len()).collect();
        let last = uids.iter().chain(&patient).max().copied().unwrap_or(0);
        let head_bytes = (last + 64).min(instance.data_set.len());
        Self { instance, head_bytes, uids, patient }
    }

    /// Writes the head with the identifiers of a salt and returns the rest, which stays as it is.
    pub fn salted(&self, salt: u32, head: &mut Vec<u8>) -> &[u8] {
        let (own, rest) = self.instance.data_set.split_at(self.head_bytes);
        head.clear();
        head.extend_from_slice(own);
        let digits = salt_digits(salt);
        let mut patch = |at: usize, digits: &[u8]| {
            if let Some(place) = head.get_mut(at..at + digits.len()) {
                place.copy_from_slice(digits);
            }
        };
        self.uids.iter().for_each(|at| patch(*at, digits.as_bytes()));
        self.patient.iter().for_each(|at| patch(*at, digits.as_bytes().get(2..).unwrap_or_default()));
        rest
    }

    /// Returns the SOP Instance UID under a salt.
    pub fn sop_instance_uid(&self, salt: u32) -> String {
        salted_uid(&self.instance.sop_instance_uid, salt)
    }

    /// Returns the Study Instance UID under a salt.
    pub fn study_instance_uid(&self, salt: u32) -> String {
        salted_uid(&self.instance.study_instance_uid, salt)
    }

    /// Returns the DICOM file of the instance under a salt.
    pub fn file(&self, salt: u32) -> Vec<u8> {
        let mut data_set = Vec::new();
        let rest = self.salted(salt, &mut data_set);
        data_set.extend_from_slice(rest);
        let sop_instance_uid = self.sop_instance_uid(salt);
        testdata::part10(&Instance { data_set, sop_instance_uid, ..self.instance.clone() })
    }
}

/// Generates a study of CT slices of 60 KB.
pub fn slices(seed: u64, count: u32) -> Vec<Sample> {
    samples(slices_spec(seed, count))
}

/// Generates a study of CT slices that are as good as empty: what counts is their number.
pub fn tiny_slices(seed: u64, count: u32) -> Vec<Sample> {
    samples(StudySpec { seed, instances_per_series: count, rows: 8, columns: 8, ..StudySpec::default() })
}

/// Generates a study of large radiographs of 15 MB.
pub fn radiographs(seed: u64, count: u32) -> Vec<Sample> {
    samples(StudySpec {
        seed,
        instances_per_series: count,
        rows: 2800,
        columns: 2700,
        modality: Modality::Cr,
        ..StudySpec::default()
    })
}

/// Returns how many bytes these samples have together.
pub fn bytes(samples: &[Sample]) -> u64 {
    samples.iter().map(|sample| u64::try_from(sample.instance.data_set.len()).unwrap_or(u64::MAX)).sum()
}

fn slices_spec(seed: u64, count: u32) -> StudySpec {
    StudySpec { seed, instances_per_series: count, rows: 176, columns: 174, ..StudySpec::default() }
}

fn samples(spec: StudySpec) -> Vec<Sample> {
    testdata::study(spec).map(Sample::new).collect()
}

fn salted_uid(uid: &str, salt: u32) -> String {
    let (front, back) = uid.split_at("2.25.1".len());
    format!("{front}{}{}", salt_digits(salt), back.get(SALT_DIGITS..).unwrap_or_default())
}

fn salt_digits(salt: u32) -> String {
    format!("{:08}", salt % 100_000_000)
}

fn positions<'a>(bytes: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(needle.len().max(1)).enumerate().filter(move |(_, window)| *window == needle).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salted_copies_have_fresh_identifiers_of_the_same_length() {
        for sample in slices(5, 2) {
            let mut head = Vec::new();
            let rest = sample.salted(12_345_678, &mut head);
            let copy = [&head, rest].concat();
            assert_eq!(copy.len(), sample.instance.data_set.len());
            let has = |text: &str| positions(&copy, text.as_bytes()).count();
            let uid = sample.sop_instance_uid(12_345_678);
            assert!(uid.starts_with("2.25.") && uid.len() == sample.instance.sop_instance_uid.len(), "{uid}");
            assert_eq!((has(&uid), has("TEST-345678")), (1, 1));
            assert_eq!((has(&sample.instance.study_instance_uid), has(&sample.instance.sop_instance_uid)), (0, 0));
            assert!(uid["2.25.".len()..].parse::<u128>().is_ok(), "{uid}");
        }
    }

    #[test]
    fn slices_have_60_kb() {
        let all = slices(1, 3);
        assert!((180_000..190_000).contains(&bytes(&all)), "{}", bytes(&all));
    }
}
