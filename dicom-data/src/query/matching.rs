//! From the text of a key to how it matches (PS3.4 §C.2.2.2). Pure.

use dicom_core::{Tag, VR};

use super::{InvalidKey, Matching, dates};
use crate::TagPath;
use crate::Uid;

/// Modalities in Study (0008,0061), the one text key that takes a list (QR-037).
pub(super) const MODALITIES_IN_STUDY: Tag = Tag(0x0008, 0x0061);

/// Longest key in bytes, UID lists aside.
const KEY_BYTES_MAX: usize = 4_096;
/// Most values of a list.
const LIST_VALUES_MAX: usize = 10_000;

impl Matching {
    /// Reads the decoded text of a key; `None` for universal matching (QR-020). Lists of UIDs and of Modalities in Study
    /// may be separated by backslashes or commas; no such value has a comma of its own.
    pub fn parse(path: &TagPath, vr: VR, raw: &str) -> Result<Option<Self>, InvalidKey> {
        let keeps_leading = matches!(vr, VR::LT | VR::ST | VR::UT);
        let padded = raw.trim_end_matches([' ', '\0']);
        let text = if keeps_leading { padded } else { padded.trim_start_matches(' ') };
        if text.is_empty() {
            return Ok(None);
        }
        let invalid = |reason| InvalidKey::new(path, reason);
        if vr == VR::UI {
            return uid_list(text).map(Some).map_err(invalid);
        }
        if text.len() > KEY_BYTES_MAX {
            return Err(invalid("it is longer than 4,096 bytes"));
        }
        if path.0.last() == Some(&MODALITIES_IN_STUDY) && text.contains(['\\', ',']) {
            let values = text.split(['\\', ',']).map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned);
            return Ok(Some(Self::AnyOf(values.collect())));
        }
        match vr {
            VR::DA => {
                moment(text, |t| dates::date(t).is_some(), |t| dates::date_end(t).is_some()).map(Some).map_err(invalid)
            }
            VR::TM => time(text).map(Some).map_err(invalid),
            VR::DT => moment(text, is_date_time, is_date_time).map(Some).map_err(invalid),
            VR::IS | VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV => match text.parse::<i128>() {
                Ok(_) => Ok(Some(Self::Single(text.to_owned()))),
                Err(_) => Err(invalid("it must be a whole number")),
            },
            VR::DS | VR::FL | VR::FD => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Some(Self::Single(text.to_owned()))),
                Ok(_) | Err(_) => Err(invalid("it must be a number")),
            },
            VR::AE | VR::CS | VR::LO | VR::LT | VR::PN | VR::SH | VR::ST | VR::UC | VR::UR | VR::UT => {
                Ok(wild(vr, text))
            }
            VR::AS | VR::AT => Ok(Some(Self::Single(text.to_owned()))),
            VR::SQ | VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN | VR::UI => {
                Err(invalid("attributes of this value representation have no text to match"))
            }
        }
    }
}

fn uid_list(text: &str) -> Result<Matching, &'static str> {
    let mut uids = Vec::new();
    for part in text.split(['\\', ',']).map(str::trim).filter(|part| !part.is_empty()) {
        let uid: Uid = part.parse().map_err(|_| "a UID must be 1 to 64 digits and dots")?;
        uids.push(uid.as_str().to_owned());
        if uids.len() > LIST_VALUES_MAX {
            return Err("the list has more than 10,000 UIDs: split it");
        }
    }
    if uids.len() > 1 {
        return Ok(Matching::AnyOf(uids));
    }
    uids.pop().map(Matching::Single).ok_or("a UID must be 1 to 64 digits and dots")
}

fn wild(vr: VR, text: &str) -> Option<Matching> {
    let universal =
        if vr == VR::PN { text.chars().all(|c| matches!(c, '*' | '^' | '=')) } else { text.chars().all(|c| c == '*') };
    if universal {
        None
    } else if text.contains(['*', '?']) {
        Some(Matching::WildCard(text.to_owned()))
    } else {
        Some(Matching::Single(text.to_owned()))
    }
}

fn is_date_time(text: &str) -> bool {
    dates::date_time(text).is_some()
}

