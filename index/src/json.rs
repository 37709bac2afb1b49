//! Attributes as the index keeps them: the DICOM JSON model (PS3.18 §F.2), with IS and DS as strings so that values
//! come back as they were.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dicom_core::{Tag, VR};
use serde_json::{Map, Number, Value as Json, json};

use crate::error::Error;
use dicom_data::{Attribute, Attributes, PersonName, Value};

/// Deepest nesting that is read back; the index keeps sequences two deep.
const DEPTH_MAX: usize = 16;

/// Writes attributes; bulk values are left out.
pub(crate) fn write(attributes: &Attributes) -> String {
    object(attributes).to_string()
}

/// Reads what `write` wrote, or any DICOM JSON object without bulk data.
pub(crate) fn read(text: &str) -> Result<Attributes, Error> {
    let json: Json = serde_json::from_str(text).map_err(|_| DAMAGED)?;
    read_object(&json, 0)
}

/// Reads attributes from a value that is already parsed.
pub(crate) fn read_value(json: &Json) -> Result<Attributes, Error> {
    read_object(json, 0)
}

const DAMAGED: Error = Error::Damaged { what: "attributes" };

fn object(attributes: &Attributes) -> Json {
    let mut map = Map::new();
    for (tag, attribute) in &attributes.0 {
        let mut entry = Map::new();
        entry.insert("vr".into(), attribute.vr.to_string().into());
        match &attribute.value {
            Value::Empty => {}
            Value::Bulk { .. } => continue,
            Value::Binary(bytes) => {
                entry.insert("InlineBinary".into(), BASE64.encode(bytes).into());
            }
            value @ (Value::Text(_)
            | Value::PersonNames(_)
            | Value::Integers(_)
            | Value::Floats(_)
            | Value::Sequence(_)) => {
                entry.insert("Value".into(), values(attribute.vr, value));
            }
        }
        map.insert(format!("{:04X}{:04X}", tag.0, tag.1), Json::Object(entry));
    }
    Json::Object(map)
}

fn values(vr: VR, value: &Value) -> Json {
    match value {
        Value::Text(values) => {
            values.iter().map(|v| if v.is_empty() { Json::Null } else { Json::String(v.clone()) }).collect()
        }
        Value::PersonNames(names) => names.iter().map(name).collect(),
        Value::Integers(values) => values.iter().map(|v| integer(vr, *v)).collect(),
        Value::Floats(values) => values
            .iter()
            .map(|v| Number::from_f64(*v).map_or_else(|| Json::String(v.to_string()), Json::Number))
            .collect(),
        Value::Sequence(items) => items.iter().map(object).collect(),
        Value::Empty | Value::Binary(_) | Value::Bulk { .. } => Json::Null,
    }
}

fn name(name: &PersonName) -> Json {
    let mut map = Map::new();
    let groups = [("Alphabetic", &name.alphabetic), ("Ideographic", &name.ideographic), ("Phonetic", &name.phonetic)];
    for (key, group) in groups {
        if !group.is_empty() {
            map.insert(key.into(), group.clone().into());
        }
    }
    if map.is_empty() { Json::Null } else { Json::Object(map) }
}

fn integer(vr: VR, value: i128) -> Json {
    if vr == VR::AT {
        return format!("{value:08X}").into();
    }
    // 64-bit values fit one of the two; anything else is no DICOM integer.
    i64::try_from(value).map_or_else(|_| json!(u64::try_from(value).unwrap_or(u64::MAX)), |value| json!(value))
}

fn read_object(json: &Json, depth: usize) -> Result<Attributes, Error> {
    let map = json.as_object().filter(|_| depth < DEPTH_MAX).ok_or(DAMAGED)?;
    let read = |(key, entry): (&String, &Json)| {
        let tag = u32::from_str_radix(key, 16).ok().filter(|_| key.len() == 8).ok_or(DAMAGED)?;
        let [a, b, c, d] = tag.to_be_bytes();
        let vr: VR = entry.get("vr").and_then(Json::as_str).and_then(|vr| vr.parse().ok()).ok_or(DAMAGED)?;
        let value = match (entry.get("Value"), entry.get("InlineBinary").and_then(Json::as_str)) {
            (Some(Json::Array(list)), _) => read_values(vr, list, depth)?,
            (_, Some(text)) => Value::Binary(BASE64.decode(text).map_err(|_| DAMAGED)?),
            (_, None) => Value::Empty,
        };
        let tag = Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Ok((tag, Attribute { vr, value }))
    };
    Ok(Attributes(map.iter().map(read).collect::<Result<_, Error>>()?))
}

