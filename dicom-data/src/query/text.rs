//! Text as it is compared: normalised values, folded person names, wild cards. Pure.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::PersonName;

/// Longest value that is compared, in characters; the rest of a longer one does not count (QR-039).
pub const COMPARED_CHARS_MAX: usize = 256;

/// Stand-ins for `*` and `?` while a pattern is folded: folding turns other characters into those two.
const ANY_STAND_IN: char = '\u{E000}';
const ONE_STAND_IN: char = '\u{E001}';

/// Returns a value as it is compared: composed, without padding and control characters, capped; `None` when
/// nothing is left.
pub fn normal(value: &str) -> Option<String> {
    let text: String = value.trim_matches([' ', '\0']).nfc().filter(|c| *c != '\0').take(COMPARED_CHARS_MAX).collect();
    (!text.is_empty()).then_some(text)
}

/// Returns the three component groups of a name, folded; `None` for an empty group.
pub fn fold_name(name: &PersonName) -> [Option<String>; 3] {
    [&name.alphabetic, &name.ideographic, &name.phonetic].map(|group| {
        let folded = fold_group(group);
        (!folded.is_empty()).then_some(folded)
    })
}

/// Returns what each component group must be like; `None` where any will do. One group alone may match any group of
/// the name, which is what the first part of the result tells.
pub fn fold_name_pattern(pattern: &str, wild: bool) -> (bool, [Option<String>; 3]) {
    let mut groups = pattern.splitn(3, '=');
    let folded = [groups.next(), groups.next(), groups.next()].map(|group| {
        let folded = if wild { fold_wild(group?) } else { fold_group(group?) };
        let universal = folded.is_empty() || (wild && folded.chars().all(|c| c == '*'));
        (!universal).then_some(folded)
    });
    (!pattern.contains('='), folded)
}

/// Returns the pattern and what it also stands for: `DOE^*` matches `DOE`, because trailing empty components do not
/// count.
pub fn name_alternatives(pattern: &str) -> Vec<String> {
    let mut all = vec![pattern.to_owned()];
    let mut rest = pattern;
    while let Some(shorter) = rest.strip_suffix("^*") {
        rest = shorter;
        all.push(rest.to_owned());
    }
    all
}

/// Returns numbers for the characters of folded text that are not ASCII and for all pairs of neighbours, ascending. Text
/// that matches a pattern has the numbers of each of its literal parts; other text may have them, too.
pub fn grams<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<i32> {
    let mut grams = BTreeSet::new();
    for text in texts {
        let mut before: Option<u32> = None;
        for c in text.chars() {
            if !c.is_ascii() {
                grams.insert(u32::from(c).cast_signed());
            }
            if let Some(before) = before {
                // Characters have 21 bits, so that the sign tells the two kinds apart.
                let pair = before.wrapping_mul(0x9E37_79B1).wrapping_add(u32::from(c)) | (1 << 31);
                grams.insert(pair.cast_signed());
            }
            before = Some(u32::from(c));
        }
    }
    grams.into_iter().collect()
}

/// Returns a bit for each gram: 32 for characters, 32 above them for pairs. Text that has the grams has the bits, too; so
/// has other text now and then. The index makes the same of the grams of a stored name (`archive::index`, in SQL).
pub fn gram_bits(grams: &[i32]) -> i64 {
    let bit = |gram: &i32| 1_u64 << ((gram & 31) + if *gram < 0 { 32 } else { 0 });
    grams.iter().map(bit).fold(0, |bits, bit| bits | bit).cast_signed()
}

/// Tells whether `text` matches `pattern`, where `*` stands for any characters and `?` for one.
pub fn glob(pattern: &str, text: &str) -> bool {
    // Greedy with one point of return: linear for one star, at worst |pattern| * |text|.
    let (mut p, mut t) = (pattern.chars(), text.chars());
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (before_p, before_t) = (p.clone(), t.clone());
        match (p.next(), t.next()) {
            (Some('*'), _) => {
                retry = Some((p.clone(), before_t.clone()));
                t = before_t;
            }
            (Some('?'), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            (None, None) => return true,
            (_, _) => {
                drop(before_p);
                let Some((star, mut from)) = retry.take() else {
                    return false;
                };
                if from.next().is_none() {
                    return false;
                }
                (p, t) = (star.clone(), from.clone());
                retry = Some((star, from));
            }
        }
    }
}

