//! A hospital's worth of small studies, to fill an index with: many patients, names in several scripts, years of dates.

use crate::element::{Elements, Form};
use crate::random::Random;
use crate::study::Instance;

/// Days that the studies of a population are spread over.
pub const DAYS: u64 = 15 * 365;
/// First of those days.
const FIRST_YEAR: u64 = 2010;
/// Studies of each patient.
const STUDIES_OF_PATIENT: u64 = 3;
/// Side of an image, in pixels.
const SIDE: u16 = 4;

/// Some thousand or million small studies, in the order of their dates. The same one has the same bytes for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// Number of the first study; numbers tell populations apart that go into one archive.
    pub first: u64,
    /// How many studies.
    pub studies: u64,
}

/// One study of a population and what it can be found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallStudy {
    /// Study Instance UID (0020,000D).
    pub study_instance_uid: String,
    /// Patient ID (0010,0020).
    pub patient_id: String,
    /// Patient's Name (0010,0010) with all its component groups, in Unicode.
    pub patient_name: String,
    /// Accession Number (0008,0050).
    pub accession_number: String,
    /// Study Date (0008,0020).
    pub study_date: String,
    /// Modality (0008,0060) of all its series.
    pub modality: &'static str,
    /// One instance, or in one of four studies two, in one or two series.
    pub instances: Vec<Instance>,
}

/// Modality, SOP class, and how many of a hundred studies are of it.
const MODALITIES: [(&str, &str, u64); 7] = [
    ("CT", "1.2.840.10008.5.1.4.1.1.2", 30),
    ("MR", "1.2.840.10008.5.1.4.1.1.4", 20),
    ("CR", "1.2.840.10008.5.1.4.1.1.1", 15),
    ("DX", "1.2.840.10008.5.1.4.1.1.1.1", 15),
    ("US", "1.2.840.10008.5.1.4.1.1.6.1", 15),
    ("MG", "1.2.840.10008.5.1.4.1.1.1.2", 4),
    ("NM", "1.2.840.10008.5.1.4.1.1.20", 1),
];

const SYLLABLES: [&str; 24] = [
    "ba", "ber", "cla", "den", "dor", "el", "fan", "gor", "hal", "in", "jo", "kel", "lan", "mar", "nor", "ol", "per",
    "quin", "ros", "sen", "tal", "ur", "ven", "wil",
];
/// Family name in the alphabetic, ideographic and phonetic group.
const CHINESE: [(&str, &str); 10] = [
    ("Wang", "王"),
    ("Li", "李"),
    ("Zhang", "张"),
    ("Liu", "刘"),
    ("Chen", "陈"),
    ("Yang", "杨"),
    ("Zhao", "赵"),
    ("Huang", "黄"),
    ("Zhou", "周"),
    ("Wu", "吴"),
];
const CHINESE_GIVEN: [(&str, &str); 16] = [
    ("wei", "伟"),
    ("fang", "芳"),
    ("na", "娜"),
    ("min", "敏"),
    ("jing", "静"),
    ("li", "丽"),
    ("qiang", "强"),
    ("lei", "磊"),
    ("jun", "军"),
    ("yang", "洋"),
    ("yong", "勇"),
    ("yan", "艳"),
    ("jie", "杰"),
    ("tao", "涛"),
    ("ming", "明"),
    ("chao", "超"),
];
const JAPANESE: [(&str, &str, &str); 8] = [
    ("Yamada", "山田", "やまだ"),
    ("Sato", "佐藤", "さとう"),
    ("Suzuki", "鈴木", "すずき"),
    ("Takahashi", "高橋", "たかはし"),
    ("Tanaka", "田中", "たなか"),
    ("Ito", "伊藤", "いとう"),
    ("Watanabe", "渡辺", "わたなべ"),
    ("Kobayashi", "小林", "こばやし"),
];
const JAPANESE_GIVEN: [(&str, &str, &str); 8] = [
    ("Tarou", "太郎", "たろう"),
    ("Hanako", "花子", "はなこ"),
    ("Jirou", "次郎", "じろう"),
    ("Sakura", "桜", "さくら"),
    ("Makoto", "誠", "まこと"),
    ("Yuki", "雪", "ゆき"),
    ("Akira", "明", "あきら"),
    ("Ai", "愛", "あい"),
];