fn read_values(vr: VR, list: &[Json], depth: usize) -> Result<Value, Error> {
    let value = match vr {
        VR::PN => Value::PersonNames(list.iter().map(read_name).collect()),
        VR::SQ => Value::Sequence(list.iter().map(|item| read_object(item, depth + 1)).collect::<Result<_, _>>()?),
        VR::AT => Value::Integers(
            list.iter()
                .map(|v| v.as_str().and_then(|v| i128::from_str_radix(v, 16).ok()).ok_or(DAMAGED))
                .collect::<Result<_, _>>()?,
        ),
        VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV => Value::Integers(
            list.iter()
                .map(|v| match v {
                    Json::Number(number) => number.to_string().parse().map_err(|_| DAMAGED),
                    Json::String(text) => text.parse().map_err(|_| DAMAGED),
                    Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => Err(DAMAGED),
                })
                .collect::<Result<_, _>>()?,
        ),
        VR::FL | VR::FD => Value::Floats(
            list.iter()
                .map(|v| v.as_f64().or_else(|| v.as_str()?.parse().ok()).ok_or(DAMAGED))
                .collect::<Result<_, _>>()?,
        ),
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
        | VR::UT
        | VR::OB
        | VR::OD
        | VR::OF
        | VR::OL
        | VR::OV
        | VR::OW
        | VR::UN => Value::Text(list.iter().map(read_text).collect()),
    };
    Ok(value)
}

fn read_text(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => String::new(),
    }
}

fn read_name(json: &Json) -> PersonName {
    let group = |key: &str| json.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    PersonName { alphabetic: group("Alphabetic"), ideographic: group("Ideographic"), phonetic: group("Phonetic") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_comes_back() {
        let mut attributes = Attributes::default();
        let name = PersonName { alphabetic: "A^B".into(), ideographic: "王".into(), phonetic: String::new() };
        let mut item = Attributes::default();
        item.put_text(Tag(0x0040, 0x0009), VR::SH, "S1");
        let all = [
            (Tag(0x0008, 0x0061), VR::CS, Value::Text(vec!["CT".into(), String::new(), "MR".into()])),
            (Tag(0x0010, 0x0010), VR::PN, Value::PersonNames(vec![name, PersonName::default()])),
            (Tag(0x0010, 0x0020), VR::LO, Value::Text(vec!["a\0\"b".into()])),
            (Tag(0x0010, 0x0030), VR::DA, Value::Empty),
            (Tag(0x0020, 0x0013), VR::IS, Value::Text(vec!["+007".into()])),
            (Tag(0x0028, 0x0009), VR::AT, Value::Integers(vec![0x0018_1063])),
            (Tag(0x0028, 0x0010), VR::US, Value::Integers(vec![512])),
            (Tag(0x0040, 0x0275), VR::SQ, Value::Sequence(vec![item, Attributes::default()])),
            (Tag(0x7001, 0x1001), VR::UV, Value::Integers(vec![i128::from(u64::MAX)])),
            (Tag(0x7001, 0x1002), VR::FD, Value::Floats(vec![0.1, -3.0, f64::INFINITY])),
            (Tag(0x7001, 0x1003), VR::UN, Value::Binary(vec![0, 255])),
        ];
        for (tag, vr, value) in all {
            attributes.0.insert(tag, Attribute { vr, value });
        }
        assert_eq!(read(&write(&attributes)).unwrap(), attributes);
    }

    #[test]
    fn damage_is_an_error() {
        let deep = format!("{}{{}}{}", r#"{"00400275":{"vr":"SQ","Value":["#.repeat(40), "]}}".repeat(40));
        for text in ["", "[]", r#"{"x":{"vr":"LO"}}"#, r#"{"00100010":{}}"#, deep.as_str()] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
