//! What the index keeps of each level of the query model (PS3.4 §C.6, PS3.18 §10.6.3.3).

use dicom_core::header::Tag;

use super::{Attribute, Attributes, PersonName, Value};

/// Most that the index keeps of one level: some ten times what devices write. A page of hundreds of rows is in memory
/// at a time, whoever wrote them.
const LEVEL_BYTES_MAX: usize = 16 << 10;
/// What an attribute, a value of a list or an item counts beside its characters.
const EACH_BYTES: usize = 32;
/// Most items, nested ones too, that an attribute which is kept can have.
pub(super) const ITEMS_MAX: usize = LEVEL_BYTES_MAX / EACH_BYTES;

/// The attributes of one instance, sorted by the level that they belong to. Absent ones are absent here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LevelAttributes {
    /// Of the patient.
    pub patient: Attributes,
    /// Of the study, the patient's age and size among them.
    pub study: Attributes,
    /// Of the series.
    pub series: Attributes,
    /// Of the instance, as far as slices of a series have them in common: what frames need, and what kind
    /// of object it is.
    pub instance: Attributes,
    /// Of the instance, different from slice to slice.
    pub instance_varying: Attributes,
    /// About what all of them take in memory.
    pub bytes: usize,
}

/// Sorts the attributes of an instance by level, leaving out what is not indexed and what is too long for it.
pub fn level_attributes(all: &Attributes) -> LevelAttributes {
    let mut bytes = 0;
    let mut of = |tags| picked(all, tags, &mut bytes);
    let (patient, study, series) = (of(PATIENT), of(STUDY), of(SERIES));
    let (instance, instance_varying) = (of(INSTANCE), of(INSTANCE_VARYING));
    LevelAttributes { patient, study, series, instance, instance_varying, bytes }
}

/// Tells whether an attribute is kept at one of the levels.
pub(super) fn is_indexed(tag: Tag) -> bool {
    [PATIENT, STUDY, SERIES, INSTANCE, INSTANCE_VARYING].iter().any(|level| level.binary_search(&tag).is_ok())
}

fn picked(all: &Attributes, tags: &[Tag], total: &mut usize) -> Attributes {
    let mut left = LEVEL_BYTES_MAX;
    let pick = |tag: &Tag| {
        let attribute = all.get(*tag)?;
        left = left.checked_sub(bytes_of(attribute))?;
        Some((*tag, attribute.clone()))
    };
    let picked = tags.iter().filter_map(pick).collect();
    *total += LEVEL_BYTES_MAX - left;
    Attributes(picked)
}

fn bytes_of(attribute: &Attribute) -> usize {
    let name = |name: &PersonName| name.alphabetic.len() + name.ideographic.len() + name.phonetic.len();
    let values = match &attribute.value {
        Value::Empty | Value::Bulk { .. } => 0,
        Value::Text(texts) => texts.iter().map(|text| text.len() + EACH_BYTES).sum(),
        Value::PersonNames(names) => names.iter().map(|one| name(one) + EACH_BYTES).sum(),
        Value::Integers(numbers) => numbers.len() * EACH_BYTES,
        Value::Floats(numbers) => numbers.len() * EACH_BYTES,
        Value::Binary(bytes) => bytes.len() * 2,
        Value::Sequence(items) => {
            let item = |item: &Attributes| item.0.values().map(bytes_of).sum::<usize>() + EACH_BYTES;
            items.iter().map(item).sum()
        }
    };
    values + EACH_BYTES
}

#[rustfmt::skip]
const PATIENT: &[Tag] = &[
    Tag(0x0010, 0x0010), // PatientName
    Tag(0x0010, 0x0020), // PatientID
    Tag(0x0010, 0x0021), // IssuerOfPatientID
    Tag(0x0010, 0x0024), // IssuerOfPatientIDQualifiersSequence
    Tag(0x0010, 0x0030), // PatientBirthDate
    Tag(0x0010, 0x0032), // PatientBirthTime
    Tag(0x0010, 0x0040), // PatientSex
    Tag(0x0010, 0x1000), // OtherPatientIDs
    Tag(0x0010, 0x1001), // OtherPatientNames
    Tag(0x0010, 0x1002), // OtherPatientIDsSequence
    Tag(0x0010, 0x2160), // EthnicGroup
    Tag(0x0010, 0x4000), // PatientComments
];