impl Population {
    /// Returns the study with an index below `studies`.
    pub fn study(&self, index: u64) -> SmallStudy {
        let number = self.first + index;
        let mut random = Random::new(number, 0x90B);
        let root = (u128::from(random.next()) << 64 | u128::from(random.next())) & (u128::MAX >> 1);
        let root = (root | (1 << 126)) >> 40 << 40;
        let patient = self.first + index % self.studies.div_ceil(STUDIES_OF_PATIENT);
        let (modality, sop_class) = modality(random.next() % 100);
        let mut study = SmallStudy {
            study_instance_uid: uid(root, 0, 0),
            patient_id: format!("PAT-{patient:08}"),
            patient_name: name(patient),
            accession_number: format!("A{number:09}"),
            study_date: date(index * DAYS / self.studies.max(1)),
            modality,
            instances: Vec::new(),
        };
        let time = format!("{:02}{:02}{:02}", random.next() % 24, random.next() % 60, random.next() % 60);
        let instances = 1 + u64::from(random.next().is_multiple_of(4));
        let two_series = random.next().is_multiple_of(2);
        for instance in 0..instances {
            let series = if two_series && instance > 0 { 2 } else { 1 };
            let made = instance_of(&study, sop_class, &time, (root, series, instance + 1));
            study.instances.push(made);
        }
        study
    }

    /// Returns how many studies a patient of this population has.
    pub fn studies_of(&self, patient_id: &str) -> usize {
        let patients = self.studies.div_ceil(STUDIES_OF_PATIENT);
        let number = patient_id.strip_prefix("PAT-").and_then(|number| number.parse::<u64>().ok());
        let Some(patient) = number.and_then(|number| number.checked_sub(self.first)) else { return 0 };
        (0..STUDIES_OF_PATIENT).filter(|time| patient < patients && time * patients + patient < self.studies).count()
    }
}

fn modality(percent: u64) -> (&'static str, &'static str) {
    let mut below = 0;
    for (modality, sop_class, share) in MODALITIES {
        below += share;
        if percent < below {
            return (modality, sop_class);
        }
    }
    ("CT", "1.2.840.10008.5.1.4.1.1.2")
}

fn uid(root: u128, series: u64, instance: u64) -> String {
    format!("2.25.{}", root + (u128::from(series) << 24) + u128::from(instance))
}

/// Six of ten names are Latin only, three Chinese, one Japanese.
fn name(patient: u64) -> String {
    let mut random = Random::new(patient, 0x4A3E);
    let script = random.next() % 10;
    if script < 6 {
        let mut word = |syllables: usize| (0..syllables).map(|_| choose(&mut random, &SYLLABLES)).collect::<String>();
        let (family, given) = (word(3), word(2));
        return format!("{}^{}", capital(&family), capital(&given));
    }
    if script < 9 {
        let family = choose(&mut random, &CHINESE);
        let (first, second) = (choose(&mut random, &CHINESE_GIVEN), choose(&mut random, &CHINESE_GIVEN));
        return format!("{}^{}{}={}^{}{}", family.0, capital(first.0), second.0, family.1, first.1, second.1);
    }
    let (family, given) = (choose(&mut random, &JAPANESE), choose(&mut random, &JAPANESE_GIVEN));
    format!("{}^{}={}^{}={}^{}", family.0, given.0, family.1, given.1, family.2, given.2)
}

