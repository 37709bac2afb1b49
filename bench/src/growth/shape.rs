//! The questions that are asked at every size, each with a way to make one from a study that is there.

use std::fmt::Write as _;

use testdata::SmallStudy;

/// What is asked.
pub(super) enum Question {
    /// A path of QIDO-RS.
    Web(String),
    /// C-FIND of studies: tag and value.
    Find(u32, String),
}

/// How many matches an answer must have to be right.
#[derive(Debug, Clone, Copy)]
pub(super) enum Right {
    /// Exactly so many.
    Exactly(usize),
    /// The studies of the patient.
    OfPatient,
    /// So many series as the study has.
    Series,
    /// So many instances as the study has.
    Instances,
    /// At least one, at most so many.
    UpTo(usize),
    /// None is right, too.
    AtMost(usize),
    /// All studies behind an offset, at most so many.
    Page(u64, u64),
}

/// A kind of question.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) right: Right,
    pub(super) question: fn(&SmallStudy) -> Question,
}

const fn shape(name: &'static str, right: Right, question: fn(&SmallStudy) -> Question) -> Shape {
    Shape { name, right, question }
}

fn studies(query: &str) -> Question {
    Question::Web(format!("/studies?{query}"))
}

/// Returns all kinds of questions. Those whose matches grow with the archive ask for a page of fixed size.
pub(super) fn all() -> Vec<Shape> {
    vec![
        shape("qido patient id", Right::OfPatient, |s| studies(&format!("PatientID={}", s.patient_id))),
        shape("qido accession number", Right::Exactly(1), |s| {
            studies(&format!("AccessionNumber={}", s.accession_number))
        }),
        shape("qido study uid", Right::Exactly(1), |s| studies(&format!("StudyInstanceUID={}", s.study_instance_uid))),
        shape("qido one month, 20", Right::UpTo(20), |s| {
            let month = s.study_date.get(..6).unwrap_or("201001");
            studies(&format!("StudyDate={month}01-{month}31&limit=20"))
        }),
        shape("qido one year and MR, 20", Right::AtMost(20), |s| {
            let year = year(s);
            studies(&format!("StudyDate={year}0101-{year}1231&ModalitiesInStudy=MR&limit=20"))
        }),
        shape("qido since a year and MR, 20", Right::AtMost(20), |_| {
            studies("StudyDate=20150101-&ModalitiesInStudy=MR&limit=20")
        }),
        shape("qido until a year and NM, 20", Right::AtMost(20), |s| {
            studies(&format!("StudyDate=-{}&ModalitiesInStudy=NM&limit=20", s.study_date))
        }),
        shape("qido rare modality, 20", Right::AtMost(20), |_| studies("ModalitiesInStudy=NM&limit=20")),
        shape("qido name prefix", Right::UpTo(usize::MAX), |s| {
            let name: String = alphabetic(s).chars().take(13).collect();
            studies(&format!("PatientName={}*", escaped(&name)))
        }),
        shape("qido short name prefix, 20", Right::AtMost(20), |_| studies("PatientName=Wan*&limit=20")),
        shape("qido *part of a name*", Right::UpTo(usize::MAX), |s| {
            let name: String = alphabetic(s).chars().skip(3).take(12).collect();
            studies(&format!("PatientName=*{}*&limit=20", escaped(&name)))
        }),
        shape("qido *王*, 20", Right::AtMost(20), |_| studies("PatientName=*%E7%8E%8B*&limit=20")),
        shape("qido two modalities, 20", Right::AtMost(20), |_| studies("ModalitiesInStudy=NM,MG&limit=20")),
        shape("qido modality that none has", Right::Exactly(0), |_| studies("ModalitiesInStudy=XX&limit=20")),
        shape("qido page of 50", Right::Page(0, 50), |_| studies("limit=50")),
        shape("qido page of 50 at 5,000", Right::Page(5_000, 50), |_| studies("limit=50&offset=5000")),
        shape("qido series of a study", Right::Series, |s| {
            Question::Web(format!("/studies/{}/series", s.study_instance_uid))
        }),
        shape("qido instances of a study", Right::Instances, |s| {
            Question::Web(format!("/studies/{}/instances", s.study_instance_uid))
        }),
        shape("qido 50 instances", Right::Exactly(50), |_| Question::Web("/instances?limit=50".to_owned())),
        shape("find patient id", Right::OfPatient, |s| Question::Find(0x0010_0020, s.patient_id.clone())),
        shape("find accession number", Right::Exactly(1), |s| Question::Find(0x0008_0050, s.accession_number.clone())),
        shape("find study uid", Right::Exactly(1), |s| Question::Find(0x0020_000D, s.study_instance_uid.clone())),
        shape("find name prefix", Right::UpTo(usize::MAX), |s| {
            let name: String = alphabetic(s).chars().take(13).collect();
            Question::Find(0x0010_0010, format!("{name}*"))
        }),
    ]
}

fn year(study: &SmallStudy) -> &str {
    study.study_date.get(..4).unwrap_or("2010")
}

fn alphabetic(study: &SmallStudy) -> &str {
    study.patient_name.split('=').next().unwrap_or_default()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a string takes everything");
        }
    }
    escaped
}
