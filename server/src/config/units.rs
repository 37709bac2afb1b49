//! Values with units as people write them: `2min`, `1GiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A length of time, written as a whole number and a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Span(pub(crate) Duration);

/// A number of bytes, written as a whole number and a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Size(pub(crate) u64);

/// Milliseconds of every unit of time, the largest last.
const SPAN_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Bytes of every unit of size, the largest binary one last.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let millis = parse(text, &SPAN_UNITS).ok_or_else(|| {
            format!(
                "`{text}` is not a valid length of time: write a whole number and ms, s, min, h or d, as in \"2min\""
            )
        })?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = parse(text, &SIZE_UNITS).ok_or_else(|| {
            format!("`{text}` is not a valid size: write a whole number and B, KiB, MiB, GiB or TiB (or kB, MB, GB, TB), as in \"1GiB\"")
        })?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl fmt::Display for Span {
    /// Writes the value in the largest unit that needs no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        write_in_largest(f, millis, &SPAN_UNITS)
    }
}

impl fmt::Display for Size {
    /// Writes the value in the largest unit that needs no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in_largest(f, self.0, &SIZE_UNITS)
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn write_in_largest(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fitting = units.iter().rev().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    match fitting {
        Some((name, factor)) => write!(f, "{}{name}", value / factor),
        None => write!(f, "{value}{}", units.iter().find(|(_, factor)| *factor == 1).map_or("", |(name, _)| name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_written_back() {
        for (text, millis) in
            [("250ms", 250), ("30s", 30_000), ("2min", 120_000), ("1h", 3_600_000), ("7d", 604_800_000)]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.0, span.to_string()), (Duration::from_millis(millis), text.to_owned()));
        }
        for (text, bytes) in [("5B", 5), ("128KiB", 131_072), ("1GiB", 1 << 30), ("2MB", 2_000_000), ("0B", 0)] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.0, size.to_string()), (bytes, text.to_owned()));
        }
    }

    #[test]
    fn numbers_without_a_unit_and_too_large_ones_are_refused() {
        for text in ["", "5", "min", "-1s", "1.5h", "2 minutes", "99999999999999999999s", "18446744073709551615d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["", "1024", "1G", "1GiBs", "18446744073709551615KiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