fn choose<T: Copy, const N: usize>(random: &mut Random, of: &[T; N]) -> T {
    let chosen = usize::try_from(random.next() >> 32).unwrap_or(0) % N;
    of.get(chosen).copied().expect("a remainder is below the length")
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Years of 365 days without the last of a leap year's: every date is valid.
fn date(day: u64) -> String {
    const MONTHS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (year, mut rest) = (FIRST_YEAR + day / 365, day % 365);
    for (month, days) in (1..).zip(MONTHS) {
        if rest < days {
            return format!("{year}{month:02}{:02}", rest + 1);
        }
        rest -= days;
    }
    unreachable!("the months of a year have 365 days")
}

fn instance_of(study: &SmallStudy, sop_class: &'static str, time: &str, id: (u128, u64, u64)) -> Instance {
    let (root, series, number) = id;
    let mut instance = Instance {
        sop_class_uid: sop_class,
        sop_instance_uid: uid(root, series, number),
        study_instance_uid: study.study_instance_uid.clone(),
        series_instance_uid: uid(root, series, 0),
        transfer_syntax_uid: "1.2.840.10008.1.2.1",
        patient_id: study.patient_id.clone(),
        instance_number: u32::try_from(number).expect("there are two at most"),
        data_set: Vec::new(),
    };
    let mut out = Elements::new(Form::Explicit);
    out.text(0x0008_0005, *b"CS", "ISO_IR 192");
    out.uid(0x0008_0016, sop_class);
    out.uid(0x0008_0018, &instance.sop_instance_uid);
    out.text(0x0008_0020, *b"DA", &study.study_date);
    out.text(0x0008_0030, *b"TM", time);
    out.text(0x0008_0050, *b"SH", &study.accession_number);
    out.text(0x0008_0060, *b"CS", study.modality);
    out.text(0x0008_0090, *b"PN", "Nobody^Generated");
    out.text(0x0008_1030, *b"LO", "Generated study");
    out.text(0x0008_103E, *b"LO", "Generated slices");
    out.encoded_text(0x0010_0010, *b"PN", study.patient_name.as_bytes());
    out.text(0x0010_0020, *b"LO", &study.patient_id);
    out.text(0x0010_0030, *b"DA", "19700101");
    out.text(0x0010_0040, *b"CS", "O");
    out.uid(0x0020_000D, &instance.study_instance_uid);
    out.uid(0x0020_000E, &instance.series_instance_uid);
    out.text(0x0020_0010, *b"SH", "1");
    out.text(0x0020_0011, *b"IS", &series.to_string());
    out.text(0x0020_0013, *b"IS", &number.to_string());
    out.us(0x0028_0002, 1);
    out.text(0x0028_0004, *b"CS", "MONOCHROME2");
    out.us(0x0028_0010, SIDE);
    out.us(0x0028_0011, SIDE);
    out.us(0x0028_0100, 16);
    out.us(0x0028_0101, 12);
    out.us(0x0028_0102, 11);
    out.us(0x0028_0103, 0);
    out.binary(0x7FE0_0010, *b"OW", &[0; 32]);
    instance.data_set = out.into_bytes();
    instance
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn patients_have_several_studies_and_nothing_repeats() {
        let population = Population { first: 1_000, studies: 300 };
        let studies: Vec<SmallStudy> = (0..300).map(|index| population.study(index)).collect();
        assert_eq!(studies, (0..300).map(|index| population.study(index)).collect::<Vec<_>>());
        let patients: BTreeSet<_> = studies.iter().map(|s| (&s.patient_id, &s.patient_name)).collect();
        assert_eq!(patients.len(), 100);
        assert_eq!((population.studies_of("PAT-00001099"), population.studies_of("PAT-00001100")), (3, 0));
        let sops: Vec<_> = studies.iter().flat_map(|s| &s.instances).map(|i| &i.sop_instance_uid).collect();
        assert_eq!(sops.iter().collect::<BTreeSet<_>>().len(), sops.len());
        assert!(studies.iter().all(|s| (1..=2).contains(&s.instances.len())));
        assert!(studies.is_sorted_by_key(|s| s.study_date.clone()));
        assert_eq!((studies[0].study_date.as_str(), studies[299].study_date.as_str()), ("20100101", "20241213"));
        assert!(studies.iter().any(|s| s.patient_name.contains('王')));
    }

    #[test]
    fn every_day_of_fifteen_years_is_a_date() {
        let days: BTreeSet<String> = (0..DAYS).map(date).collect();
        assert_eq!(days.len(), usize::try_from(DAYS).unwrap());
        assert!(days.contains("20101231") && days.contains("20240101") && !days.contains("20240229"));
    }
}
