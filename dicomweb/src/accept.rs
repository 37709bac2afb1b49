//! What a client accepts (PS3.18 §8.7.5), and how well an answer we could give fits it. Pure.

use crate::media_type::{MediaType, split_list};

/// The acceptable media ranges of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accept {
    ranges: Vec<Range>,
}

/// One media range; `media` is what a part holds when the range is a multipart one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    form: Form,
    media: String,
    transfer_syntax: Option<String>,
    /// Thousandths; 0 refuses.
    quality: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Any,
    Single,
    Multipart,
}

/// One answer we could give.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer<'a> {
    /// In `multipart/related` rather than as the whole body.
    pub(crate) multipart: bool,
    /// Media type of the body or of each part.
    pub(crate) media: &'a str,
}

/// Which transfer syntaxes a range allows (PS3.18 §8.7.3.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requested<'a> {
    /// The range is a wildcard and names none.
    Anything,
    /// The range names none: Explicit VR Little Endian, unless stored lossy.
    Default,
    /// `*`: as stored.
    AsStored,
    /// This one.
    Uid(&'a str),
}

/// How well an offer fits; greater is better: first the quality, then how specific the range was (WE-027).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    quality: u16,
    specificity: u8,
}

impl Accept {
    /// Accepts whatever there is.
    pub(crate) fn anything() -> Self {
        Self::parse("*/*")
    }

    /// Reads a header value, several ones joined by commas; entries that cannot be read are skipped (WE-024).
    pub(crate) fn parse(text: &str) -> Self {
        Self { ranges: split_list(text).into_iter().filter_map(Range::parse).collect() }
    }

    /// Tells whether some entry is a wildcard, which an `accept` query parameter must not be (WE-025).
    pub(crate) fn has_wildcard(&self) -> bool {
        self.ranges.iter().any(|range| range.form == Form::Any || range.media.contains('*'))
    }

    /// Tells whether nothing readable is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Tells whether every entry of `self` lies in some range of `header`.
    pub(crate) fn is_within(&self, header: &Self) -> bool {
        self.ranges.iter().all(|range| {
            let offer = Offer { multipart: range.form == Form::Multipart, media: &range.media };
            header.rank(offer, |_| true).is_some()
        })
    }

    /// Tells whether both of these kinds of media types are named outright (WE-026).
    pub(crate) fn mixes(&self, dicom: &[&str], rendered: &[&str]) -> bool {
        let names =
            |list: &[&str]| self.ranges.iter().any(|r| list.iter().any(|m| r.media == *m || family_of(&r.media, m)));
        names(dicom) && names(rendered)
    }

    /// Returns how well the offer fits, or `None` when it is not acceptable. `allows` decides on transfer syntaxes.
    pub(crate) fn rank(&self, offer: Offer<'_>, allows: impl Fn(Requested<'_>) -> bool) -> Option<Rank> {
        self.ranges
            .iter()
            .filter(|range| range.covers(offer) && allows(range.requested()))
            .map(|range| (range.specificity(), range.quality))
            .max()
            .filter(|(_, quality)| *quality > 0)
            .map(|(specificity, quality)| Rank { quality, specificity })
    }
}

/// Tells whether `pattern`, such as `image/*`, is a family and `media` is in it.
fn family_of(media: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').is_some_and(|family| media.starts_with(family))
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let outer = MediaType::parse(text)?;
        let quality = quality(outer.parameter("q"))?;
        let mut transfer_syntax = outer.parameter("transfer-syntax").map(str::to_owned);
        let (form, media) = match outer.essence.as_ref() {
            "*/*" => (Form::Any, "*/*".to_owned()),
            "multipart/*" => (Form::Multipart, "*/*".to_owned()),
            "multipart/related" => match outer.parameter("type") {
                None => (Form::Multipart, "*/*".to_owned()),
                Some(part) => {
                    let part = MediaType::parse(part)?;
                    // `type="image/jls; transfer-syntax=..."` is seen in the field.
                    transfer_syntax = transfer_syntax.or_else(|| part.parameter("transfer-syntax").map(str::to_owned));
                    (Form::Multipart, part.essence.into_owned())
                }
            },
            single => (Form::Single, single.to_owned()),
        };
        Some(Self { form, media, transfer_syntax, quality })
    }

    fn covers(&self, offer: Offer<'_>) -> bool {
        let form = match self.form {
            Form::Any => true,
            Form::Single => !offer.multipart,
            Form::Multipart => offer.multipart,
        };
        form && (self.media == "*/*" || self.media == offer.media || family_of(offer.media, &self.media))
    }

    fn requested(&self) -> Requested<'_> {
        match self.transfer_syntax.as_deref() {
            Some("*") => Requested::AsStored,
            Some(uid) => Requested::Uid(uid),
            None if self.media.contains('*') => Requested::Anything,
            None => Requested::Default,
        }
    }

    fn specificity(&self) -> u8 {
        let named = u8::from(!self.media.starts_with('*')) * 2 + u8::from(!self.media.contains('*'));
        let syntax = match self.requested() {
            Requested::Uid(_) => 2,
            Requested::AsStored => 1,
            Requested::Anything | Requested::Default => 0,
        };
        u8::from(self.form != Form::Any) + named * 4 + syntax
    }
}

