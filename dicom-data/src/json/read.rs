//! DICOM JSON to attributes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dicom_core::VR;
use dicom_core::header::Tag;

use super::super::bulk::tag_of;
use super::super::charset::Charset;
use super::super::dictionary::vr_of;
use super::super::value::decode;
use super::super::{Attribute, Attributes, PersonName, ReadError, Value};
use super::tree::{Tree, parse};
use super::write::single;

/// Reads one JSON object; the inverse of `write_json`, but that an attribute whose value is elsewhere
/// (BulkDataURI) is left out. Depth is bounded, length is the caller's to bound.
pub fn read_json(bytes: &[u8]) -> Result<Attributes, ReadError> {
    match parse(bytes)? {
        Tree::Object(members) => data_set(&members),
        Tree::Null | Tree::Bool | Tree::Number(_) | Tree::String(_) | Tree::Array(_) => {
            Err(ReadError::malformed(0, "it is no JSON object"))
        }
    }
}

type Members<'a> = [(std::borrow::Cow<'a, str>, Tree<'a>)];

fn data_set(members: &Members<'_>) -> Result<Attributes, ReadError> {
    let attributes = members.iter().map(|(key, tree)| {
        let tag = tag_of(key).ok_or(ReadError::malformed(0, "a key is no tag of 8 hex digits"))?;
        let Tree::Object(members) = tree else {
            return Err(ReadError::malformed(0, "an attribute is no JSON object"));
        };
        Ok(attribute(tag, members)?.map(|attribute| (tag, attribute)))
    });
    Ok(Attributes(attributes.filter_map(Result::transpose).collect::<Result<_, _>>()?))
}

fn attribute(tag: Tag, members: &Members<'_>) -> Result<Option<Attribute>, ReadError> {
    let member = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, tree)| tree);
    if member("BulkDataURI").is_some() {
        return Ok(None);
    }
    let vr = match member("vr") {
        Some(Tree::String(vr)) => vr.parse().unwrap_or(VR::UN),
        _ => vr_of(tag).map_or(VR::UN, dicom_core::dictionary::VirtualVr::relaxed),
    };
    if let Some(Tree::String(base64)) = member("InlineBinary") {
        let bytes =
            STANDARD.decode(base64.as_bytes()).map_err(|_| ReadError::malformed(0, "InlineBinary is no base64"))?;
        let charset = Charset::from_terms(["ISO_IR 192"]);
        return Ok(Some(decode(vr, &bytes, false, charset)));
    }
    let value = match member("Value") {
        Some(Tree::Array(values)) if !values.is_empty() => value(vr, values)?,
        _ => Value::Empty,
    };
    Ok(Some(Attribute { vr, value }))
}

fn value(vr: VR, values: &[Tree<'_>]) -> Result<Value, ReadError> {
    Ok(match vr {
        VR::SQ => Value::Sequence(values.iter().map(item).collect::<Result<_, _>>()?),
        VR::PN => Value::PersonNames(values.iter().map(person_name).collect()),
        VR::AT => Value::Integers(values.iter().map(tag_number).collect::<Result<_, _>>()?),
        VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV => {
            Value::Integers(values.iter().map(integer).collect::<Result<_, _>>()?)
        }
        VR::FL => Value::Floats(values.iter().map(|v| float(v).map(|v| single(v).into())).collect::<Result<_, _>>()?),
        VR::FD => Value::Floats(values.iter().map(float).collect::<Result<_, _>>()?),
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN => {
            return Err(ReadError::malformed(0, "a binary attribute has a Value"));
        }
        VR::AE
        | VR::AS
        | VR::CS
        | VR::DA
        | VR::DS
        | VR::DT
        | VR::IS
        | VR::LO
        | VR::LT
        | VR::SH
        | VR::ST
        | VR::TM
        | VR::UC
        | VR::UI
        | VR::UR
        | VR::UT => Value::Text(values.iter().map(text).collect::<Result<_, _>>()?),
    })
}

fn item(tree: &Tree<'_>) -> Result<Attributes, ReadError> {
    match tree {
        Tree::Object(members) => data_set(members),
        Tree::Null => Ok(Attributes::default()),
        Tree::Bool | Tree::Number(_) | Tree::String(_) | Tree::Array(_) => {
            Err(ReadError::malformed(0, "an item is no JSON object"))
        }
    }
}

fn text(tree: &Tree<'_>) -> Result<String, ReadError> {
    match tree {
        Tree::Null => Ok(String::new()),
        Tree::Number(text) => Ok((*text).to_owned()),
        Tree::String(text) => Ok(text.clone().into_owned()),
        Tree::Bool | Tree::Array(_) | Tree::Object(_) => Err(ReadError::malformed(0, "a text is no JSON string")),
    }
}

fn integer(tree: &Tree<'_>) -> Result<i128, ReadError> {
    text(tree)?.parse().map_err(|_| ReadError::malformed(0, "a number is no integer"))
}

fn float(tree: &Tree<'_>) -> Result<f64, ReadError> {
    text(tree)?.parse().map_err(|_| ReadError::malformed(0, "a number is none"))
}

fn tag_number(tree: &Tree<'_>) -> Result<i128, ReadError> {
    let text = text(tree)?;
    let tag = tag_of(&text).ok_or(ReadError::malformed(0, "a tag has not 8 hex digits"))?;
    Ok(i128::from(tag.group()) * 0x1_0000 + i128::from(tag.element()))
}

fn person_name(tree: &Tree<'_>) -> PersonName {
    match tree {
        Tree::Object(members) => {
            let group = |name: &str| match members.iter().find(|(key, _)| key == name) {
                Some((_, Tree::String(text))) => text.clone().into_owned(),
                _ => String::new(),
            };
            PersonName {
                alphabetic: group("Alphabetic"),
                ideographic: group("Ideographic"),
                phonetic: group("Phonetic"),
            }
        }
        // Not of the model, but of some clients.
        Tree::String(text) => PersonName { alphabetic: text.clone().into_owned(), ..PersonName::default() },
        Tree::Null | Tree::Bool | Tree::Number(_) | Tree::Array(_) => PersonName::default(),
    }
}
