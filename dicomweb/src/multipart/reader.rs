//! Takes a multipart body apart as its bytes arrive.
//!
//! Tolerant where peers are sloppy (WE-162, WE-163): text before the first and after the last delimiter is skipped,
//! header lines may end with a bare LF, and a body whose first delimiter line does may use it throughout. Bytes that
//! look like a delimiter are one only after a line break and with nothing but blanks behind them on their line.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use crate::media_type::MediaType;

/// Most bytes before the first delimiter.
const PREAMBLE_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of the headers of one part.
const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Longest boundary; RFC 2046 has 70, peers go beyond it.
const BOUNDARY_BYTES_MAX: usize = 256;
/// Most blanks between a delimiter and its line break.
const PADDING_BYTES_MAX: usize = 128;

/// Something found in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part begins; its `Content-Type`, if it has a readable one.
    Part(Option<String>),
    /// The next bytes of the part.
    Data(Bytes),
    /// The part is complete.
    PartEnd,
}

/// Why a body is no multipart body; the bytes fail for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The `Content-Type` has no usable boundary.
    #[error("read multipart body: Content-Type must have a boundary parameter of 1 to 256 characters")]
    Boundary,
    /// No delimiter where one must be.
    #[error("read multipart body: no delimiter in the first 64 KiB; does the boundary match Content-Type?")]
    Preamble,
    /// The headers of a part do not end.
    #[error("read multipart body: the headers of a part are longer than 16 KiB")]
    Headers,
    /// The body ends before its closing delimiter.
    #[error("read multipart body: it ends without its closing delimiter; send it again in full")]
    Truncated,
}

/// Reads one body: `push` what arrived, then take events until there is none.
#[derive(Debug)]
pub(crate) struct Reader {
    buffer: BytesMut,
    state: State,
    /// `\n--boundary`; the CR before it is looked for apart.
    delimiter: Finder<'static>,
    bare_line_feeds: bool,
    skipped_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    Headers,
    Body,
    Epilogue,
}

/// What the bytes behind a delimiter make of it.
enum Delimiter {
    NeedsMore,
    None,
    Part { bytes: usize, bare_line_feed: bool },
    Close,
}

impl Reader {
    /// Makes a reader for bodies with the boundary of this `Content-Type`.
    pub(crate) fn new(content_type: &MediaType) -> Result<Self, Fault> {
        let boundary = content_type.parameter("boundary").unwrap_or_default().trim_end();
        if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX {
            return Err(Fault::Boundary);
        }
        let delimiter = format!("\n--{boundary}").into_bytes();
        Ok(Self {
            // The first delimiter needs no line break: this one stands in for it.
            buffer: BytesMut::from(&b"\n"[..]),
            state: State::Preamble,
            delimiter: Finder::new(&delimiter).into_owned(),
            bare_line_feeds: false,
            skipped_bytes: 0,
        })
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        if self.state != State::Epilogue {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// Returns the next event; `None`: it needs more bytes, or the body is complete.
    pub(crate) fn next_event(&mut self) -> Result<Option<Event>, Fault> {
        if self.state == State::Preamble && !self.skip_preamble()? {
            return Ok(None);
        }
        match self.state {
            State::Preamble | State::Epilogue => Ok(None),
            State::Headers => self.headers(),
            State::Body => Ok(self.body()),
        }
    }

    /// Tells that no more bytes come.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        match self.state {
            State::Epilogue => Ok(()),
            State::Preamble | State::Headers | State::Body => Err(Fault::Truncated),
        }
    }

