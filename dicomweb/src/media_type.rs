//! Media types and lists of them (RFC 9110 §8.3.1, §5.6.6), read as leniently as peers write them.

use std::borrow::Cow;

/// Most entries of one list and most parameters of one media type that are looked at.
const ENTRIES_MAX: usize = 64;

/// One media type or range, lower case, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaType<'a> {
    /// `type/subtype`.
    pub(crate) essence: Cow<'a, str>,
    /// Names in lower case, values unquoted and otherwise as given.
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> MediaType<'a> {
    /// Reads one media type; `None` when it is none.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut pieces = split(text, ';');
        let essence = lower_case(pieces.next()?.trim());
        let (kind, subtype) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) || (kind == "*" && subtype != "*") {
            return None;
        }
        let mut parameters = Vec::new();
        for piece in pieces.filter(|p| !p.trim().is_empty()) {
            let (name, value) = piece.split_once('=')?;
            parameters.push((lower_case(name.trim()), unquote(value.trim())?));
        }
        Some(Self { essence, parameters })
    }

    /// Returns the value of the first parameter of this name (lower case).
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_ref())
    }
}

/// Splits a comma-separated header value; commas in quotes do not count.
pub(crate) fn split_list(text: &str) -> Vec<&str> {
    split(text, ',').filter(|entry| !entry.trim().is_empty()).collect()
}

fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    let splits = move |c: char| {
        let splits = c == separator && !quoted;
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        }
        splits
    };
    text.split(splits).take(ENTRIES_MAX)
}

fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text.into() }
}

fn unquote(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix('"') else {
        return Some(value.into());
    };
    let inner = inner.strip_suffix('"')?;
    if !inner.contains(['"', '\\']) {
        return Some(inner.into());
    }
    let mut out = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => return None,
            '\\' => out.push(characters.next()?),
            other => out.push(other),
        }
    }
    Some(out.into())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, essence: &str, parameters: &[(&str, &str)]) {
        let media = MediaType::parse(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(media.essence, essence, "{text}");
        let got: Vec<_> = media.parameters.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
        assert_eq!(got, parameters, "{text}");
    }

    #[test]
    fn parameters_with_and_without_quotes() {
        // WE-023, WE-162
        check("Multipart/Related", "multipart/related", &[]);
        check(
            "multipart/related; type=application/dicom ;BOUNDARY=\"a;b,\\\"c\"",
            "multipart/related",
            &[("type", "application/dicom"), ("boundary", "a;b,\"c")],
        );
        check(
            "multipart/related;boundary='()+_,-./:=?;transfer-syntax=*",
            "multipart/related",
            &[("boundary", "'()+_,-./:=?"), ("transfer-syntax", "*")],
        );
    }

    #[test]
    fn what_is_no_media_type() {
        for text in ["", "dicom", "/", "a/", "*/dicom", "a b/c", "a/b; c", "a/b; c=\"d", "a/b; c=\"d\"e\""] {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
    }

    #[test]
    fn commas_in_quotes_do_not_split() {
        assert_eq!(split_list("a/b;c=\"1,2\" , , d/e"), ["a/b;c=\"1,2\" ", " d/e"]);
    }
}