/// Reads a single moment, or a range of ends.
fn moment(text: &str, valid: impl Fn(&str) -> bool, end: impl Fn(&str) -> bool) -> Result<Matching, &'static str> {
    if text.contains(['*', '?']) {
        return Err("dates and times have no wild cards: use a range such as 20240101-20240131"); // QR-024
    }
    match dates::split_range(text, &end) {
        Some(range) => {
            let (from, to) = range?;
            Ok(Matching::Range(from.map(str::to_owned), to.map(str::to_owned)))
        }
        None if valid(text) => Ok(Matching::Single(text.to_owned())),
        None => Err("it must be a valid date or time, or a range of them"),
    }
}

fn time(text: &str) -> Result<Matching, &'static str> {
    let is_time = |t: &str| dates::time(t).is_some();
    let matching = moment(text, is_time, is_time)?;
    if let Matching::Range(Some(from), Some(to)) = &matching
        && let (Some(from), Some(to)) = (dates::time(from), dates::time(to))
        && from.first > to.last
    {
        return Err("a range of times may not cross midnight");
    }
    Ok(matching)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(vr: VR, raw: &str, expected: &Expect) {
        let path = TagPath(vec![Tag(0x0008, 0x0020)]);
        let shown = match Matching::parse(&path, vr, raw) {
            Ok(Some(matching)) => format!("{matching:?}"),
            Ok(None) => "universal".into(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn universal_keys() {
        // QR-020
        for (vr, raw) in
            [(VR::LO, ""), (VR::LO, "  "), (VR::LO, "*"), (VR::PN, "**"), (VR::PN, "*^*=*"), (VR::UI, "\0")]
        {
            check(vr, raw, &expect!["universal"]);
        }
    }

    #[test]
    fn wild_cards_only_where_they_mean_something() {
        // QR-024
        check(VR::LO, "A*", &expect![[r#"WildCard("A*")"#]]);
        check(VR::CS, " C? ", &expect![[r#"WildCard("C?")"#]]);
        check(VR::AS, "0*", &expect![[r#"Single("0*")"#]]);
        check(
            VR::DA,
            "2024*",
            &expect!["read key 00080020: dates and times have no wild cards: use a range such as 20240101-20240131"],
        );
        check(VR::UI, "1.2.*", &expect!["read key 00080020: a UID must be 1 to 64 digits and dots"]);
    }

    #[test]
    fn ranges() {
        // QR-026, WE-054
        check(VR::DA, "20240101-20240131", &expect![[r#"Range(Some("20240101"), Some("20240131"))"#]]);
        check(VR::DA, "-20240131", &expect![[r#"Range(None, Some("20240131"))"#]]);
        check(VR::DA, "20240101-", &expect![[r#"Range(Some("20240101"), None)"#]]);
        check(VR::DA, "-", &expect!["read key 00080020: a range needs at least one end: use FROM-TO, FROM- or -TO"]);
        check(VR::DA, "20240201-20240231", &expect![[r#"Range(Some("20240201"), Some("20240231"))"#]]);
        check(VR::DA, "20240231", &expect!["read key 00080020: it must be a valid date or time, or a range of them"]);
        check(VR::DA, "20240132", &expect!["read key 00080020: it must be a valid date or time, or a range of them"]);
        check(VR::TM, "10-1130", &expect![[r#"Range(Some("10"), Some("1130"))"#]]);
        check(VR::TM, "22-02", &expect!["read key 00080020: a range of times may not cross midnight"]);
        check(VR::DT, "20240101-0500", &expect![[r#"Single("20240101-0500")"#]]);
    }

    #[test]
    fn lists_and_numbers() {
        // QR-025, WE-053, QR-023
        check(VR::UI, r"1.2\1.3", &expect![[r#"AnyOf(["1.2", "1.3"])"#]]);
        check(VR::UI, "1.2,1.3", &expect![[r#"AnyOf(["1.2", "1.3"])"#]]);
        check(VR::UI, "1.2\0", &expect![[r#"Single("1.2")"#]]);
        check(VR::LO, "a,b", &expect![[r#"Single("a,b")"#]]);
        check(VR::IS, "+7", &expect![[r#"Single("+7")"#]]);
        check(VR::IS, "x", &expect!["read key 00080020: it must be a whole number"]);
    }

    #[test]
    fn modalities_in_study_take_a_list() {
        // QR-037
        let path = TagPath(vec![MODALITIES_IN_STUDY]);
        let list = Matching::AnyOf(vec!["CT".into(), "MR".into()]);
        assert_eq!(Matching::parse(&path, VR::CS, r"CT\MR").unwrap(), Some(list.clone()));
        assert_eq!(Matching::parse(&path, VR::CS, "CT, MR").unwrap(), Some(list));
    }
}