    /// Looks for the first delimiter; `false` when it needs more bytes.
    fn skip_preamble(&mut self) -> Result<bool, Fault> {
        while let Some(at) = self.delimiter.find(&self.buffer) {
            match self.delimiter_at(at) {
                Delimiter::NeedsMore => return Ok(false),
                Delimiter::None => self.skip(at + 1)?,
                Delimiter::Part { bytes, bare_line_feed } => {
                    self.buffer.advance_by(at + bytes);
                    self.bare_line_feeds = bare_line_feed;
                    self.state = State::Headers;
                    return Ok(true);
                }
                Delimiter::Close => {
                    self.state = State::Epilogue;
                    self.buffer.clear();
                    return Ok(true);
                }
            }
        }
        let keep = self.delimiter.needle().len() - 1;
        self.skip(self.buffer.len().saturating_sub(keep))?;
        Ok(false)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Fault> {
        self.buffer.advance_by(bytes);
        self.skipped_bytes += bytes;
        if self.skipped_bytes > PREAMBLE_BYTES_MAX { Err(Fault::Preamble) } else { Ok(()) }
    }

    fn headers(&mut self) -> Result<Option<Event>, Fault> {
        let mut content_type = None;
        let mut at = 0;
        loop {
            let rest = self.buffer.get(at..).unwrap_or_default();
            let Some(end) = memchr::memchr(b'\n', rest) else {
                let too_long = self.buffer.len() > HEADERS_BYTES_MAX;
                return if too_long { Err(Fault::Headers) } else { Ok(None) };
            };
            let line = rest.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            at += end + 1;
            if at > HEADERS_BYTES_MAX {
                return Err(Fault::Headers);
            }
            if line.is_empty() {
                self.buffer.advance_by(at);
                self.state = State::Body;
                return Ok(Some(Event::Part(content_type)));
            }
            if let Some((name, value)) = str::from_utf8(line).ok().and_then(|line| line.split_once(':'))
                && name.trim().eq_ignore_ascii_case("content-type")
            {
                content_type = Some(value.trim().to_owned());
            }
        }
    }

    fn body(&mut self) -> Option<Event> {
        let mut from = 0;
        while let Some(found) = self.delimiter.find(self.buffer.get(from..).unwrap_or_default()) {
            let at = from + found;
            let carriage_return = at > 0 && self.buffer.get(at - 1) == Some(&b'\r');
            if !carriage_return && !self.bare_line_feeds {
                from = at + 1;
                continue;
            }
            let data_bytes = if self.bare_line_feeds { at } else { at - 1 };
            match self.delimiter_at(at) {
                Delimiter::None => from = at + 1,
                Delimiter::NeedsMore => return self.data(data_bytes),
                Delimiter::Part { .. } | Delimiter::Close if data_bytes > 0 => {
                    return self.data(data_bytes);
                }
                Delimiter::Part { bytes, .. } => {
                    self.buffer.advance_by(at + bytes);
                    self.state = State::Headers;
                    return Some(Event::PartEnd);
                }
                Delimiter::Close => {
                    self.buffer.clear();
                    self.state = State::Epilogue;
                    return Some(Event::PartEnd);
                }
            }
        }
        let data_bytes = self.settled_bytes();
        self.data(data_bytes)
    }

    /// Returns how many of the buffered bytes cannot be the beginning of a delimiter.
    fn settled_bytes(&self) -> usize {
        let whole = self.buffer.len();
        let tail_at = whole.saturating_sub(self.delimiter.needle().len());
        let tail = self.buffer.get(tail_at..).unwrap_or_default();
        let line_break = if self.bare_line_feeds { b'\n' } else { b'\r' };
        memchr::memchr(line_break, tail).map_or(whole, |at| tail_at + at)
    }

    fn data(&mut self, bytes: usize) -> Option<Event> {
        (bytes > 0).then(|| Event::Data(self.buffer.split_to(bytes).freeze()))
    }

    fn delimiter_at(&self, at: usize) -> Delimiter {
        let bytes = self.delimiter.needle().len();
        let rest = self.buffer.get(at + bytes..).unwrap_or_default();
        if rest.starts_with(b"--") {
            return Delimiter::Close;
        }
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let after = rest.get(blanks..).unwrap_or_default();
        match after {
            _ if blanks > PADDING_BYTES_MAX => Delimiter::None,
            [b'\n', ..] => Delimiter::Part { bytes: bytes + blanks + 1, bare_line_feed: true },
            [b'\r', b'\n', ..] => Delimiter::Part { bytes: bytes + blanks + 2, bare_line_feed: false },
            [] | [b'\r'] => Delimiter::NeedsMore,
            [b'-'] if blanks == 0 => Delimiter::NeedsMore,
            _ => Delimiter::None,
        }
    }
}

/// Drops bytes from the front.
trait AdvanceBy {
    fn advance_by(&mut self, bytes: usize);
}

impl AdvanceBy for BytesMut {
    fn advance_by(&mut self, bytes: usize) {
        bytes::Buf::advance(self, bytes.min(self.len()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts = Vec<(Option<String>, Vec<u8>)>;

    fn reader(content_type: &str) -> Reader {
        Reader::new(&MediaType::parse(content_type).unwrap()).unwrap()
    }

    /// Reads a body in chunks of these lengths, over and over.
    fn read(content_type: &str, body: &[u8], lengths: &[usize]) -> Result<Parts, Fault> {
        let mut reader = reader(content_type);
        let mut parts = Parts::new();
        let mut complete = 0;
        let mut lengths = lengths.iter().cycle();
        let mut rest = body;
        while !rest.is_empty() {
            let (chunk, tail) = rest.split_at((*lengths.next().unwrap()).clamp(1, rest.len()));
            rest = tail;
            reader.push(chunk);
            while let Some(event) = reader.next_event()? {
                match event {
                    Event::Part(content_type) => parts.push((content_type, Vec::new())),
                    Event::Data(data) => parts.last_mut().unwrap().1.extend_from_slice(&data),
                    Event::PartEnd => complete += 1,
                }
            }
        }
        reader.finish()?;
        assert_eq!(complete, parts.len());
        Ok(parts)
    }

    fn check(content_type: &str, body: &str, expected: &[(Option<&str>, &str)]) {
        for lengths in [&[usize::MAX][..], &[1], &[2, 7]] {
            let parts = read(content_type, body.as_bytes(), lengths).unwrap();
            let parts: Vec<_> = parts.iter().map(|(t, data)| (t.as_deref(), str::from_utf8(data).unwrap())).collect();
            assert_eq!(parts, expected, "{body:?} in {lengths:?}");
        }
    }

    #[test]
    fn boundaries_and_preambles_as_peers_write_them() {
        // WE-162, WE-163
        check("a/b;boundary=x", "--x\r\n\r\nA\r\n--x--", &[(None, "A")]);
        check(
            "a/b;boundary=\"x\"",
            "\r\n--x\r\ncontent-TYPE: application/dicom\r\n\r\nA\r\n--x--\r\n",
            &[(Some("application/dicom"), "A")],
        );
        check("a/b;boundary=\"'()+_,-./:=?\"", "--'()+_,-./:=?\r\n\r\nA\r\n--'()+_,-./:=?--", &[(None, "A")]);
        check(
            "a/b;boundary=x",
            "hello --x\r\n--xy\r\n--x \t\r\nA: b\r\n\r\n1\r\n--x\r\n\r\n2\r\n--x--\r\nbye --x\r\n",
            &[(None, "1"), (None, "2")],
        );
    }

    #[test]
    fn line_feeds_alone() {
        // WE-163
        check("a/b;boundary=x", "--x\r\nContent-Type: t\n\nA\r\n--x--", &[(Some("t"), "A")]);
        check("a/b;boundary=x", "--x\nContent-Type: t\n\nA\nB\n--x\n\nC\n--x--\n", &[(Some("t"), "A\nB"), (None, "C")]);
    }

    #[test]
    fn what_only_looks_like_a_delimiter_is_data() {
        // WE-163
        for data in ["\r\n\r\n", "--x", "\n--x\r\n", "\r\n--xy", "\r\n--x y\r\n", "\r\n--x -", "\r\r\n-\r\n--", "\r"] {
            let body = format!("--x\r\n\r\n{data}\r\n--x--");
            check("a/b;boundary=x", &body, &[(None, data)]);
        }
        check("a/b;boundary=x", "--x\r\n\r\n\r\n--x\r\n\r\n\r\n--x--", &[(None, ""), (None, "")]);
    }

    #[test]
    fn what_is_no_multipart_body() {
        // WE-164
        let of = |body: &[u8]| read("a/b;boundary=x", body, &[usize::MAX]);
        assert_eq!(of(b""), Err(Fault::Truncated));
        assert_eq!(of(b"--x\r\n\r\nA"), Err(Fault::Truncated));
        assert_eq!(of(b"--x\r\n\r\nA\r\n--x\r\n"), Err(Fault::Truncated));
        assert_eq!(of(b"--x--"), Ok(vec![]));
        assert_eq!(of(&vec![b'a'; PREAMBLE_BYTES_MAX + 99]), Err(Fault::Preamble));
        let endless = [&b"--x\r\n"[..], &vec![b'a'; HEADERS_BYTES_MAX + 1]].concat();
        assert_eq!(of(&endless), Err(Fault::Headers));
        for content_type in ["a/b", "a/b;boundary=", "a/b;boundary=\" \""] {
            let media = MediaType::parse(content_type).unwrap();
            assert_eq!(Reader::new(&media).unwrap_err(), Fault::Boundary, "{content_type}");
        }
    }

    #[test]
    fn buffers_no_more_than_a_delimiter_of_a_part() {
        // WE-165
        let mut reader = reader("a/b;boundary=x");
        reader.push(b"--x\r\n\r\n");
        for _ in 0..1000 {
            reader.push(&[b'\r'; 1024]);
            while reader.next_event().unwrap().is_some() {}
            assert!(reader.buffer.len() <= 1024 + 8, "{}", reader.buffer.len());
        }
    }

    /// Bytes rich in what delimiters are made of.
    fn data() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"\r\n--xx\0A".to_vec()), 0..60)
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_parts(
            parts in prop::collection::vec(data(), 1..5),
            lengths in prop::collection::vec(1_usize..40, 1..8),
        ) {
            let writer = crate::multipart::Writer::new();
            let mut body = Vec::new();
            for (n, part) in parts.iter().enumerate() {
                let head = crate::multipart::PartHead {
                    content_type: "application/dicom",
                    location: "/",
                    bytes: u64::try_from(part.len()).unwrap(),
                };
                body.extend(writer.head(n == 0, head));
                body.extend(part);
            }
            body.extend(writer.tail());
            let got = read(&writer.content_type("application/dicom"), &body, &lengths).unwrap();
            let got: Vec<_> = got.into_iter().map(|(_, data)| data).collect();
            prop_assert_eq!(got, parts);
        }

        #[test]
        fn chunking_never_changes_what_hostile_bytes_mean(
            body in data(),
            lengths in prop::collection::vec(1_usize..9, 1..8),
        ) {
            let body = [&b"--x\r\n"[..], &body].concat();
            let whole = read("a/b;boundary=x", &body, &[usize::MAX]);
            prop_assert_eq!(read("a/b;boundary=x", &body, &lengths), whole);
        }
    }
}
