//! Dates and times as intervals (PS3.5 §6.2 DA, TM, DT; PS3.4 §C.2.2.2.5). Pure.

use jiff::civil::Date;

/// Microseconds of a day.
pub const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// First and last microsecond that a value of limited precision denotes, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Microseconds: since midnight for TM, since 1970 for DT.
    pub first: i64,
    /// Not before `first`.
    pub last: i64,
}

/// A DT: its span in local time and its offset from UTC in minutes, if it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// The moments it covers.
    pub span: Span,
    /// Offset from UTC in minutes, when it is given.
    pub offset_minutes: Option<i64>,
}

/// Reads a DA; also `2024.05.01` (QR-028).
pub fn date(text: &str) -> Option<Date> {
    let text = text.trim();
    let plain: String = match text.len() {
        10 if text.get(4..5) == Some(".") && text.get(7..8) == Some(".") => text.replace('.', ""),
        8 => text.to_owned(),
        _ => return None,
    };
    let digits = Digits(plain.as_bytes());
    digits.whole()?;
    civil(digits.number(0, 4)?, digits.number(4, 2)?, digits.number(6, 2)?)
}

/// Reads an end of a range of dates: the first day that is not before it and the last that is not after it. The two
/// differ for a day up to the 31st that its month does not have: `20240201-20240231` is how many ask for a month.
pub fn date_end(text: &str) -> Option<(Date, Date)> {
    if let Some(date) = date(text) {
        return Some((date, date));
    }
    let text = text.trim();
    let day = text.get(text.len().checked_sub(2)?..).filter(|day| matches!(*day, "29" | "30" | "31"))?;
    let last = date(&format!("{}28", text.strip_suffix(day)?))?.last_of_month();
    Some((last.tomorrow().ok()?, last))
}

/// Reads a TM of any precision; also `10:30:00` (QR-027, QR-028).
pub fn time(text: &str) -> Option<Span> {
    let text = text.trim();
    let plain = if text.get(2..3) == Some(":") { text.replace(':', "") } else { text.to_owned() };
    time_span(&plain)
}

/// Reads a DT of any precision with an optional offset.
pub fn date_time(text: &str) -> Option<DateTime> {
    let text = text.trim();
    let (local, offset_minutes) = match text.rfind(['+', '-']) {
        Some(at) => {
            let (local, offset) = text.split_at_checked(at)?;
            (local, Some(offset_of(offset)?))
        }
        None => (text, None),
    };
    let (whole, _) = local.split_once('.').unwrap_or((local, ""));
    let day_digits = Digits(whole.as_bytes());
    day_digits.whole()?;
    let year = day_digits.number(0, 4)?;
    let micros = |d: Date| Some(i64::from(d.since(Date::constant(1970, 1, 1)).ok()?.get_days()) * DAY_MICROS);
    let span = match whole.len() {
        4 | 6 if local.len() > whole.len() => return None,
        4 => Span { first: micros(civil(year, 1, 1)?)?, last: micros(civil(year, 12, 31)?)? + DAY_MICROS - 1 },
        6 => {
            let first = civil(year, day_digits.number(4, 2)?, 1)?;
            Span { first: micros(first)?, last: micros(first.last_of_month())? + DAY_MICROS - 1 }
        }
        _ => {
            let day = micros(civil(year, day_digits.number(4, 2)?, day_digits.number(6, 2)?)?)?;
            let of_day = local.get(8..).filter(|rest| !rest.is_empty()).map(time_span);
            let of_day = of_day.unwrap_or(Some(Span { first: 0, last: DAY_MICROS - 1 }))?;
            Span { first: day + of_day.first, last: day + of_day.last }
        }
    };
    Some(DateTime { span, offset_minutes })
}

/// From and to of a range.
pub type Ends<'a> = (Option<&'a str>, Option<&'a str>);

/// Splits a range at its hyphen; `None` when the text is a single value. `valid` tells what a bound may be, so that
/// the hyphen of an offset such as `-0500` is not taken for it (QR-026).
pub fn split_range(text: &str, valid: impl Fn(&str) -> bool) -> Option<Result<Ends<'_>, &'static str>> {
    let text = text.trim();
    if text == "-" {
        return Some(Err("a range needs at least one end: use FROM-TO, FROM- or -TO"));
    }
    if valid(text) || !text.contains('-') {
        return None;
    }
    for (at, _) in text.match_indices('-') {
        let (from, rest) = text.split_at_checked(at)?;
        let (from, to) = (from.trim(), rest.get(1..)?.trim());
        let from_fits = from.is_empty() || valid(from);
        let to_fits = to.is_empty() || valid(to);
        if from_fits && to_fits {
            let some = |t| Some(t).filter(|t: &&str| !t.is_empty());
            return Some(Ok((some(from), some(to))));
        }
    }
    Some(Err("the ends of a range must be valid dates or times"))
}

