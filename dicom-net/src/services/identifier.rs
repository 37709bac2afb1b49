//! Identifiers of queries and retrieves (PS3.4 §C.4): data sets that say what is looked for.

use archive::Selector;
use dicom_core::{Tag, VR};
use dicom_data::Uid;
use dicom_data::query::{Key, Level, Matching, Query, known_key};
use dicom_data::{Attribute, Attributes, Limits, TagPath, Value};

use crate::negotiation::Root;
use crate::status::Status;

/// Longest identifier we read; a list of 1,000 UIDs has some 65 KB (DI-090).
pub(super) const IDENTIFIER_BYTES_MAX: usize = 4 << 20;

const SPECIFIC_CHARACTER_SET: Tag = Tag(0x0008, 0x0005);
const QUERY_RETRIEVE_LEVEL: Tag = Tag(0x0008, 0x0052);
const RETRIEVE_AE_TITLE: Tag = Tag(0x0008, 0x0054);
const FAILED_SOP_INSTANCE_UID_LIST: Tag = Tag(0x0008, 0x0058);
const PATIENT_ID: Tag = Tag(0x0010, 0x0020);
const STUDY_INSTANCE_UID: Tag = Tag(0x0020, 0x000D);
const SERIES_INSTANCE_UID: Tag = Tag(0x0020, 0x000E);
const SOP_INSTANCE_UID: Tag = Tag(0x0008, 0x0018);
/// Levels from top to bottom with their unique keys (PS3.4 §C.6.1.1).
const UNIQUE_KEYS: [(Level, Tag); 4] = [
    (Level::Patient, PATIENT_ID),
    (Level::Study, STUDY_INSTANCE_UID),
    (Level::Series, SERIES_INSTANCE_UID),
    (Level::Instance, SOP_INSTANCE_UID),
];
/// Longest value of Failed SOP Instance UID List: UI has two bytes for its length.
const UID_LIST_BYTES_MAX: usize = 65_534;
/// Deepest nesting of keys in sequences.
const KEY_DEPTH_MAX: usize = 8;

/// Why an identifier cannot be used; nothing of its values is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadIdentifier {
    pub(super) status: Status,
    pub(super) comment: &'static str,
}

/// An identifier and the level it asks at.
#[derive(Debug, Clone)]
pub(super) struct Identifier {
    pub(super) level: Level,
    attributes: Attributes,
    root: Root,
}

/// A query, and whether all of its keys are used.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) query: Query,
    /// Some key with a value is not used for matching: matches are told with FF01 (DI-062).
    pub(super) has_unmatched_keys: bool,
}

fn mismatch(comment: &'static str) -> BadIdentifier {
    BadIdentifier { status: Status::DATA_SET_MISMATCH, comment }
}

impl Identifier {
    /// Reads an identifier in the transfer syntax of its context.
    pub(super) fn read(bytes: &[u8], syntax: &str, root: Root) -> Result<Self, BadIdentifier> {
        let unreadable = BadIdentifier { status: Status::CANNOT_UNDERSTAND, comment: "identifier cannot be read" };
        let syntax = dicom_data::transfer_syntax(syntax).ok_or(unreadable)?;
        let parsed = dicom_data::read(bytes, syntax, &Limits::default()).map_err(|_| unreadable)?;
        if !parsed.complete {
            return Err(unreadable);
        }
        let attributes = parsed.attributes;
        let level = match attributes.text(QUERY_RETRIEVE_LEVEL) {
            Some("PATIENT") if root == Root::Patient => Level::Patient,
            Some("STUDY") => Level::Study,
            Some("SERIES") => Level::Series,
            Some("IMAGE" | "INSTANCE") => Level::Instance, // QR-007
            Some(_) | None => return Err(mismatch("(0008,0052) is absent or no level")),
        };
        Ok(Self { level, attributes, root })
    }

    /// Returns the query. `strict` wants one value for the unique key of each level above.
    pub(super) fn query(&self, strict: bool) -> Result<Asked, BadIdentifier> {
        if strict && !self.names_upper_levels() {
            return Err(mismatch("unique key of an upper level is absent")); // QR-011
        }
        let (mut keys, mut has_unmatched_keys) = (Vec::new(), false);
        let mut path = Vec::new();
        self.gather(&self.attributes, &mut path, &mut keys, &mut has_unmatched_keys)?;
        let level = self.level;
        let query = Query { level, keys, limit: None, offset: 0, combined_date_time: false };
        Ok(Asked { query, has_unmatched_keys })
    }