/// Returns the pattern for SQL `like`, with backslash as escape character.
pub fn like(pattern: &str) -> String {
    let mut sql = String::with_capacity(pattern.len() + 8);
    for c in pattern.chars() {
        match c {
            '*' => sql.push('%'),
            '?' => sql.push('_'),
            '%' | '_' | '\\' => sql.extend(['\\', c]),
            other => sql.push(other),
        }
    }
    sql
}

fn fold_wild(group: &str) -> String {
    let marked: String = group
        .chars()
        .map(|c| match c {
            '*' => ANY_STAND_IN,
            '?' => ONE_STAND_IN,
            other => other,
        })
        .collect();
    let folded = fold_group(&marked);
    // A character that folds to a wild card is taken as one: `like` and `glob` have no third meaning for it.
    folded
        .chars()
        .map(|c| match c {
            ANY_STAND_IN => '*',
            ONE_STAND_IN => '?',
            other => other,
        })
        .collect()
}

/// Folds one component group: compatibility forms, case and accents are gone; components are trimmed and trailing
/// empty ones dropped (QR-022).
fn fold_group(group: &str) -> String {
    let folded: String = group
        .to_uppercase() // first, for "ß" and "SS" are one
        .to_lowercase()
        .nfkd()
        .filter(|c| *c != '\0' && (!is_combining_mark(*c) || is_kana_voicing(*c)))
        .nfc() // so that `?` stands for one Hangul syllable
        .collect();
    let components: Vec<&str> = folded.split('^').map(str::trim).collect();
    let joined = components.join("^");
    joined.trim_end_matches('^').chars().take(COMPARED_CHARS_MAX).collect()
}

/// Voicing marks tell Japanese syllables apart; they are no accents.
fn is_kana_voicing(c: char) -> bool {
    matches!(c, '\u{3099}' | '\u{309A}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(alphabetic: &str) -> String {
        let name = PersonName { alphabetic: alphabetic.into(), ..PersonName::default() };
        fold_name(&name)[0].clone().unwrap_or_default()
    }

    #[test]
    fn names_fold_case_accents_width_and_trailing_components() {
        // QR-022
        for (given, expected) in [
            ("DOE^JOHN^^^", "doe^john"),
            ("Müller^Jörg", "muller^jorg"),
            ("Mu\u{308}ller ^ Jo\u{308}rg ", "muller^jorg"),
            ("Straße", "strasse"),
            ("ＹＡＭＡＤＡ^Tarou", "yamada^tarou"),
            ("ﾀﾅｶ", "タナカ"),
            ("ガ", "ガ"),
            ("홍^길동", "홍^길동"),
            ("A\0B", "ab"),
        ] {
            assert_eq!(folded(given), expected, "{given}");
        }
        assert_ne!(folded("ハ"), folded("バ"));
    }

    #[test]
    fn wild_cards_follow_their_meaning() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "ab", false),
            ("*b*b*", "abcb", true),
            ("?", "", false),
            ("??", "王李", true),
            ("*王*", "小王子", true),
            ("a**", "a", true),
            ("a", "ab", false),
            ("*ab", "aab", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_matches_a_pattern_has_its_grams() {
        // QR-050
        let has = |text: &str, part: &str| grams([part]).iter().all(|gram| grams([text]).contains(gram));
        for (text, part) in [("王^小明", "王"), ("王^小明", "小明"), ("doe^john", "e^j"), ("a", "")] {
            assert!(has(text, part), "{text} {part}");
        }
        assert!(!has("王^小明", "李") && !has("doe^john", "ej"));
        assert_eq!((grams(["ab"]).len(), grams(["王"]).len(), grams(["a"]).len()), (1, 1, 0));
    }

    #[test]
    fn bits_of_grams_are_those_that_the_index_makes() {
        // `archive::index` has the same in SQL: characters below, pairs above, each by its last five bits.
        assert_eq!(gram_bits(&[]), 0);
        assert_eq!(gram_bits(&[29_579, 29_579 + 32]), 1 << (29_579 % 32));
        assert_eq!(gram_bits(&[i32::MIN]), 1 << 32);
        assert_eq!(gram_bits(&[-1, 0]), i64::MIN | 1);
    }

    #[test]
    fn like_escapes_its_own_signs() {
        assert_eq!(like(r"50%_a\b*?"), r"50\%\_a\\b%_");
    }

    #[test]
    fn long_values_are_capped_and_nothing_is_none() {
        // QR-039
        assert_eq!(normal(&"x".repeat(5_000)).unwrap().len(), COMPARED_CHARS_MAX);
        assert_eq!(normal(" \0 "), None);
        assert_eq!(normal("e\u{301} "), Some("\u{e9}".into()));
    }
}
