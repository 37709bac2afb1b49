//! Studies: what they are made of and the instances that come out.

use crate::element::{Elements, Form};
use crate::names::Charset;
use crate::random::Random;
use crate::{phantom, rle};

/// What to generate. The same specification gives the same bytes for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudySpec {
    /// Decides on UIDs, identifiers, dates and noise.
    pub seed: u64,
    /// How many series.
    pub series: u32,
    /// How many instances each series has.
    pub instances_per_series: u32,
    /// Rows of a frame.
    pub rows: u16,
    /// Columns of a frame.
    pub columns: u16,
    /// Frames of an instance; more than one makes a multi-frame secondary capture of it.
    pub frames: u16,
    /// Modality and with it the SOP class.
    pub modality: Modality,
    /// Character set of the patient's name.
    pub charset: Charset,
    /// Transfer syntax.
    pub encoding: Encoding,
    /// Study date `YYYYMMDD`; absent: a day between 2015 and 2024 that the seed decides on.
    pub study_date: Option<String>,
}

impl Default for StudySpec {
    /// One series of 32 CT slices of about 60 KB.
    fn default() -> Self {
        Self {
            seed: 1,
            series: 1,
            instances_per_series: 32,
            rows: 172,
            columns: 172,
            frames: 1,
            modality: Modality::Ct,
            charset: Charset::Ascii,
            encoding: Encoding::ExplicitLittleEndian,
            study_date: None,
        }
    }
}

/// Modality of a generated study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modality {
    /// CT Image Storage.
    Ct,
    /// MR Image Storage.
    Mr,
    /// Computed Radiography Image Storage.
    Cr,
    /// Multi-frame Grayscale Word Secondary Capture Image Storage.
    Ot,
}

/// Transfer syntax of a generated study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// 1.2.840.10008.1.2.1
    ExplicitLittleEndian,
    /// 1.2.840.10008.1.2
    ImplicitLittleEndian,
    /// 1.2.840.10008.1.2.5, one fragment a frame behind a Basic Offset Table.
    RleLossless,
}

/// One generated instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// SOP Class UID (0008,0016).
    pub sop_class_uid: &'static str,
    /// SOP Instance UID (0008,0018).
    pub sop_instance_uid: String,
    /// Study Instance UID (0020,000D).
    pub study_instance_uid: String,
    /// Series Instance UID (0020,000E).
    pub series_instance_uid: String,
    /// Transfer Syntax UID of the data set.
    pub transfer_syntax_uid: &'static str,
    /// Patient ID (0010,0020).
    pub patient_id: String,
    /// Instance Number (0020,0013).
    pub instance_number: u32,
    /// The encoded data set.
    pub data_set: Vec<u8>,
}

/// Generates the instances of a study, by series and instance number.
pub fn study(spec: StudySpec) -> impl Iterator<Item = Instance> {
    let identity = Identity::new(&spec);
    let instances = u64::from(spec.series) * u64::from(spec.instances_per_series);
    (0..instances).map(move |index| instance(&spec, &identity, index))
}

impl Modality {
    /// Returns the value of (0008,0060).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ct => "CT",
            Self::Mr => "MR",
            Self::Cr => "CR",
            Self::Ot => "OT",
        }
    }

    fn sop_class_uid(self, frames: u16) -> &'static str {
        match self {
            Self::Ct | Self::Mr | Self::Cr if frames > 1 => "1.2.840.10008.5.1.4.1.1.7.3",
            Self::Ct => "1.2.840.10008.5.1.4.1.1.2",
            Self::Mr => "1.2.840.10008.5.1.4.1.1.4",
            Self::Cr => "1.2.840.10008.5.1.4.1.1.1",
            Self::Ot => "1.2.840.10008.5.1.4.1.1.7.3",
        }
    }
}

impl Encoding {
    /// Returns the transfer syntax's UID.
    pub fn transfer_syntax_uid(self) -> &'static str {
        match self {
            Self::ExplicitLittleEndian => "1.2.840.10008.1.2.1",
            Self::ImplicitLittleEndian => "1.2.840.10008.1.2",
            Self::RleLossless => "1.2.840.10008.1.2.5",
        }
    }

    fn form(self) -> Form {
        match self {
            Self::ExplicitLittleEndian | Self::RleLossless => Form::Explicit,
            Self::ImplicitLittleEndian => Form::Implicit,
        }
    }
}

/// What all instances of a study share.
struct Identity {
    /// Number behind `2.25.` (PS3.5 §B.2); the low 40 bits count series and instances.
    root: u128,
    date: String,
    time: String,
    patient_id: String,
    accession_number: String,
}

