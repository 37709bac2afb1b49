//! What a search asks for (PS3.18 §8.3.4).

use std::collections::BTreeSet;

use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _};
use dicom_core::{Tag, VR};
use dicom_data::TagPath;
use dicom_data::query::{Key, Level, Matching, Query};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use crate::call::Call;
use crate::problem::Problem;

/// Deepest attribute path of a key.
const PATH_TAGS_MAX: usize = 8;

/// A search as it was asked for.
#[derive(Debug, Default)]
pub(crate) struct SearchRequest {
    keys: Vec<Key>,
    /// Attributes to return beside the usual ones, by the tag at the top of their path.
    pub(super) include: BTreeSet<Tag>,
    /// `includefield=all`.
    pub(super) include_all: bool,
    /// Most matches of the page.
    pub(crate) limit: u64,
    offset: u64,
    /// Parameters that were asked for with `true` and that we do not have.
    pub(super) unsupported: Vec<&'static str>,
}

impl SearchRequest {
    /// Reads path and query; parameters that are no attributes are ignored (WE-020).
    pub(crate) fn read(call: &Call, level: Level, page_max: u64) -> Result<Self, Problem> {
        let mut request = Self { limit: page_max, ..Self::default() };
        request.add_path_keys(call);
        let mut seen = BTreeSet::new();
        for (name, value) in &call.parameters {
            match name.as_str() {
                "limit" => request.limit = once(&mut seen, name, value)?.min(page_max),
                "offset" => request.offset = once(&mut seen, name, value)?,
                "includefield" => request.add_fields(value),
                "fuzzymatching" => request.add_switch("fuzzymatching", value)?,
                "emptyvaluematching" => request.add_switch("emptyvaluematching", value)?,
                "multiplevaluematching" => request.add_switch("multiplevaluematching", value)?,
                _ => request.add_key(&mut seen, name, value)?,
            }
        }
        request.drop_lower_levels(level);
        Ok(request)
    }

    /// Returns the archive's query for at most `limit` matches.
    pub(crate) fn query(&self, level: Level, limit: u64) -> Query {
        let keys = self.keys.clone();
        Query { level, keys, limit: Some(limit), offset: self.offset, combined_date_time: true }
    }

    fn add_path_keys(&mut self, call: &Call) {
        let named = [(tags::STUDY_INSTANCE_UID, &call.target.study), (tags::SERIES_INSTANCE_UID, &call.target.series)];
        for (tag, uid) in named {
            if let Some(uid) = uid {
                let matching = Matching::Single(uid.as_str().to_owned());
                self.keys.push(Key { path: TagPath(vec![tag]), matching });
            }
        }
    }

    /// Adds `includefield`: one or several attributes, or `all` (WE-056).
    fn add_fields(&mut self, value: &str) {
        for field in value.split(',').map(str::trim) {
            if field == "all" {
                self.include_all = true;
            } else if let Some((path, _)) = attribute(field) {
                self.include.extend(path.0.first());
            }
        }
    }

    fn add_switch(&mut self, name: &'static str, value: &str) -> Result<(), Problem> {
        match value {
            "true" => self.unsupported.push(name),
            "false" => {}
            _ => {
                return Err(Problem::bad_request(format!("{name} must be true or false")));
            }
        }
        Ok(())
    }

    /// Adds a matching key; the attribute is returned, too.
    fn add_key(&mut self, seen: &mut BTreeSet<String>, name: &str, value: &str) -> Result<(), Problem> {
        let Some((path, vr)) = attribute(name) else {
            return Ok(());
        };
        if !seen.insert(format!("{path:?}")) {
            return Err(Problem::bad_request("an attribute may be given once only: send a UID list as uid,uid"));
        }
        self.include.extend(path.0.first());
        let lists = vr == VR::UI || path.0 == [tags::MODALITIES_IN_STUDY];
        let value = if lists { value.replace(',', "\\") } else { value.to_owned() };
        let matching = Matching::parse(&path, vr, &value).map_err(archive::Error::from)?;
        self.keys.extend(matching.map(|matching| Key { path, matching }));
        Ok(())
    }

    /// Forgets keys below the level of the search: they neither match nor come back (QR-013, WE-056).
    fn drop_lower_levels(&mut self, level: Level) {
        const SERIES: [Tag; 7] = [
            tags::MODALITY,
            tags::SERIES_INSTANCE_UID,
            tags::SERIES_NUMBER,
            tags::SERIES_DESCRIPTION,
            tags::PERFORMED_PROCEDURE_STEP_START_DATE,
            tags::PERFORMED_PROCEDURE_STEP_START_TIME,
            tags::REQUEST_ATTRIBUTES_SEQUENCE,
        ];
        const INSTANCE: [Tag; 3] = [tags::SOP_CLASS_UID, tags::SOP_INSTANCE_UID, tags::INSTANCE_NUMBER];
        let below = |tag: &Tag| {
            (level < Level::Series && SERIES.contains(tag)) || (level < Level::Instance && INSTANCE.contains(tag))
        };
        self.keys.retain(|key| !key.path.0.first().is_some_and(below));
        self.include.retain(|tag| !below(tag));
    }
}

