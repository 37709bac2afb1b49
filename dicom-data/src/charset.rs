//! Character sets (PS3.5 §6.1, PS3.3 §C.12.1.1.2): bytes of text values to Unicode.
//!
//! Nothing fails: a byte without a meaning becomes U+FFFD, an unknown or absent term is read as Latin-1, of
//! which the default repertoire is a part. The stored bytes are never changed by this.

mod code_extensions;
mod single_byte;

use code_extensions::G1;
use single_byte::SingleByte;

/// Text that begins a new state of the code extensions ends at these (PS3.5 §6.1.2.5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextKind {
    /// Delimiters are the backslash and control characters.
    Text,
    /// Delimiters are also `^` and `=`.
    PersonName,
}

/// How text values of a data set are encoded: the meaning of Specific Character Set (0008,0005).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charset(Repertoire);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repertoire {
    Single(SingleByte),
    Utf8,
    Gb18030,
    Gbk,
    /// ISO 2022: what is designated to G1 where a value begins; ASCII is in G0.
    CodeExtensions(G1),
}

impl Default for Charset {
    fn default() -> Self {
        Self(Repertoire::Single(SingleByte::Latin1))
    }
}

impl Charset {
    /// Reads the values of Specific Character Set, taking common misspellings as meant.
    pub(super) fn from_terms<'a>(terms: impl IntoIterator<Item = &'a str>) -> Self {
        let mut terms = terms.into_iter();
        let Some(first) = terms.next() else {
            return Self::default();
        };
        let first = normalised(first);
        let extended = first.starts_with("ISO2022") || terms.next().is_some();
        let number = number(&first);
        let repertoire = match number.as_str() {
            "192" | "UTF8" => Repertoire::Utf8,
            "GB18030" => Repertoire::Gb18030,
            "GBK" => Repertoire::Gbk,
            number if !extended => match number {
                // Multi-byte sets without code extensions: what escapes there are decides.
                "58" | "87" | "149" | "159" => Repertoire::CodeExtensions(G1::of(number)),
                _ => Repertoire::Single(SingleByte::of(number).unwrap_or(SingleByte::Latin1)),
            },
            number => Repertoire::CodeExtensions(G1::of(number)),
        };
        Self(repertoire)
    }

    /// Decodes a whole value, delimiters included. A backslash in the result is a delimiter in the
    /// value, never a byte of a longer character.
    pub(super) fn decode(self, bytes: &[u8], kind: TextKind) -> String {
        if bytes.iter().all(|b| *b < 0x80 && *b != code_extensions::ESC) {
            // Alike in all, but in G0 with two bytes, which is reached by escapes only.
            return bytes.iter().map(|b| char::from(*b)).collect();
        }
        match self.0 {
            Repertoire::Single(set) => bytes.iter().map(|b| set.decode(*b)).collect(),
            Repertoire::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Repertoire::Gb18030 => encoding_rs::GB18030.decode_without_bom_handling(bytes).0.into_owned(),
            Repertoire::Gbk => encoding_rs::GBK.decode_without_bom_handling(bytes).0.into_owned(),
            Repertoire::CodeExtensions(g1) => code_extensions::decode(bytes, g1, kind),
        }
    }
}