fn civil(year: i64, month: i64, day: i64) -> Option<Date> {
    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn time_span(plain: &str) -> Option<Span> {
    let (whole, fraction) = match plain.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (plain, None),
    };
    let digits = Digits(whole.as_bytes());
    digits.whole()?;
    let hour = digits.number(0, 2).filter(|h| *h < 24)?;
    let part = |at, below| {
        if whole.len() > at { digits.number(at, 2).filter(|n| *n < below) } else { Some(0) }
    };
    // A leap second is written as 60.
    let seconds = hour * 3_600 + part(2, 60)? * 60 + part(4, 61)?;
    let unit_seconds = match whole.len() {
        2 => 3_600,
        4 => 60,
        6 => 1,
        _ => return None,
    };
    let Some(fraction) = fraction else {
        let first = seconds * 1_000_000;
        return Some(Span { first, last: first + unit_seconds * 1_000_000 - 1 });
    };
    if whole.len() != 6 || fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    Digits(fraction.as_bytes()).whole()?;
    let unit_micros = 10_i64.pow(u32::try_from(6 - fraction.len()).ok()?);
    let first = seconds * 1_000_000 + fraction.parse::<i64>().ok()? * unit_micros;
    Some(Span { first, last: first + unit_micros - 1 })
}

/// Reads `+HHMM` or `-HHMM`, -1200 to +1400.
fn offset_of(text: &str) -> Option<i64> {
    let (sign, rest) = text.split_at_checked(1)?;
    let digits = Digits(rest.as_bytes());
    digits.whole()?;
    if rest.len() != 4 {
        return None;
    }
    let minutes = digits.number(0, 2)? * 60 + digits.number(2, 2).filter(|m| *m < 60)?;
    let signed = if sign == "-" { -minutes } else { minutes };
    (-12 * 60..=14 * 60).contains(&signed).then_some(signed)
}

struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    fn whole(&self) -> Option<()> {
        (!self.0.is_empty() && self.0.iter().all(u8::is_ascii_digit)).then_some(())
    }

    fn number(&self, at: usize, len: usize) -> Option<i64> {
        std::str::from_utf8(self.0.get(at..at + len)?).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    #[test]
    fn dates_in_both_forms_and_no_others() {
        // QR-028
        assert_eq!(date("20240501"), Some(Date::constant(2024, 5, 1)));
        assert_eq!(date("2024.05.01"), date("20240501"));
        for text in ["20240230", "2024", "2024-5-1", "2024050a", "", "+2024051"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn an_end_of_a_range_may_lie_behind_its_month() {
        // QR-026
        let day = Date::constant;
        assert_eq!(date_end("20240229"), Some((day(2024, 2, 29), day(2024, 2, 29))));
        assert_eq!(date_end("20240231"), Some((day(2024, 3, 1), day(2024, 2, 29))));
        assert_eq!(date_end("2024.11.31"), Some((day(2024, 12, 1), day(2024, 11, 30))));
        for text in ["20240232", "20241331", "31", "é31", "", "9999"] {
            assert_eq!(date_end(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_denotes_all_of_its_precision() {
        // QR-027
        let span = |first, last| Some(Span { first, last });
        assert_eq!(time("10"), span(600 * MINUTE, 660 * MINUTE - 1));
        assert_eq!(time("1030"), span(630 * MINUTE, 631 * MINUTE - 1));
        assert_eq!(time("10:30:00"), span(630 * MINUTE, 630 * MINUTE + 999_999));
        assert_eq!(time("103000.25"), span(630 * MINUTE + 250_000, 630 * MINUTE + 259_999));
        for text in ["24", "1060", "1", "103", "103000.", "103000.1234567", "10.5", "-1"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_time_has_precision_and_offset() {
        let year = date_time("2024").unwrap();
        assert_eq!(year.span.last - year.span.first, 366 * DAY_MICROS - 1);
        let month = date_time("202402+0100").unwrap();
        assert_eq!(month.span.last - month.span.first, 29 * DAY_MICROS - 1);
        assert_eq!(month.offset_minutes, Some(60));
        assert_eq!(date_time("20240501103000.5-0500").unwrap().offset_minutes, Some(-300));
        for text in ["20241301", "2024-2024", "202405011", "2024.5"] {
            assert_eq!(date_time(text), None, "{text}");
        }
    }

    #[test]
    fn hyphens_of_offsets_are_no_ranges() {
        // QR-026
        let valid = |t: &str| date_time(t).is_some();
        assert_eq!(split_range("20240501-0500", valid), None);
        let both = split_range("20240501-0500-20240502-0500", valid).unwrap().unwrap();
        assert_eq!(both, (Some("20240501-0500"), Some("20240502-0500")));
        assert_eq!(split_range("2024-2025", valid).unwrap().unwrap(), (Some("2024"), Some("2025")));
        assert_eq!(split_range("2024-0500-", valid).unwrap().unwrap(), (Some("2024-0500"), None));
        assert_eq!(split_range("-2024", valid).unwrap().unwrap(), (None, Some("2024")));
        assert!(split_range("-", valid).unwrap().is_err());
        assert!(split_range("2024-x", valid).unwrap().is_err());
    }
}
