//! Character sets of one byte a character (PS3.3 Table C.12-2).

use encoding_rs::Encoding;

/// A set whose upper half is in G1. The lower half is ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SingleByte {
    /// ISO 8859-1.
    Latin1,
    /// ISO 8859-2.
    Latin2,
    /// ISO 8859-3.
    Latin3,
    /// ISO 8859-4.
    Latin4,
    /// ISO 8859-5.
    Cyrillic,
    /// ISO 8859-6.
    Arabic,
    /// ISO 8859-7.
    Greek,
    /// ISO 8859-8.
    Hebrew,
    /// ISO 8859-9.
    Latin5,
    /// ISO 8859-15.
    Latin9,
    /// TIS 620-2533.
    Thai,
    /// JIS X 0201: katakana. Its Roman half is read as ASCII, for the backslash delimits there too.
    JisX0201,
}

impl SingleByte {
    /// Returns the set with this registration number.
    pub(super) fn of(number: &str) -> Option<Self> {
        Some(match number {
            "100" | "6" => Self::Latin1,
            "101" => Self::Latin2,
            "109" => Self::Latin3,
            "110" => Self::Latin4,
            "144" => Self::Cyrillic,
            "127" => Self::Arabic,
            "126" => Self::Greek,
            "138" => Self::Hebrew,
            "148" => Self::Latin5,
            "203" => Self::Latin9,
            "166" => Self::Thai,
            "13" => Self::JisX0201,
            _ => return None,
        })
    }

    /// Returns the set that an escape sequence with this final byte designates to G1.
    pub(super) fn of_final_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            b'A' => Self::Latin1,
            b'B' => Self::Latin2,
            b'C' => Self::Latin3,
            b'D' => Self::Latin4,
            b'L' => Self::Cyrillic,
            b'G' => Self::Arabic,
            b'F' => Self::Greek,
            b'H' => Self::Hebrew,
            b'M' => Self::Latin5,
            b'b' => Self::Latin9,
            b'T' => Self::Thai,
            _ => return None,
        })
    }

    /// Decodes one byte; 80H to 9FH are control characters in all of them.
    pub(super) fn decode(self, byte: u8) -> char {
        if byte < 0xA0 {
            return char::from(byte);
        }
        match self {
            Self::Latin1 => char::from(byte),
            Self::Latin5 => match byte {
                0xD0 => 'Ğ',
                0xDD => 'İ',
                0xDE => 'Ş',
                0xF0 => 'ğ',
                0xFD => 'ı',
                0xFE => 'ş',
                byte => char::from(byte),
            },
            Self::JisX0201 => match byte {
                0xA1..=0xDF => char::from_u32(0xFF61 + u32::from(byte - 0xA1)).unwrap_or('\u{fffd}'),
                _ => '\u{fffd}',
            },
            Self::Latin2 => by(encoding_rs::ISO_8859_2, byte),
            Self::Latin3 => by(encoding_rs::ISO_8859_3, byte),
            Self::Latin4 => by(encoding_rs::ISO_8859_4, byte),
            Self::Cyrillic => by(encoding_rs::ISO_8859_5, byte),
            Self::Arabic => by(encoding_rs::ISO_8859_6, byte),
            Self::Greek => by(encoding_rs::ISO_8859_7, byte),
            Self::Hebrew => by(encoding_rs::ISO_8859_8, byte),
            Self::Latin9 => by(encoding_rs::ISO_8859_15, byte),
            Self::Thai => by(encoding_rs::WINDOWS_874, byte),
        }
    }
}

fn by(encoding: &'static Encoding, byte: u8) -> char {
    encoding.decode_without_bom_handling(&[byte]).0.chars().next().unwrap_or('\u{fffd}')
}