#[rustfmt::skip]
const STUDY: &[Tag] = &[
    Tag(0x0008, 0x0020), // StudyDate
    Tag(0x0008, 0x0030), // StudyTime
    Tag(0x0008, 0x0050), // AccessionNumber
    Tag(0x0008, 0x0051), // IssuerOfAccessionNumberSequence
    Tag(0x0008, 0x0090), // ReferringPhysicianName
    Tag(0x0008, 0x0201), // TimezoneOffsetFromUTC
    Tag(0x0008, 0x1030), // StudyDescription
    Tag(0x0008, 0x1032), // ProcedureCodeSequence
    Tag(0x0008, 0x1060), // NameOfPhysiciansReadingStudy
    Tag(0x0008, 0x1080), // AdmittingDiagnosesDescription
    Tag(0x0010, 0x1010), // PatientAge
    Tag(0x0010, 0x1020), // PatientSize
    Tag(0x0010, 0x1030), // PatientWeight
    Tag(0x0020, 0x000D), // StudyInstanceUID
    Tag(0x0020, 0x0010), // StudyID
];

#[rustfmt::skip]
const SERIES: &[Tag] = &[
    Tag(0x0008, 0x0021), // SeriesDate
    Tag(0x0008, 0x0031), // SeriesTime
    Tag(0x0008, 0x0060), // Modality
    Tag(0x0008, 0x0070), // Manufacturer
    Tag(0x0008, 0x0080), // InstitutionName
    Tag(0x0008, 0x0201), // TimezoneOffsetFromUTC
    Tag(0x0008, 0x1010), // StationName
    Tag(0x0008, 0x103E), // SeriesDescription
    Tag(0x0008, 0x103F), // SeriesDescriptionCodeSequence
    Tag(0x0008, 0x1040), // InstitutionalDepartmentName
    Tag(0x0008, 0x1050), // PerformingPhysicianName
    Tag(0x0008, 0x1090), // ManufacturerModelName
    Tag(0x0018, 0x0015), // BodyPartExamined
    Tag(0x0018, 0x1030), // ProtocolName
    Tag(0x0018, 0x5100), // PatientPosition
    Tag(0x0020, 0x000E), // SeriesInstanceUID
    Tag(0x0020, 0x0011), // SeriesNumber
    Tag(0x0020, 0x0052), // FrameOfReferenceUID
    Tag(0x0020, 0x0060), // Laterality
    Tag(0x0040, 0x0244), // PerformedProcedureStepStartDate
    Tag(0x0040, 0x0245), // PerformedProcedureStepStartTime
    Tag(0x0040, 0x0275), // RequestAttributesSequence
];

#[rustfmt::skip]
const INSTANCE: &[Tag] = &[
    Tag(0x0008, 0x0008), // ImageType
    Tag(0x0008, 0x001A), // RelatedGeneralSOPClassUID
    Tag(0x0028, 0x0002), // SamplesPerPixel
    Tag(0x0028, 0x0004), // PhotometricInterpretation
    Tag(0x0028, 0x0006), // PlanarConfiguration
    Tag(0x0028, 0x0008), // NumberOfFrames
    Tag(0x0028, 0x0010), // Rows
    Tag(0x0028, 0x0011), // Columns
    Tag(0x0028, 0x0100), // BitsAllocated
    Tag(0x0028, 0x0103), // PixelRepresentation
    Tag(0x0040, 0xA043), // ConceptNameCodeSequence
    Tag(0x0040, 0xA491), // CompletionFlag
    Tag(0x0040, 0xA493), // VerificationFlag
    Tag(0x0042, 0x0010), // DocumentTitle
    Tag(0x0042, 0x0012), // MIMETypeOfEncapsulatedDocument
    Tag(0x0070, 0x0080), // ContentLabel
];

#[rustfmt::skip]
const INSTANCE_VARYING: &[Tag] = &[
    Tag(0x0008, 0x0023), // ContentDate
    Tag(0x0008, 0x0033), // ContentTime
    Tag(0x0020, 0x0012), // AcquisitionNumber
    Tag(0x0020, 0x0013), // InstanceNumber
];