impl Identity {
    fn new(spec: &StudySpec) -> Self {
        let mut random = Random::new(spec.seed, 0x5EED);
        // Bit 126 is set so that every identifier has the same number of digits or one more.
        let root = (u128::from(random.next()) << 64 | u128::from(random.next())) & (u128::MAX >> 1);
        let root = (root | (1 << 126)) >> 40 << 40;
        let day = random.next();
        let date = format!("{}{:02}{:02}", 2015 + day % 10, 1 + day / 10 % 12, 1 + day / 120 % 28);
        let time = format!("{:02}{:02}{:02}", 7 + day / 3360 % 12, day / 40_320 % 60, day / 9 % 60);
        Self {
            root,
            date: spec.study_date.clone().unwrap_or(date),
            time,
            patient_id: format!("TEST-{:06}", spec.seed % 1_000_000),
            accession_number: format!("ACC{:08}", spec.seed % 100_000_000),
        }
    }

    /// Returns the UID of the study (0, 0), of a series (n, 0) or of an instance (n, i).
    fn uid(&self, series: u64, instance: u64) -> String {
        format!("2.25.{}", self.root + (u128::from(series) << 24) + u128::from(instance))
    }
}

fn instance(spec: &StudySpec, identity: &Identity, index: u64) -> Instance {
    let per_series = u64::from(spec.instances_per_series);
    let (series, number) = (index / per_series + 1, index % per_series + 1);
    let mut instance = Instance {
        sop_class_uid: spec.modality.sop_class_uid(spec.frames),
        sop_instance_uid: identity.uid(series, number),
        study_instance_uid: identity.uid(0, 0),
        series_instance_uid: identity.uid(series, 0),
        transfer_syntax_uid: spec.encoding.transfer_syntax_uid(),
        patient_id: identity.patient_id.clone(),
        instance_number: u32::try_from(number).expect("it came from a u32"),
        data_set: Vec::new(),
    };
    let mut elements = Elements::new(spec.encoding.form());
    write_study(&mut elements, spec, identity, &instance);
    write_image(&mut elements, spec, series, &instance);
    write_pixels(&mut elements, spec, series, number);
    instance.data_set = elements.into_bytes();
    instance
}

/// Writes groups 0008 and 0010: SOP common, study, patient.
fn write_study(out: &mut Elements, spec: &StudySpec, identity: &Identity, instance: &Instance) {
    if let Some(charset) = spec.charset.specific_character_set() {
        out.text(0x0008_0005, *b"CS", charset);
    }
    out.text(0x0008_0008, *b"CS", "ORIGINAL\\PRIMARY\\AXIAL");
    out.uid(0x0008_0016, instance.sop_class_uid);
    out.uid(0x0008_0018, &instance.sop_instance_uid);
    out.text(0x0008_0020, *b"DA", &identity.date);
    out.text(0x0008_0021, *b"DA", &identity.date);
    out.text(0x0008_0030, *b"TM", &identity.time);
    out.text(0x0008_0031, *b"TM", &identity.time);
    out.text(0x0008_0050, *b"SH", &identity.accession_number);
    out.text(0x0008_0060, *b"CS", spec.modality.as_str());
    out.text(0x0008_0070, *b"LO", "Filmroom testdata");
    out.text(0x0008_0090, *b"PN", "Nobody^Generated");
    out.text(0x0008_1030, *b"LO", "Generated phantom");
    let mut code = Elements::new(spec.encoding.form());
    code.text(0x0008_0100, *b"SH", "PHANTOM");
    code.text(0x0008_0102, *b"SH", "99TESTDATA");
    code.text(0x0008_0104, *b"LO", "Generated phantom");
    out.sequence(0x0008_1032, code);
    out.text(0x0008_103E, *b"LO", "Generated slices");
    out.encoded_text(0x0010_0010, *b"PN", spec.charset.name_bytes());
    out.text(0x0010_0020, *b"LO", &instance.patient_id);
    out.text(0x0010_0030, *b"DA", "");
    out.text(0x0010_0040, *b"CS", "O");
}