/// Reads a whole number that may be given once.
fn once(seen: &mut BTreeSet<String>, name: &str, value: &str) -> Result<u64, Problem> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    match value.parse() {
        Ok(number) if digits && seen.insert(name.to_owned()) => Ok(number),
        _ => Err(Problem::bad_request(format!("{name} must be given once, as a whole number from 0"))),
    }
}

/// Reads an attribute given by keyword or tag, perhaps inside sequences: `00400275.00400009`.
///
/// Private attributes are no attributes here: the index keeps none (WE-050).
fn attribute(name: &str) -> Option<(TagPath, VR)> {
    let path: Option<Vec<Tag>> = name.split('.').take(PATH_TAGS_MAX + 1).map(tag).collect();
    let path = path.filter(|path| path.len() <= PATH_TAGS_MAX)?;
    let last = *path.last()?;
    let vr = StandardDataDictionary.by_tag(last).map_or(VR::UN, |entry| entry.vr().relaxed());
    Some((TagPath(path), vr))
}

fn tag(name: &str) -> Option<Tag> {
    let hexadecimal = name.len() == 8 && name.bytes().all(|b| b.is_ascii_hexdigit());
    if hexadecimal && let Ok(number) = u32::from_str_radix(name, 16) {
        let group = u16::try_from(number >> 16).ok()?;
        let element = u16::try_from(number & 0xFFFF).ok()?;
        return group.is_multiple_of(2).then_some(Tag(group, element));
    }
    StandardDataDictionary.by_name(name).map(|entry| entry.tag.inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::Accept;
    use crate::call::Target;

    fn read(level: Level, query: &str) -> Result<SearchRequest, Problem> {
        let call = Call {
            caller: archive::Caller::server(),
            base_url: String::new(),
            accept: Accept::anything().into(),
            parameters: crate::query_string::parse(query).unwrap(),
            if_none_match: None,
            range: None,
            target: Target::default(),
        };
        SearchRequest::read(&call, level, 100)
    }

    fn key(query: &str) -> (Vec<Tag>, Matching) {
        let request = read(Level::Instance, query).unwrap();
        assert_eq!(request.keys.len(), 1, "{query}");
        (request.keys[0].path.0.clone(), request.keys[0].matching.clone())
    }

    #[test]
    fn keys_by_keyword_tag_and_path() {
        // WE-050
        let id = Matching::Single("a,b".into());
        assert_eq!(key("PatientID=a%2Cb"), (vec![tags::PATIENT_ID], id.clone()));
        assert_eq!(key("00100020=a,b"), (vec![tags::PATIENT_ID], id));
        let path = vec![tags::REQUEST_ATTRIBUTES_SEQUENCE, tags::SCHEDULED_PROCEDURE_STEP_ID];
        assert_eq!(key("00400275.00400009=x").0, path);
        assert_eq!(key("RequestAttributesSequence.ScheduledProcedureStepID=x").0, path);
        assert_eq!(key("PatientName=*TCG%2A").1, Matching::WildCard("*TCG*".into()));
    }

    #[test]
    fn commas_make_lists_of_uids_and_modalities_only() {
        // WE-053, QR-037
        assert_eq!(key("StudyInstanceUID=1.2,1.3").1, Matching::AnyOf(vec!["1.2".into(), "1.3".into()]));
        assert_eq!(key("ModalitiesInStudy=CT%2CPT").1, Matching::AnyOf(vec!["CT".into(), "PT".into()]));
        assert_eq!(key("PatientName=DOE,JOHN").1, Matching::Single("DOE,JOHN".into()));
    }

    #[test]
    fn what_is_ignored_and_what_is_refused() {
        // WE-020, WE-050, WE-054, WE-057, WE-065
        for query in ["unknown=1", "patientname=X", "00091001=1", "1.2.3=4", "", "PatientName=", "PatientID=*"] {
            assert!(read(Level::Study, query).unwrap().keys.is_empty(), "{query}");
        }
        for query in [
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=1&limit=2",
            "offset=1.5",
            "offset=%2B1",
            "fuzzymatching=1",
            "PatientID=1&00100020=1",
            "PatientID=1&PatientID=1",
            "StudyDate=-",
            "StudyDate=2024*",
        ] {
            assert_eq!(read(Level::Study, query).unwrap_err().status, 400, "{query}");
        }
    }

    #[test]
    fn fields_repeated_or_listed() {
        // WE-056, OHIF 2.1 row 1
        let request =
            read(Level::Study, "includefield=00081030%2C00080060%2C00080090&includefield=PatientSex&limit=500")
                .unwrap();
        let expected = [tags::REFERRING_PHYSICIAN_NAME, tags::STUDY_DESCRIPTION, tags::PATIENT_SEX];
        assert_eq!(request.include, BTreeSet::from(expected));
        assert_eq!(request.limit, 100);
        assert!(read(Level::Study, "includefield=all").unwrap().include_all);
    }

    #[test]
    fn keys_below_the_level_do_not_match() {
        // QR-013
        assert!(read(Level::Study, "Modality=CT&SOPInstanceUID=1.2").unwrap().keys.is_empty());
        assert_eq!(read(Level::Series, "Modality=CT&SOPInstanceUID=1.2").unwrap().keys.len(), 1);
    }
}
