//! Matching in memory: for keys without a column, and for instances (PS3.4 §C.2.2.2). Pure.

use dicom_core::{Tag, VR};

use super::{Key, Matching, dates, known_key, text};
use crate::{Attribute, Attributes, PersonName, Value};

/// Tells whether attributes match all keys; keys that the index does not know are ignored.
pub fn matches<'a>(attributes: &Attributes, keys: impl IntoIterator<Item = &'a Key>) -> bool {
    let known: Vec<(&[Tag], VR, &Matching)> = keys
        .into_iter()
        .filter_map(|key| Some((key.path.0.as_slice(), known_key(&key.path)?.vr, &key.matching)))
        .collect();
    all_match(attributes, &known)
}

/// Keys of one sequence must match in one and the same item (QR-031). Paths are at most as deep as the known keys.
fn all_match(attributes: &Attributes, keys: &[(&[Tag], VR, &Matching)]) -> bool {
    keys.iter().all(|(path, vr, matching)| {
        let Some((tag, rest)) = path.split_first() else {
            return true;
        };
        let Some(attribute) = attributes.get(*tag) else {
            return false;
        };
        if rest.is_empty() {
            return value_matches(attribute, *vr, matching);
        }
        let Value::Sequence(items) = &attribute.value else {
            return false;
        };
        let inner: Vec<_> = keys
            .iter()
            .filter_map(|(path, vr, matching)| match path.split_first() {
                Some((first, rest)) if first == tag && !rest.is_empty() => Some((rest, *vr, *matching)),
                Some(_) | None => None,
            })
            .collect();
        items.iter().any(|item| all_match(item, &inner))
    })
}

/// Any of several values may match (QR-036); no value matches nothing (QR-035).
fn value_matches(attribute: &Attribute, vr: VR, matching: &Matching) -> bool {
    match &attribute.value {
        Value::Text(values) => values.iter().any(|value| text_matches(value, vr, matching)),
        Value::PersonNames(names) => names.iter().any(|name| name_matches(name, matching)),
        Value::Integers(values) => values.iter().any(|value| text_matches(&value.to_string(), VR::IS, matching)),
        Value::Floats(values) => values.iter().any(|value| text_matches(&value.to_string(), VR::DS, matching)),
        Value::Empty | Value::Sequence(_) | Value::Binary(_) | Value::Bulk { .. } => false,
    }
}

fn text_matches(value: &str, vr: VR, matching: &Matching) -> bool {
    let Some(value) = text::normal(value) else {
        return false;
    };
    match vr {
        VR::DA => dates::date(&value).is_some() && between(matching, &value, dates::date_end),
        VR::TM => between(matching, &value, |t| dates::time(t).map(|s| (s.first, s.last))),
        VR::DT => date_time_matches(&value, matching),
        VR::IS | VR::DS | VR::US | VR::SS | VR::UL | VR::SL => {
            let equal =
                |other: &str| matches!((number(&value), number(other)), (Some(a), Some(b)) if a.total_cmp(&b).is_eq());
            match matching {
                Matching::Single(other) => equal(other),
                Matching::AnyOf(others) => others.iter().any(|other| equal(other)),
                Matching::WildCard(_) | Matching::Range(..) => false,
            }
        }
        VR::AE
        | VR::AS
        | VR::AT
        | VR::CS
        | VR::FD
        | VR::FL
        | VR::LO
        | VR::LT
        | VR::OB
        | VR::OD
        | VR::OF
        | VR::OL
        | VR::OV
        | VR::OW
        | VR::PN
        | VR::SH
        | VR::SQ
        | VR::ST
        | VR::SV
        | VR::UC
        | VR::UI
        | VR::UN
        | VR::UR
        | VR::UT
        | VR::UV => literal_matches(&value, matching),
    }
}

/// Exact and case-sensitive (QR-021); a list takes wild cards leniently.
fn literal_matches(value: &str, matching: &Matching) -> bool {
    let like = |pattern: &String| text::normal(pattern).is_some_and(|p| text::glob(&p, value));
    match matching {
        Matching::Single(other) => text::normal(other).is_some_and(|other| other == value),
        Matching::WildCard(pattern) => like(pattern),
        Matching::AnyOf(patterns) => patterns.iter().any(like),
        Matching::Range(..) => false,
    }
}

/// Tells whether a stored name matches, group by group (QR-022, QR-050).
pub(super) fn name_matches(name: &PersonName, matching: &Matching) -> bool {
    let (pattern, wild) = match matching {
        Matching::Single(pattern) => (pattern, false),
        Matching::WildCard(pattern) => (pattern, true),
        Matching::AnyOf(_) | Matching::Range(..) => return false,
    };
    let stored = text::fold_name(name);
    let (any_group, wanted) = text::fold_name_pattern(pattern, wild);
    let group_matches = |pattern: &str, group: &Option<String>| {
        let Some(group) = group else { return false };
        if wild { text::name_alternatives(pattern).iter().any(|p| text::glob(p, group)) } else { pattern == group }
    };
    if any_group {
        let [Some(pattern), ..] = &wanted else {
            return true;
        };
        return stored.iter().any(|group| group_matches(pattern, group));
    }
    wanted.iter().zip(&stored).all(|(pattern, group)| pattern.as_ref().is_none_or(|p| group_matches(p, group)))
}

/// A stored value is the moment at which its span begins.
fn between<T: PartialOrd>(matching: &Matching, value: &str, read: impl Fn(&str) -> Option<(T, T)>) -> bool {
    let Some((at, _)) = read(value) else {
        return false;
    };
    let (from, to) = match matching {
        Matching::Single(single) => (Some(single), Some(single)),
        Matching::Range(from, to) => (from.as_ref(), to.as_ref()),
        Matching::WildCard(_) | Matching::AnyOf(_) => return false,
    };
    let after = from.is_none_or(|from| read(from).is_some_and(|(first, _)| at >= first));
    let before = to.is_none_or(|to| read(to).is_some_and(|(_, last)| at <= last));
    after && before
}