/// Upper case, letters and digits only: `ISO 2022 IR 13` and `iso_2022-ir-13` are one.
fn normalised(term: &str) -> String {
    term.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

/// The registration number of a normalised term, or its name when it has none.
fn number(term: &str) -> String {
    let term = term.strip_prefix("ISO2022").unwrap_or(term);
    if let Some(part) = term.strip_prefix("ISO8859").or_else(|| term.strip_prefix("LATIN")) {
        let number = match (term.starts_with("LATIN"), part) {
            (_, "1") => "100",
            (_, "2") => "101",
            (_, "3") => "109",
            (_, "4") => "110",
            (false, "5") => "144",
            (false, "6") => "127",
            (false, "7") => "126",
            (false, "8") => "138",
            (false, "9") | (true, "5") => "148",
            (false, "11") => "166",
            (false, "15") | (true, "9") => "203",
            _ => "",
        };
        return number.to_owned();
    }
    let term = term.strip_prefix("ISO").unwrap_or(term);
    let term = term.strip_prefix("IR").unwrap_or(term);
    match term {
        "SHIFTJIS" | "SJIS" => "13".to_owned(),
        "UNICODE11UTF8" => "UTF8".to_owned(),
        term => term.trim_start_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(terms: &[&str], bytes: &[u8]) -> String {
        Charset::from_terms(terms.iter().copied()).decode(bytes, TextKind::Text)
    }

    fn name(terms: &[&str], bytes: &[u8]) -> String {
        Charset::from_terms(terms.iter().copied()).decode(bytes, TextKind::PersonName)
    }

    #[test]
    fn single_byte_sets() {
        // QR-048; names of PS3.5 annexes and of the registered sets
        for (term, bytes, expected) in [
            ("ISO_IR 100", &b"Buc^J\xe9r\xf4me"[..], "Buc^Jérôme"),
            ("ISO_IR 101", b"W\xb3\xf3d\xbc", "Włódź"),
            ("ISO_IR 109", b"\xa6u", "Ĥu"),
            ("ISO_IR 110", b"\xbb\xbf", "ģŋ"),
            ("ISO_IR 144", b"\xbb\xee\xda\xe1\xd5\xdc", "Люксем"),
            ("ISO_IR 127", b"\xe2\xc8\xc7\xe6\xea", "قباني"),
            ("ISO_IR 126", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
            ("ISO_IR 138", b"\xf9\xf8\xe5\xef", "שרון"),
            ("ISO_IR 148", b"\xc7avu\xfeo\xf0lu \xdd\xfd", "Çavuşoğlu İı"),
            ("ISO_IR 166", b"\xb9\xd2\xc1", "นาม"),
            ("ISO_IR 203", b"\xa4\xbd", "€œ"),
            ("ISO_IR 13", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
            ("ISO_IR 100", b"\x80\x9f", "\u{80}\u{9f}"),
            ("ISO_IR 166", b"\x80\x9f", "\u{80}\u{9f}"),
            ("ISO_IR 192", "Wang^小东".as_bytes(), "Wang^小东"),
            ("GB18030", b"Wang^\xd0\xa1\xb6\xab", "Wang^小东"),
            ("GBK", b"\xd5\x5c\\b", "誠\\b"),
        ] {
            assert_eq!(text(&[term], bytes), expected, "{term}");
        }
    }

    #[test]
    fn bytes_without_a_meaning_become_the_replacement_character() {
        // QR-049
        assert_eq!(text(&["ISO_IR 192"], b"a\xff"), "a\u{fffd}");
        assert_eq!(text(&["ISO_IR 13"], b"\xff"), "\u{fffd}");
        assert_eq!(text(&["", "ISO 2022 IR 87"], b"\x1b$B\x30"), "\u{fffd}");
    }

    #[test]
    fn misspelt_terms_mean_what_they_meant() {
        // QR-049
        for term in ["ISO IR 100", "ISO-8859-1", "iso_ir_100", "ISO 2022 IR 100", "ISO_IR100", "latin1"] {
            assert_eq!(text(&[term], b"\xe9"), "é", "{term}");
        }
        for term in ["UTF8", "utf-8", "ISO_IR_192", "ISO 2022 IR 192"] {
            assert_eq!(text(&[term], "é".as_bytes()), "é", "{term}");
        }
        assert_eq!(name(&["", "ISO 2022 58"], b"\x1b$)A\xcd\xf5"), "王");
        assert_eq!(text(&["ISO 2022 GBK"], b"\xd5\x5c"), "誠");
        assert_eq!(text(&["nonsense"], b"\xe9"), "é");
        assert_eq!(text(&[], b"\xe9"), "é");
    }

    #[test]
    fn japanese_code_extensions() {
        // QR-048, QR-050; PS3.5 §H.3.1 and §H.3.2
        let groups = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B";
        assert_eq!(name(&["", "ISO 2022 IR 87"], groups), "Yamada^Tarou=山田^太郎=やまだ^たろう");
        let groups = b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J";
        assert_eq!(name(&["ISO 2022 IR 13", "ISO 2022 IR 87"], groups), "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎");
        assert_eq!(name(&["", "ISO 2022 IR 159"], b"\x1b$(D\x30\x21\x1b(B"), "丂");
        assert_eq!(name(&["ISO 2022 IR 87"], b"\x1b$B;3\x1b(B"), "山");
    }

    #[test]
    fn korean_and_chinese_code_extensions() {
        // QR-048; PS3.5 §I.2 and §K.2
        let groups = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf";
        assert_eq!(name(&["", "ISO 2022 IR 149"], groups), "Hong^Gildong=洪^吉洞=홍^길동");
        let groups = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=";
        assert_eq!(name(&["", "ISO 2022 IR 58"], groups), "Zhang^XiaoDong=张^小东=");
    }

    #[test]
    fn designations_end_at_delimiters() {
        // QR-051: without the reset the second name would be read in JIS X 0208
        assert_eq!(name(&["", "ISO 2022 IR 87"], b"\x1b$B;3\x1b(B\\\x1b-A\xe9^\xe9"), "山\\é^é");
        let terms = ["ISO 2022 IR 100", "ISO 2022 IR 144"];
        assert_eq!(name(&terms, b"\x1b-L\xbb=\xe9"), "Л=é");
        assert_eq!(text(&terms, b"\x1b-L\xbb=\xbb\r\n\xe9"), "Л=Л\r\né");
    }

    #[test]
    fn a_backslash_byte_inside_a_character_is_no_delimiter() {
        // QR-051
        assert_eq!(text(&["GB18030"], b"\xd5\x5c\\\xd5\x5c"), "誠\\誠");
        // Both bytes of a character of JIS X 0208 may be 5CH: here the second, then the first.
        assert_eq!(text(&["", "ISO 2022 IR 87"], b"\x1b$B\x25\x5c\x1b(B\\x"), "ボ\\x");
        assert_eq!(text(&["", "ISO 2022 IR 87"], b"\x1b$B\x5c\x30\x25\x5c\x1b(B"), "椣ボ");
    }
}
