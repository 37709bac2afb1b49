//! Columns of numbers and strings: each value as its difference from what the values before it suggest.

use crate::wire::{Reader, put_bytes, put_varint};

/// Strings follow as they are.
const TEXT: u8 = 0;
/// Strings are one prefix and a plain decimal number each.
const DECIMAL: u8 = 1;

/// Appends `value` as its difference from `expected`; differences wrap, so all values round-trip.
pub(crate) fn put_difference(out: &mut Vec<u8>, expected: u128, value: u128) {
    let difference = value.wrapping_sub(expected).cast_signed();
    put_varint(out, ((difference << 1) ^ (difference >> 127)).cast_unsigned());
}

/// Takes what [`put_difference`] wrote.
pub(crate) fn take_difference(reader: &mut Reader<'_>, expected: u128) -> Option<u128> {
    let zigzag = reader.varint()?;
    let difference = (zigzag >> 1) ^ (zigzag & 1).wrapping_neg();
    Some(expected.wrapping_add(difference))
}

/// Appends a signed number as its difference from `expected`.
pub(crate) fn put_signed(out: &mut Vec<u8>, expected: i64, value: i64) {
    put_difference(out, i128::from(expected).cast_unsigned(), i128::from(value).cast_unsigned());
}

/// Takes what [`put_signed`] wrote.
pub(crate) fn take_signed(reader: &mut Reader<'_>, expected: i64) -> Option<i64> {
    take_difference(reader, i128::from(expected).cast_unsigned())?.cast_signed().try_into().ok()
}

/// Appends UIDs or any other strings.
///
/// | what | form |
/// |---|---|
/// | prefix of all strings, up to its last `.` | bytes |
/// | mode | 1 byte: 0 text, 1 decimal |
/// | each, text | rest of the string: bytes |
/// | each, decimal | rest of the string as a number: zigzag difference to twice the last less the one before it |
pub(crate) fn put_strings(out: &mut Vec<u8>, strings: &[&str]) {
    let prefix = common_prefix(strings);
    put_bytes(out, prefix.as_bytes());
    let rests: Vec<&str> = strings.iter().map(|text| text.get(prefix.len()..).unwrap_or_default()).collect();
    let Some(numbers) = rests.iter().map(|rest| plain_decimal(rest)).collect::<Option<Vec<u128>>>() else {
        out.push(TEXT);
        for rest in rests {
            put_bytes(out, rest.as_bytes());
        }
        return;
    };
    out.push(DECIMAL);
    let mut line = Line::default();
    for number in numbers {
        put_difference(out, line.expected(), number);
        line.push(number);
    }
}

/// Takes `count` strings that [`put_strings`] wrote.
pub(crate) fn take_strings(reader: &mut Reader<'_>, count: usize) -> Option<Vec<String>> {
    let prefix = reader.text()?;
    let mode = reader.u8()?;
    let mut line = Line::default();
    let mut strings = Vec::new();
    for _ in 0..count {
        strings.push(match mode {
            TEXT => format!("{prefix}{}", reader.text()?),
            DECIMAL => {
                let number = take_difference(reader, line.expected())?;
                line.push(number);
                format!("{prefix}{number}")
            }
            _ => return None,
        });
    }
    Some(strings)
}

/// Expects a number to be as far from the last as that was from the one before it.
#[derive(Debug, Default)]
pub(crate) struct Line {
    last: Option<u128>,
    step: u128,
}

impl Line {
    /// Returns the number expected next; 0 at first.
    pub(crate) fn expected(&self) -> u128 {
        self.last.map_or(0, |last| last.wrapping_add(self.step))
    }

    /// Notes the number that came.
    pub(crate) fn push(&mut self, number: u128) {
        self.step = self.last.map_or(0, |last| number.wrapping_sub(last));
        self.last = Some(number);
    }
}

/// Returns the longest prefix of all strings that is empty or ends in a dot, so that whole UID components follow.
fn common_prefix<'a>(strings: &[&'a str]) -> &'a str {
    let Some((first, others)) = strings.split_first() else {
        return "";
    };
    let shared = others.iter().fold(first.len(), |shared, other| {
        first.bytes().zip(other.bytes()).take(shared).take_while(|(left, right)| left == right).count()
    });
    let dot =
        first.bytes().take(shared).zip(1..).filter(|(byte, _)| *byte == b'.').last().map_or(0, |(_, after)| after);
    first.get(..dot).unwrap_or_default()
}

/// Returns the number if writing it again gives the same digits.
fn plain_decimal(text: &str) -> Option<u128> {
    let number: u128 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(strings: &[&str]) -> usize {
        let mut out = Vec::new();
        put_strings(&mut out, strings);
        let mut reader = Reader::new(&out);
        assert_eq!(take_strings(&mut reader, strings.len()).unwrap(), strings);
        assert!(reader.rest().is_empty());
        out.len()
    }

    #[test]
    fn numbered_uids_take_a_byte_each() {
        let uids: Vec<String> = (1..=1_000).map(|number| format!("1.2.840.113619.2.55.3.{number}")).collect();
        let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
        assert!(round_trip(&uids) < 1_030);
    }

    #[test]
    fn odd_strings_round_trip() {
        round_trip(&[]);
        round_trip(&["", ""]);
        round_trip(&["1.2.03", "1.2.4"]);
        round_trip(&["1.2.+3", "1.2.4"]);
        round_trip(&["1.2.", "1.2.3"]);
        round_trip(&["1.2.3", "1.2.3.4"]);
        round_trip(&["é.1", "é.2", "è.3"]);
        round_trip(&["340282366920938463463374607431768211455", "0", "340282366920938463463374607431768211455"]);
        round_trip(&["340282366920938463463374607431768211456"]);
    }

    proptest! {
        #[test]
        fn any_strings_round_trip(strings in proptest::collection::vec("\\PC*|[0-9.]{0,40}", 0..20)) {
            let strings: Vec<&str> = strings.iter().map(String::as_str).collect();
            round_trip(&strings);
        }

        #[test]
        fn any_differences_round_trip(expected: u128, value: u128, low: i64, high: i64) {
            let mut out = Vec::new();
            put_difference(&mut out, expected, value);
            put_signed(&mut out, low, high);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(take_difference(&mut reader, expected), Some(value));
            prop_assert_eq!(take_signed(&mut reader, low), Some(high));
        }
    }
}