/// Offsets count when both sides have one; otherwise local times are compared (QR-030).
fn date_time_matches(value: &str, matching: &Matching) -> bool {
    let Some(stored) = dates::date_time(value) else {
        return false;
    };
    between(matching, value, |t| {
        let moment = dates::date_time(t)?;
        let shift = match (stored.offset_minutes, moment.offset_minutes) {
            (Some(here), Some(there)) => (there - here) * 60_000_000,
            (Some(_), None) | (None, Some(_) | None) => 0,
        };
        Some((moment.span.first - shift, moment.span.last - shift))
    })
}

fn number(text: &str) -> Option<f64> {
    // Adding zero makes -0 and 0 one.
    text.trim().parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n + 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::TagPath;

    const ITEMS: Tag = Tag(0x0040, 0x0275);
    const STEP: Tag = Tag(0x0040, 0x0009);
    const PROCEDURE: Tag = Tag(0x0040, 0x1001);

    fn key(path: &[Tag], raw: &str) -> Option<Key> {
        let path = TagPath(path.to_vec());
        let vr = known_key(&path).unwrap().vr;
        let matching = Matching::parse(&path, vr, raw).unwrap()?;
        Some(Key { path, matching })
    }

    fn check(attributes: &Attributes, keys: &[(&[Tag], &str)]) -> bool {
        let keys: Vec<Key> = keys.iter().filter_map(|(path, raw)| key(path, raw)).collect();
        matches(attributes, &keys)
    }

    fn text(tag: Tag, vr: VR, values: &[&str]) -> Attributes {
        let value = Value::Text(values.iter().map(|v| (*v).to_owned()).collect());
        Attributes([(tag, Attribute { vr, value })].into())
    }

    #[test]
    fn one_item_must_match_all_keys_of_a_sequence() {
        // QR-031
        let item = |step: &str, procedure: &str| {
            let mut item = text(STEP, VR::SH, &[step]);
            item.put_text(PROCEDURE, VR::SH, procedure);
            item
        };
        let value = Value::Sequence(vec![item("S1", "R1"), item("S2", "R2")]);
        let all = Attributes([(ITEMS, Attribute { vr: VR::SQ, value })].into());
        for (step, procedure, expected) in
            [("S1", "R1", true), ("S2", "R*", true), ("S1", "R2", false), ("", "R2", true), ("", "", true)]
        {
            let keys: [(&[Tag], &str); 2] = [(&[ITEMS, STEP], step), (&[ITEMS, PROCEDURE], procedure)];
            assert_eq!(check(&all, &keys), expected, "{step} {procedure}");
        }
        assert!(!check(&Attributes::default(), &[(&[ITEMS, STEP], "S1")]));
    }

    #[test]
    fn any_of_several_values_matches_and_no_value_matches_nothing() {
        // QR-035, QR-036, QR-023
        let diagnoses: &[Tag] = &[Tag(0x0008, 0x1080)];
        let two = text(diagnoses[0], VR::LO, &["Fracture", "Fall "]);
        assert!(check(&two, &[(diagnoses, "Fall")]));
        assert!(check(&two, &[(diagnoses, "Fra?ture")]));
        assert!(!check(&two, &[(diagnoses, "fracture")]));
        assert!(!check(&Attributes::default(), &[(diagnoses, "F*")]));
        let size: &[Tag] = &[Tag(0x0010, 0x1020)];
        assert!(check(&text(size[0], VR::DS, &[" 1.70"]), &[(size, "+1.7")]));
        let number: &[Tag] = &[Tag(0x0020, 0x0013)];
        assert!(check(&text(number[0], VR::IS, &["007"]), &[(number, "7")]));
        assert!(!check(&text(number[0], VR::IS, &["70"]), &[(number, "7")]));
    }

    #[test]
    fn offsets_of_date_times_count_when_both_sides_have_one() {
        // QR-026, QR-030
        let single = |text: &str| Matching::Single(text.into());
        for (stored, key, expected) in [
            ("20240501100000+0200", "20240501080000+0000", true),
            ("20240501100000+0200", "20240501100000+0000", false),
            ("20240501100000+0200", "20240501100000", true),
            ("20240501100000", "20240501", true),
            ("20240501", "20240501100000", false),
            ("damaged", "20240501", false),
        ] {
            assert_eq!(date_time_matches(stored, &single(key)), expected, "{stored} {key}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_or_matching_panic(raw in "[ -~*?^=\\\\王é\u{0}-]{0,24}", stored in ".{0,24}") {
            let keys = [VR::PN, VR::DA, VR::TM, VR::DT, VR::LO, VR::UI, VR::IS, VR::DS];
            for vr in keys {
                let path = TagPath(vec![Tag(0x0010, 0x0010)]);
                let Ok(Some(matching)) = Matching::parse(&path, vr, &raw) else { continue };
                text_matches(&stored, vr, &matching);
                let name = PersonName { alphabetic: stored.clone(), ..PersonName::default() };
                name_matches(&name, &matching);
            }
        }

        #[test]
        fn every_name_matches_itself(name in "[A-Za-zéüß ^王山]{1,20}") {
            let stored = PersonName { alphabetic: name.clone(), ..PersonName::default() };
            let path = TagPath(vec![Tag(0x0010, 0x0010)]);
            if let Some(matching) = Matching::parse(&path, VR::PN, &name).unwrap() {
                prop_assert!(name_matches(&stored, &matching));
            }
        }
    }
}
