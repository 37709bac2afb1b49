//! Person names in the character sets that archives get wrong, as byte literals.
//!
//! The bytes are written by hand so that no decoder of this project is its own witness.

/// Specific Character Set of a study (PS3.3 §C.12.1.1.2) and the name that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Charset {
    /// Default repertoire; (0008,0005) is absent.
    #[default]
    Ascii,
    /// ISO_IR 100, Latin alphabet No. 1.
    Latin1,
    /// ISO_IR 192.
    Utf8,
    /// GB18030, used in China.
    Gb18030,
    /// ISO 2022 IR 87 as an extension, used in Japan (PS3.5 §H).
    Iso2022Ir87,
    /// ISO 2022 IR 149 as an extension, used in Korea (PS3.5 §I).
    Iso2022Ir149,
}

impl Charset {
    /// Every character set there is a name for.
    pub const ALL: [Self; 6] =
        [Self::Ascii, Self::Latin1, Self::Utf8, Self::Gb18030, Self::Iso2022Ir87, Self::Iso2022Ir149];

    /// Returns the value of (0008,0005), `None` for the default repertoire.
    pub fn specific_character_set(self) -> Option<&'static str> {
        match self {
            Self::Ascii => None,
            Self::Latin1 => Some("ISO_IR 100"),
            Self::Utf8 => Some("ISO_IR 192"),
            Self::Gb18030 => Some("GB18030"),
            Self::Iso2022Ir87 => Some("\\ISO 2022 IR 87"),
            Self::Iso2022Ir149 => Some("\\ISO 2022 IR 149"),
        }
    }

    /// Returns the person name as encoded in this character set.
    pub fn name_bytes(self) -> &'static [u8] {
        match self {
            Self::Ascii => b"Phantom^Water",
            Self::Latin1 => b"Pr\xFCfk\xF6rper^Gel",
            Self::Utf8 => "Kim^Moui=金^模擬=김^모의".as_bytes(),
            Self::Gb18030 => b"Wang^Moni=\xCD\xF5^\xC4\xA3\xC4\xE2",
            Self::Iso2022Ir87 => {
                b"Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B=\x1B$B$d$^$@\x1B(B^\x1B$B$?$m$&\x1B(B"
            }
            Self::Iso2022Ir149 => b"Kim^Moui=\x1B$)C\xD1\xD1^\x1B$)C\xD9\xBC\xEB\xF4",
        }
    }

    /// Returns the same person name in Unicode.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ascii => "Phantom^Water",
            Self::Latin1 => "Prüfkörper^Gel",
            Self::Utf8 => "Kim^Moui=金^模擬=김^모의",
            Self::Gb18030 => "Wang^Moni=王^模拟",
            Self::Iso2022Ir87 => "Yamada^Tarou=山田^太郎=やまだ^たろう",
            Self::Iso2022Ir149 => "Kim^Moui=金^模擬",
        }
    }
}
