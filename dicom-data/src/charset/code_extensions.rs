//! ISO 2022 code extensions (PS3.5 §6.1.2.5): escape sequences designate sets to G0 and G1 within a value.
//!
//! | escape | designates |
//! |---|---|
//! | ESC ( B, ESC ( J | ASCII, JIS X 0201 Roman to G0 |
//! | ESC $ B, ESC $ @ | JIS X 0208 to G0 |
//! | ESC $ ( D | JIS X 0212 to G0 |
//! | ESC ) I | JIS X 0201 katakana to G1 |
//! | ESC - x | ISO 8859, TIS 620 to G1 |
//! | ESC $ ) C, ESC $ ) A | KS X 1001, GB 2312 to G1 |

use encoding_rs::Encoding;

use super::TextKind;
use super::single_byte::SingleByte;

/// Begins an escape sequence.
pub(super) const ESC: u8 = 0x1B;

/// What bytes 21H to 7EH mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum G0 {
    /// One byte a character; the Roman half of JIS X 0201 is read the same.
    Ascii,
    /// Two bytes a character.
    JisX0208,
    /// Two bytes a character.
    JisX0212,
}

/// What bytes A1H to FEH mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum G1 {
    /// One byte a character.
    Single(SingleByte),
    /// Two bytes a character.
    KsX1001,
    /// Two bytes a character.
    Gb2312,
}

impl G1 {
    /// Returns what is in G1 where a value begins, by the first term's number.
    pub(super) fn of(number: &str) -> Self {
        match number {
            "149" => Self::KsX1001,
            "58" => Self::Gb2312,
            number => Self::Single(SingleByte::of(number).unwrap_or(SingleByte::Latin1)),
        }
    }
}

/// Decodes a value that begins with ASCII in G0, whatever the first term is, and `g1` in G1.
pub(super) fn decode(bytes: &[u8], g1: G1, kind: TextKind) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut state = (G0::Ascii, g1);
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == ESC
            && let Some((designated, after)) = escape(after, state)
        {
            state = designated;
            rest = after;
            continue;
        }
        if delimits(byte, state.0, kind) {
            state = (G0::Ascii, g1);
        }
        let (c, after) = character(byte, after, state);
        text.push(c);
        rest = after;
    }
    text
}

/// Says whether a byte ends what escapes designated. Inside a two-byte G0 only control characters do.
fn delimits(byte: u8, g0: G0, kind: TextKind) -> bool {
    match byte {
        b'\t' | b'\n' | b'\r' | 0x0C => true,
        b'\\' => g0 == G0::Ascii,
        b'^' | b'=' => g0 == G0::Ascii && kind == TextKind::PersonName,
        _ => false,
    }
}

/// Reads what follows ESC; `None` if it designates nothing.
fn escape(bytes: &[u8], (g0, g1): (G0, G1)) -> Option<((G0, G1), &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&second, rest) = rest.split_first()?;
    let single = |set| (g0, G1::Single(set));
    Some(match (first, second) {
        (b'(', b'B' | b'J') => ((G0::Ascii, g1), rest),
        (b'$', b'B' | b'@') => ((G0::JisX0208, g1), rest),
        (b')', b'I') => (single(SingleByte::JisX0201), rest),
        (b'-', last) => (single(SingleByte::of_final_byte(last)?), rest),
        (b'$', b'(' | b')') => {
            let (&third, rest) = rest.split_first()?;
            let designated = match (second, third) {
                (b'(', b'D') => (G0::JisX0212, g1),
                (b')', b'C') => (g0, G1::KsX1001),
                (b')', b'A') => (g0, G1::Gb2312),
                _ => return None,
            };
            (designated, rest)
        }
        _ => return None,
    })
}

fn character(byte: u8, rest: &[u8], (g0, g1): (G0, G1)) -> (char, &[u8]) {
    match (byte, g0, g1) {
        (0x21..=0x7E, G0::JisX0208, _) => {
            pair(rest, 0x21..=0x7E, |next| one(encoding_rs::EUC_JP, &[byte | 0x80, next | 0x80]))
        }
        (0x21..=0x7E, G0::JisX0212, _) => {
            pair(rest, 0x21..=0x7E, |next| one(encoding_rs::EUC_JP, &[0x8F, byte | 0x80, next | 0x80]))
        }
        (0xA1..=0xFE, _, G1::KsX1001) => pair(rest, 0xA1..=0xFE, |next| one(encoding_rs::EUC_KR, &[byte, next])),
        (0xA1..=0xFE, _, G1::Gb2312) => pair(rest, 0xA1..=0xFE, |next| one(encoding_rs::GBK, &[byte, next])),
        (0x80.., _, G1::Single(set)) => (set.decode(byte), rest),
        (0x80.., _, G1::KsX1001 | G1::Gb2312) => ('\u{fffd}', rest),
        (0..=0x7F, _, _) => (char::from(byte), rest),
    }
}

/// Takes the second byte of a character; without one the first means nothing.
fn pair(rest: &[u8], range: std::ops::RangeInclusive<u8>, decode: impl FnOnce(u8) -> char) -> (char, &[u8]) {
    match rest.split_first() {
        Some((&next, rest)) if range.contains(&next) => (decode(next), rest),
        Some(_) | None => ('\u{fffd}', rest),
    }
}

fn one(encoding: &'static Encoding, bytes: &[u8]) -> char {
    encoding.decode_without_bom_handling(bytes).0.chars().next().unwrap_or('\u{fffd}')
}