/// Writes groups 0018 to 0028: acquisition, relationship, geometry.
fn write_image(out: &mut Elements, spec: &StudySpec, series: u64, instance: &Instance) {
    let position = f64::from(instance.instance_number) * 1.25;
    out.text(0x0018_0050, *b"DS", "1.25");
    out.uid(0x0020_000D, &instance.study_instance_uid);
    out.uid(0x0020_000E, &instance.series_instance_uid);
    out.text(0x0020_0010, *b"SH", "1");
    out.text(0x0020_0011, *b"IS", &series.to_string());
    out.text(0x0020_0013, *b"IS", &instance.instance_number.to_string());
    out.text(0x0020_0032, *b"DS", &format!("-200\\-200\\{position}"));
    out.text(0x0020_0037, *b"DS", "1\\0\\0\\0\\1\\0");
    out.uid(0x0020_0052, &format!("{}.1", instance.series_instance_uid));
    out.text(0x0020_1041, *b"DS", &position.to_string());
    out.us(0x0028_0002, 1);
    out.text(0x0028_0004, *b"CS", "MONOCHROME2");
    if spec.frames > 1 || spec.modality == Modality::Ot {
        out.text(0x0028_0008, *b"IS", &spec.frames.to_string());
    }
    out.us(0x0028_0010, spec.rows);
    out.us(0x0028_0011, spec.columns);
    out.text(0x0028_0030, *b"DS", "0.8\\0.8");
    out.us(0x0028_0100, 16);
    out.us(0x0028_0101, 12);
    out.us(0x0028_0102, 11);
    out.us(0x0028_0103, 0);
    out.text(0x0028_1050, *b"DS", "40");
    out.text(0x0028_1051, *b"DS", "400");
    out.text(0x0028_1052, *b"DS", "-1024");
    out.text(0x0028_1053, *b"DS", "1");
}

fn write_pixels(out: &mut Elements, spec: &StudySpec, series: u64, number: u64) {
    let slices = u64::from(spec.instances_per_series) * u64::from(spec.frames);
    let frames = (0..u64::from(spec.frames)).map(|frame| {
        let slice = (number - 1) * u64::from(spec.frames) + frame;
        let position = u16::try_from(slice * 1023 / slices.max(1)).unwrap_or(1023);
        // The slice's own number goes into the seed: positions repeat in long series, noise does not.
        phantom::slice(spec.rows, spec.columns, position, spec.seed ^ (series << 32) ^ (slice << 8))
    });
    match spec.encoding {
        Encoding::ExplicitLittleEndian | Encoding::ImplicitLittleEndian => {
            out.binary(0x7FE0_0010, *b"OW", &frames.collect::<Vec<_>>().concat());
        }
        Encoding::RleLossless => {
            let frames: Vec<_> = frames.map(|frame| rle::encode(&frame)).collect();
            out.fragments(0x7FE0_0010, &frames);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn default_slices_are_about_60_kb_and_repeat() {
        let first: Vec<_> = study(StudySpec::default()).collect();
        assert_eq!(first.len(), 32);
        assert!(first.iter().all(|i| (59_000..62_000).contains(&i.data_set.len())));
        assert_eq!(first, study(StudySpec::default()).collect::<Vec<_>>());
    }

    #[test]
    fn identifiers_are_valid_and_unique_across_series_and_seeds() {
        let mut seen = BTreeSet::new();
        for seed in 0..20 {
            let spec =
                StudySpec { seed, series: 2, instances_per_series: 3, rows: 8, columns: 8, ..StudySpec::default() };
            for instance in study(spec) {
                for uid in [&instance.sop_instance_uid, &instance.series_instance_uid, &instance.study_instance_uid] {
                    assert!(uid.len() <= 44 && uid.bytes().all(|b| b.is_ascii_digit() || b == b'.'), "{uid}");
                }
                assert!(seen.insert(instance.sop_instance_uid));
            }
        }
        assert_eq!(seen.len(), 120);
    }

    #[test]
    fn every_combination_can_be_generated() {
        for charset in Charset::ALL {
            for encoding in [Encoding::ExplicitLittleEndian, Encoding::ImplicitLittleEndian, Encoding::RleLossless] {
                for (modality, frames) in [(Modality::Ct, 1), (Modality::Mr, 1), (Modality::Cr, 1), (Modality::Ot, 3)] {
                    let spec = StudySpec {
                        charset,
                        encoding,
                        modality,
                        frames,
                        rows: 9,
                        columns: 7,
                        instances_per_series: 1,
                        ..StudySpec::default()
                    };
                    let instance = study(spec).next().unwrap();
                    assert!(instance.data_set.len().is_multiple_of(2));
                    let name = charset.name_bytes();
                    assert!(instance.data_set.windows(name.len()).any(|w| w == name));
                }
            }
        }
    }

    #[test]
    fn first_bytes_of_the_default_study_never_change() {
        // A change here changes every figure and every recorded file that was made from a seed.
        let instance = study(StudySpec::default()).next().unwrap();
        let sum = instance.data_set.iter().fold(0_u64, |sum, b| sum.wrapping_mul(31).wrapping_add(u64::from(*b)));
        assert_eq!(
            (instance.study_instance_uid.as_str(), sum),
            ("2.25.126971841137730635189918832174919843840", 13_170_796_587_972_823_493)
        );
    }
}
