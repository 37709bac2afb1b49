//! Application Entity titles (PS3.5 §6.2, PS3.8 §9.3.2), parsed once at the edge.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Bytes of the title fields in association PDUs.
const AE_TITLE_BYTES: usize = 16;

/// A title of 1 to 16 printable ASCII characters without backslash; compared case-sensitively.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AeTitle(Arc<str>);

/// Says that a text is no AE title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("read AE title: it must be 1 to 16 printable ASCII characters without backslash")]
pub struct InvalidAeTitle;

impl AeTitle {
    /// Returns the title without padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a title from the wire: surrounding spaces and trailing NULs are padding (UL-032).
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidAeTitle> {
        std::str::from_utf8(bytes).map_err(|_| InvalidAeTitle)?.parse()
    }
}

impl FromStr for AeTitle {
    type Err = InvalidAeTitle;

    fn from_str(text: &str) -> Result<Self, InvalidAeTitle> {
        let title = text.trim_end_matches(['\0', ' ']).trim_start_matches(' ');
        let valid = !title.is_empty()
            && title.len() <= AE_TITLE_BYTES
            && title.bytes().all(|b| (b == b' ' || b.is_ascii_graphic()) && b != b'\\');
        if valid { Ok(Self(title.into())) } else { Err(InvalidAeTitle) }
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_dropped_and_case_is_kept() {
        // UL-032
        for bytes in [&b"  Filmroom      "[..], b"Filmroom\0\0\0\0\0\0\0\0", b"Filmroom \0"] {
            assert_eq!(AeTitle::from_bytes(bytes).unwrap().as_str(), "Filmroom");
        }
        assert_ne!("FILMROOM".parse::<AeTitle>(), "Filmroom".parse());
    }

    #[test]
    fn blanks_controls_backslash_and_other_repertoires_are_refused() {
        // UL-032, UL-034
        for bytes in [
            &b"                "[..],
            b"A\\B             ",
            b"A\nB             ",
            b"\0               ",
            b"caf\xe9            ",
            "PACS\u{e9}".as_bytes(),
            b"seventeen chars..",
        ] {
            assert_eq!(AeTitle::from_bytes(bytes), Err(InvalidAeTitle), "{bytes:?}");
        }
    }
}