    /// Returns what is to be retrieved (PS3.4 §C.4.2.2.1). Without a unique key of its own level
    /// an identifier would mean everything, so that is refused even when lenient.
    pub(super) fn selector(&self, strict: bool) -> Result<Selector, BadIdentifier> {
        if strict && (!self.names_upper_levels() || self.has_other_keys()) {
            return Err(mismatch("retrieve takes the level and unique keys only")); // QR-014
        }
        let mut selector = Selector::default();
        for (level, tag) in UNIQUE_KEYS {
            if level > self.level || (level == Level::Patient && self.root == Root::Study) {
                continue;
            }
            let values = self.values(tag);
            if values.is_empty() && level == self.level {
                return Err(mismatch("unique key of the level is absent"));
            }
            if level == Level::Patient {
                selector.patient_id = values.first().map(|id| (*id).to_owned());
                continue;
            }
            let uids: Result<Vec<Uid>, _> = values.iter().map(|uid| uid.parse()).collect();
            let uids = uids.map_err(|_| mismatch("unique key is no UID"))?;
            match level {
                Level::Study => selector.studies = uids,
                Level::Series => selector.series = uids,
                Level::Instance => selector.instances = uids,
                Level::Patient => {}
            }
        }
        Ok(selector)
    }

    /// Returns the identifier of one match: the level, what was asked for, and from where it can
    /// be retrieved (DI-065, DI-066).
    pub(super) fn answer(&self, found: &Attributes, retrieve_ae: &str) -> Attributes {
        let mut answer = Attributes::default();
        for (tag, asked) in self.attributes.0.iter().filter(|(tag, _)| is_key(**tag)) {
            if self.is_below(*tag) || lacks_creator(&self.attributes, *tag) {
                continue; // QR-013, QR-065
            }
            answer.0.insert(*tag, projected(asked, found.get(*tag), *tag));
        }
        for (level, tag) in UNIQUE_KEYS {
            if let Some(unique) = found.get(tag).filter(|_| level == self.level) {
                answer.0.insert(tag, unique.clone());
            }
        }
        let level = match self.level {
            Level::Patient => "PATIENT",
            Level::Study => "STUDY",
            Level::Series => "SERIES",
            Level::Instance => "IMAGE",
        };
        answer.put_text(QUERY_RETRIEVE_LEVEL, VR::CS, level);
        answer.put_text(RETRIEVE_AE_TITLE, VR::AE, retrieve_ae);
        answer
    }

    fn gather(
        &self,
        attributes: &Attributes,
        path: &mut Vec<Tag>,
        keys: &mut Vec<Key>,
        has_unmatched_keys: &mut bool,
    ) -> Result<(), BadIdentifier> {
        for (tag, attribute) in &attributes.0 {
            if path.is_empty() && !is_key(*tag) {
                continue;
            }
            path.push(*tag);
            match key_text(&attribute.value) {
                KeyText::Universal => {}
                KeyText::Item(item) if path.len() < KEY_DEPTH_MAX => {
                    self.gather(item, path, keys, has_unmatched_keys)?;
                }
                KeyText::Text(text) => {
                    let whole = TagPath(path.clone());
                    match known_key(&whole) {
                        Some(known) if known.level <= self.level => {
                            let matching =
                                Matching::parse(&whole, known.vr, &text).map_err(|invalid| mismatch(invalid.reason))?;
                            keys.extend(matching.map(|matching| Key { path: whole, matching }));
                        }
                        Some(_) => {} // below the level: neither matched nor returned (QR-013)
                        None => *has_unmatched_keys = true,
                    }
                }
                KeyText::Item(_) | KeyText::Opaque => *has_unmatched_keys = true,
            }
            path.pop();
        }
        Ok(())
    }

    /// Tells whether a key belongs to a level below the one that is asked for.
    fn is_below(&self, tag: Tag) -> bool {
        known_key(&TagPath(vec![tag])).is_some_and(|known| known.level > self.level)
    }