/// Reads a weight in thousandths; absent is 1.
fn quality(text: Option<&str>) -> Option<u16> {
    let Some(text) = text else {
        return Some(1000);
    };
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODED: Offer<'static> = Offer { multipart: true, media: "image/jls" };
    const FILES: Offer<'static> = Offer { multipart: true, media: "application/dicom" };
    const FILE: Offer<'static> = Offer { multipart: false, media: "application/dicom" };

    fn rank(accept: &str, offer: Offer<'_>) -> Option<u16> {
        Accept::parse(accept).rank(offer, |_| true).map(|rank| rank.quality)
    }

    #[test]
    fn ranges_as_peers_write_them() {
        // WE-022, WE-023, WE-024, WE-032
        let table: &[(&str, Offer<'_>, Option<u16>)] = &[
            ("*/*", FILES, Some(1000)),
            ("*/*;q=0.5", FILE, Some(500)),
            ("application/*", FILE, Some(1000)),
            ("application/*", FILES, None),
            ("multipart/*", FILES, Some(1000)),
            ("multipart/related", FILES, Some(1000)),
            ("multipart/related; type=application/dicom", FILES, Some(1000)),
            ("multipart/related;TYPE=\"Application/DICOM\" ; q=0.25", FILES, Some(250)),
            ("multipart/related; q=0.8; boundary=x; type=\"application/dicom\"", FILES, Some(800)),
            ("multipart/related; type=\"application/dicom\"", FILE, None),
            ("application/dicom;q=0, */*", FILE, None),
            ("application/dicom;q=0, */*", FILES, Some(1000)),
            ("nonsense, application/dicom;q=1.000", FILE, Some(1000)),
            ("application/dicom;q=1.5", FILE, None),
            ("application/dicom;q=x, application/json", FILE, None),
            ("multipart/related; type=\"image/*\"", CODED, Some(1000)),
            ("multipart/related; type=\"image/jls; transfer-syntax=1.2.840.10008.1.2.4.80\"", CODED, Some(1000)),
            ("application/dicom+json, multipart/related; type=image/jls; transfer-syntax=*", CODED, Some(1000)),
            ("", FILE, None),
        ];
        for (accept, offer, expected) in table {
            assert_eq!(rank(accept, *offer), *expected, "{accept} {offer:?}");
        }
    }

    #[test]
    fn quality_before_specificity() {
        // WE-027
        let accept = Accept::parse("*/*;q=0.9, application/dicom;q=0.1");
        let any = accept.rank(FILES, |_| true);
        let named = accept.rank(FILE, |_| true);
        assert!(any > named, "{any:?} {named:?}");
        let even = Accept::parse("*/*, application/dicom");
        assert!(even.rank(FILE, |_| true) > even.rank(FILES, |_| true));
    }

    #[test]
    fn transfer_syntaxes_reach_the_decision() {
        // WE-029
        let requested = |accept: &str| {
            let range = Range::parse(accept).unwrap();
            match range.requested() {
                Requested::Anything => "anything".to_owned(),
                Requested::Default => "default".to_owned(),
                Requested::AsStored => "stored".to_owned(),
                Requested::Uid(uid) => uid.to_owned(),
            }
        };
        assert_eq!(requested("*/*"), "anything");
        assert_eq!(requested("multipart/related; type=\"application/dicom\""), "default");
        assert_eq!(requested("multipart/related; type=application/octet-stream; transfer-syntax=*"), "stored");
        assert_eq!(requested("multipart/related; type=\"application/octet-stream\"; transfer-syntax=\"*\""), "stored");
        assert_eq!(requested("application/dicom;transfer-syntax=1.2.3"), "1.2.3");
    }

    #[test]
    fn dicom_and_rendered_types_do_not_mix() {
        // WE-026
        let mixes = |text| Accept::parse(text).mixes(&["application/dicom"], &["image/*", "text/html"]);
        assert!(mixes("application/dicom, image/jpeg"));
        assert!(!mixes("text/html, */*"));
        assert!(!mixes("application/dicom, */*"));
    }

    #[test]
    fn a_parameter_narrows_the_header() {
        // WE-025
        let header = Accept::parse("image/*, application/dicom");
        assert!(Accept::parse("image/jpeg").is_within(&header));
        assert!(!Accept::parse("text/html").is_within(&header));
        assert!(Accept::parse("image/*").has_wildcard());
        assert!(!Accept::parse("image/jpeg").has_wildcard());
    }
}
