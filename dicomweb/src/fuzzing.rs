//! Entry points of the fuzz targets: what reads a client's bytes, without its connection.

use dicom_data::query::Level;

use crate::accept::{Accept, Offer};
use crate::call::{Call, Target};
use crate::media_type::MediaType;
use crate::multipart::{Event, Fault, Reader};
use crate::qido::SearchRequest;
use crate::query_string;

/// Most bytes before the first delimiter, less what a delimiter and its line may have.
const PREAMBLE_BYTES_SAFE: usize = 60_000;

/// Reads a multipart body: a byte that says into how long pieces it is cut, a line with its `Content-Type`, the body.
/// How it is cut must not show.
pub fn multipart(bytes: &[u8]) {
    let Some((cut, rest)) = bytes.split_first() else {
        return;
    };
    let Some((line, body)) = memchr::memchr(b'\n', rest).and_then(|at| rest.split_at_checked(at)) else {
        return;
    };
    let body = body.get(1..PREAMBLE_BYTES_SAFE.min(body.len())).unwrap_or_default();
    let Some(media) = str::from_utf8(line).ok().and_then(MediaType::parse) else {
        return;
    };
    let whole = read(&media, body.chunks(body.len().max(1)));
    let pieces = read(&media, body.chunks(usize::from(*cut).max(1)));
    assert_eq!(whole, pieces, "pieces show");
}

/// Reads an `Accept` header.
pub fn accept(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let accept = Accept::parse(text);
    let _media = MediaType::parse(text);
    for (multipart, media) in [(true, "application/dicom"), (false, "application/dicom+json"), (true, "image/jpeg")] {
        let rank = accept.rank(Offer { multipart, media }, |_| true);
        assert!(rank.is_none() || !accept.is_empty(), "an empty list accepts");
    }
    assert!(accept.is_within(&Accept::anything()), "anything is not everything");
    let _all = (accept.has_wildcard(), accept.mixes(&["application/dicom"], &["image/*", "image/jpeg"]));
}

/// Reads the query string of a search, at every level.
pub fn query(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(parameters) = query_string::parse(text) else { return };
    let call = Call {
        caller: archive::Caller::server(),
        base_url: String::new(),
        accept: Accept::anything().into(),
        parameters,
        if_none_match: None,
        range: None,
        target: Target::default(),
    };
    for level in [Level::Study, Level::Series, Level::Instance] {
        if let Ok(request) = SearchRequest::read(&call, level, 100) {
            assert!(request.limit <= 100, "more than a page");
            assert_eq!(request.query(level, 7).limit, Some(7));
        }
    }
}

/// Returns bodies to begin with.
pub fn multipart_seeds() -> Vec<Vec<u8>> {
    let bodies: [&[u8]; 4] = [
        b"\x01multipart/related; type=\"application/dicom\"; boundary=x\n\
          --x\r\nContent-Type: application/dicom\r\n\r\nA\r\n--x\r\n\r\n\r\n--x--\r\n",
        b"\x07a/b;boundary=\"x y\"\npreamble\r\n--x y \t\r\nA: b\r\n\r\n1\r\n--x yz\r\n--x y--",
        b"\x02a/b;boundary=x\n--x\nContent-Type: t\n\nA\nB\n--x\n\nC\n--x--\n",
        b"\x03multipart/related;boundary=x\n--x\r\nContent-Type: multipart/related; boundary=y\r\n\r\n--y\r\n\r\n--y--\r\n--x--",
    ];
    bodies.map(<[u8]>::to_vec).to_vec()
}

/// Returns `Accept` headers to begin with.
pub fn accept_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "*/*",
        "multipart/related; type=\"application/dicom\"; transfer-syntax=*; q=0.9, application/dicom+json;q=0.1",
        "multipart/related; type=\"image/jls; transfer-syntax=1.2.840.10008.1.2.4.80\", image/*",
        "multipart/*;q=0, application/octet-stream;transfer-syntax=\"1.2\\.3\"",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// Returns query strings to begin with.
pub fn query_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "PatientName=TCG%2A&StudyDate=20240101-20241231&limit=10&offset=5&includefield=all",
        "00100020=1&00400275.00400009=SPS1&ModalitiesInStudy=CT,MR&fuzzymatching=true",
        "StudyInstanceUID=1.2,1.3&StudyTime=10-12&includefield=00081030,StudyDescription",
        "PatientBirthDate=-2000&AccessionNumber=%E7%8E%8B?&InstanceNumber=7",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// Parts: their media type, their bytes, whether they ended. And how the body ended.
type Reading = (Vec<(Option<String>, Vec<u8>, bool)>, Result<(), Fault>);

fn read<'a>(media: &MediaType, pieces: impl Iterator<Item = &'a [u8]>) -> Reading {
    let mut parts: Vec<(Option<String>, Vec<u8>, bool)> = Vec::new();
    let mut reader = match Reader::new(media) {
        Ok(reader) => reader,
        Err(fault) => return (parts, Err(fault)),
    };
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_event() {
                Ok(Some(Event::Part(content_type))) => parts.push((content_type, Vec::new(), false)),
                Ok(Some(Event::Data(data))) => parts.last_mut().expect("a part began").1.extend_from_slice(&data),
                Ok(Some(Event::PartEnd)) => parts.last_mut().expect("a part began").2 = true,
                Ok(None) => break,
                Err(fault) => return (parts, Err(fault)),
            }
        }
    }
    let ended = reader.finish();
    if ended.is_err()
        && let Some((_, data, false)) = parts.last_mut()
    {
        data.clear(); // how much of a torso was handed on depends on what came last
    }
    (parts, ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged(seeds: &[Vec<u8>], read: impl Fn(&[u8])) {
        let cases = std::env::var("FILMROOM_HOSTILE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
        for seed in seeds {
            read(seed);
        }
        for seed in 0..cases {
            let mut bytes = seeds[usize::try_from(seed).unwrap() % seeds.len()].clone();
            testdata::damage(&mut bytes, seed);
            read(&bytes);
        }
    }

    #[test]
    fn ih_011_damaged_bodies_end_alike_however_they_are_cut() {
        damaged(&multipart_seeds(), multipart);
    }

    #[test]
    fn ih_011_damaged_accept_headers_are_read() {
        damaged(&accept_seeds(), accept);
    }

    #[test]
    fn ih_011_damaged_query_strings_are_refused_or_read() {
        damaged(&query_seeds(), query);
    }
}