    fn values(&self, tag: Tag) -> Vec<&str> {
        match self.attributes.get(tag).map(|attribute| &attribute.value) {
            Some(Value::Text(values)) => {
                values.iter().map(|value| value.trim()).filter(|value| !value.is_empty()).collect()
            }
            Some(
                Value::Empty
                | Value::PersonNames(_)
                | Value::Integers(_)
                | Value::Floats(_)
                | Value::Sequence(_)
                | Value::Binary(_)
                | Value::Bulk { .. },
            )
            | None => Vec::new(),
        }
    }

    fn names_upper_levels(&self) -> bool {
        let top = if self.root == Root::Patient { Level::Patient } else { Level::Study };
        let mut upper = UNIQUE_KEYS.iter().filter(|(level, _)| *level >= top && *level < self.level);
        upper.all(|(_, tag)| self.values(*tag).len() == 1)
    }

    fn has_other_keys(&self) -> bool {
        let allowed = |tag: &Tag| UNIQUE_KEYS.iter().any(|(_, unique)| unique == tag);
        self.attributes.0.keys().any(|tag| is_key(*tag) && !allowed(tag))
    }
}

/// Returns the identifier that lists instances which were not sent (DI-086).
pub(super) fn failed_list<'a>(failed: impl Iterator<Item = &'a Uid>) -> Attributes {
    let (mut listed, mut bytes) = (Vec::new(), 0);
    for uid in failed {
        bytes += uid.as_str().len() + 1;
        if bytes > UID_LIST_BYTES_MAX {
            break; // the counters still tell how many there are
        }
        listed.push(uid.to_string());
    }
    let mut list = Attributes::default();
    let list_attribute = Attribute { vr: VR::UI, value: Value::Text(listed) };
    list.0.insert(FAILED_SOP_INSTANCE_UID_LIST, list_attribute);
    list
}

/// Tells whether an element of an identifier asks for something (DI-067).
fn is_key(tag: Tag) -> bool {
    tag.0 >= 0x0008 && tag.1 != 0x0000 && tag != SPECIFIC_CHARACTER_SET && tag != QUERY_RETRIEVE_LEVEL
}

/// Tells whether a private element comes without the creator that gives it a meaning.
fn lacks_creator(asked: &Attributes, tag: Tag) -> bool {
    let private = tag.0 % 2 == 1 && tag.1 > 0x00FF;
    private && asked.text(Tag(tag.0, tag.1 >> 8)).is_none()
}

/// Cuts what was found down to what was asked for.
fn projected(asked: &Attribute, found: Option<&Attribute>, tag: Tag) -> Attribute {
    let private_creator = tag.0 % 2 == 1 && (0x0010..=0x00FF).contains(&tag.1);
    let Some(found) = found else {
        let value = if private_creator { asked.value.clone() } else { Value::Empty };
        return Attribute { vr: asked.vr, value };
    };
    let (Value::Sequence(asked_items), Value::Sequence(items)) = (&asked.value, &found.value) else {
        return found.clone();
    };
    let Some(keys) = asked_items.first().filter(|keys| !keys.0.is_empty()) else {
        return found.clone(); // an empty item asks for whole items
    };
    let project = |item: &Attributes| {
        let nested = keys.0.iter().map(|(tag, asked)| (*tag, projected(asked, item.get(*tag), *tag)));
        Attributes(nested.collect())
    };
    let value = Value::Sequence(items.iter().map(project).collect());
    Attribute { vr: found.vr, value }
}

enum KeyText<'a> {
    Universal,
    Text(String),
    Item(&'a Attributes),
    Opaque,
}

