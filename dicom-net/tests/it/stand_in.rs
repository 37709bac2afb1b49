//! The archive's double as these tests use it: data sets are mere text, and UIDs say where an instance belongs.

use archive::double::{Double, Identify, State};
use archive::{Error, Origin};
use dicom_core::{Tag, VR};
use dicom_data::{Attribute, Attributes, Identifiers, Uid, Value};

/// Makes an empty double whose matches have a patient, a count and a sequence.
pub fn archive() -> Double {
    let identify = Identify { finish: belonging, ..Identify::default() };
    Double::new(State { identify, match_attributes: match_attributes(), ..State::default() })
}

/// Reads the UIDs of an instance from its own: a series' UID is its instances' less one component, a study's less two.
pub fn belonging(origin: &Origin, _data_set: &[u8]) -> Result<Identifiers, Error> {
    let sop_instance_uid = origin.sop_instance_uid.clone().unwrap();
    let series_instance_uid = parent(&sop_instance_uid)?;
    Ok(Identifiers {
        study_instance_uid: parent(&series_instance_uid)?,
        series_instance_uid,
        sop_instance_uid,
        sop_class_uid: origin.sop_class_uid.clone().unwrap(),
    })
}

fn parent(uid: &Uid) -> Result<Uid, Error> {
    let parent = uid.as_str().rsplit_once('.').and_then(|(parent, _)| parent.parse().ok());
    parent.ok_or(Error::MissingIdentifier { keyword: "StudyInstanceUID" })
}

fn match_attributes() -> Attributes {
    let mut attributes = Attributes::default();
    attributes.put_text(Tag(0x0010, 0x0020), VR::LO, "ID1");
    attributes.put_text(Tag(0x0020, 0x1208), VR::IS, "7");
    let mut item = Attributes::default();
    item.put_text(Tag(0x0040, 0x0009), VR::SH, "SPS1");
    item.put_text(Tag(0x0040, 0x0007), VR::LO, "not asked for");
    let value = Value::Sequence(vec![item]);
    attributes.0.insert(Tag(0x0040, 0x0275), Attribute { vr: VR::SQ, value });
    attributes
}
