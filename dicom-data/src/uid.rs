//! Unique identifiers (PS3.5 §9), parsed once at the edge.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest unique identifier in characters (PS3.5 §9.1).
pub const UID_CHARS_MAX: usize = 64;

/// A DICOM unique identifier: digits and dots, 1 to 64 characters.
///
/// Components with leading zeros are kept as they are: senders in the field write them and the
/// identifier must come back unchanged.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(Arc<str>);

/// Says that a text is no unique identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("read UID: it must be 1 to 64 digits and dots")]
pub struct InvalidUid;

impl Uid {
    /// Returns the identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Uid {
    type Err = InvalidUid;

    /// Reads an identifier; trailing NULs and spaces around it are padding and are dropped.
    fn from_str(text: &str) -> Result<Self, InvalidUid> {
        let text = text.trim_matches(|c| c == ' ' || c == '\0');
        let valid =
            !text.is_empty() && text.len() <= UID_CHARS_MAX && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if valid { Ok(Self(text.into())) } else { Err(InvalidUid) }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_dropped_and_leading_zeros_are_kept() {
        // UL-041
        let uid: Uid = "1.2.0003.4\0".parse().unwrap();
        assert_eq!(uid.as_str(), "1.2.0003.4");
    }

    #[test]
    fn letters_emptiness_and_excess_are_refused() {
        // WE-010
        for text in ["", "1.2.x", "1.2/3", &"1".repeat(65)] {
            assert_eq!(text.parse::<Uid>(), Err(InvalidUid), "{text}");
        }
    }
}