fn key_text(value: &Value) -> KeyText<'_> {
    let joined = |values: Vec<String>| match values.join("\\") {
        text if text.is_empty() => KeyText::Universal,
        text => KeyText::Text(text),
    };
    match value {
        Value::Empty => KeyText::Universal,
        Value::Text(values) => joined(values.clone()),
        Value::PersonNames(names) => joined(
            names
                .iter()
                .map(|name| {
                    let groups = [&*name.alphabetic, &*name.ideographic, &*name.phonetic];
                    groups.join("=").trim_end_matches('=').to_owned()
                })
                .collect(),
        ),
        Value::Integers(numbers) => joined(numbers.iter().map(ToString::to_string).collect()),
        Value::Floats(numbers) => joined(numbers.iter().map(ToString::to_string).collect()),
        Value::Sequence(items) => match items.first() {
            Some(item) => KeyText::Item(item),
            None => KeyText::Universal,
        },
        Value::Binary(_) | Value::Bulk { .. } => KeyText::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::negotiation::EXPLICIT_LITTLE_ENDIAN;

    fn identifier(root: Root, level: &str, keys: &[(Tag, &str)]) -> Identifier {
        let mut attributes = Attributes::default();
        attributes.put_text(QUERY_RETRIEVE_LEVEL, VR::CS, level);
        for (tag, text) in keys {
            let values = text.split('\\').map(str::to_owned).collect();
            let vr = if *tag == PATIENT_ID { VR::LO } else { VR::UI };
            attributes.0.insert(*tag, Attribute { vr, value: Value::Text(values) });
        }
        let syntax = dicom_data::transfer_syntax(EXPLICIT_LITTLE_ENDIAN).unwrap();
        let bytes = dicom_data::encode(&attributes, syntax);
        Identifier::read(&bytes, EXPLICIT_LITTLE_ENDIAN, root).unwrap()
    }

    fn uids(texts: &[&str]) -> Vec<Uid> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn retrieves_select_by_the_unique_keys_down_to_their_level() {
        // DI-090
        let keys = [
            (PATIENT_ID, "P1"),
            (STUDY_INSTANCE_UID, "1.1"),
            (SERIES_INSTANCE_UID, "1.1.1\\1.1.2"),
            (SOP_INSTANCE_UID, "1.1.1.1"),
        ];
        let patient_id = Some("P1".to_owned());
        let (studies, series) = (uids(&["1.1"]), uids(&["1.1.1", "1.1.2"]));
        let select = |root, level| identifier(root, level, &keys).selector(false).unwrap();
        assert_eq!(
            select(Root::Patient, "PATIENT"),
            Selector { patient_id: patient_id.clone(), ..Selector::default() }
        );
        assert_eq!(
            select(Root::Patient, "SERIES"),
            Selector { patient_id, studies: studies.clone(), series: series.clone(), ..Selector::default() }
        );
        assert_eq!(
            select(Root::Study, "IMAGE"),
            Selector { patient_id: None, studies, series, instances: uids(&["1.1.1.1"]) }
        );
    }

    #[test]
    fn a_retrieve_never_means_everything() {
        for (level, tag) in [
            ("STUDY", SERIES_INSTANCE_UID),
            ("SERIES", STUDY_INSTANCE_UID),
            ("IMAGE", STUDY_INSTANCE_UID),
            ("PATIENT", STUDY_INSTANCE_UID),
        ] {
            let lacking = identifier(Root::Patient, level, &[(tag, "1.1")]);
            let refused = lacking.selector(false).unwrap_err();
            assert_eq!(refused.status, Status::DATA_SET_MISMATCH, "{level}");
        }
        let wild = identifier(Root::Study, "STUDY", &[(STUDY_INSTANCE_UID, "*")]);
        assert!(wild.selector(false).is_err());
    }

    #[test]
    fn strict_retrieves_take_unique_keys_only() {
        // QR-010, QR-014
        let modality = Tag(0x0008, 0x0060);
        let plain = [(STUDY_INSTANCE_UID, "1.1"), (SERIES_INSTANCE_UID, "1.1.1")];
        let more = [plain[0], plain[1], (modality, "CT")];
        let without_study = [plain[1]];
        for (keys, strict) in [(&plain[..], true), (&more, false), (&without_study, false)] {
            let identifier = identifier(Root::Study, "SERIES", keys);
            assert!(identifier.selector(false).is_ok());
            assert_eq!(identifier.selector(true).is_ok(), strict, "{keys:?}");
        }
    }

    #[test]
    fn the_failed_list_fits_its_length_field() {
        // DI-086
        let uid: Uid = "1.2.840.113619.2.55.3.604688119.969.1268071029.320".parse().unwrap();
        let many = vec![uid; 5_000];
        let list = failed_list(many.iter());
        let syntax = dicom_data::transfer_syntax(EXPLICIT_LITTLE_ENDIAN).unwrap();
        let bytes = dicom_data::encode(&list, syntax);
        assert_eq!(bytes.get(4..6), Some(&b"UI"[..]));
        assert!(bytes.len() > 65_000 && bytes.len() < 65_600, "{}", bytes.len());
    }
}
