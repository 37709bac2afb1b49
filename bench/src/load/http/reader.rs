//! Reads answers from bytes as they come (RFC 9112): no I/O, nothing kept but the head.

use anyhow::{Context, bail, ensure};

/// Longest head, chunk size line or trailer that is read.
const LINES_BYTES_MAX: usize = 64 << 10;

/// An answer that is being read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    state: State,
    /// Bytes of a line, or of the head, that are not complete yet.
    open: Vec<u8>,
    head: Head,
    body_bytes: u64,
}

/// What stands before a body.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// In a body with so many bytes to come.
    Length(u64),
    /// Before the size of a chunk.
    ChunkSize,
    /// In a chunk with so many bytes to come.
    Chunk(u64),
    /// Before the line break after a chunk.
    ChunkEnd,
    Trailer,
    /// In a body that ends with the connection.
    Close,
    Done,
}

impl Reader {
    /// Takes bytes and hands those of the body on; returns how many belong to this answer.
    pub(super) fn take(&mut self, bytes: &[u8], body: &mut dyn FnMut(&[u8])) -> anyhow::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() && self.state != State::Done {
            match self.state {
                State::Head => {
                    if self.line(&mut rest, b"\r\n\r\n")? {
                        self.begin()?;
                    }
                }
                State::Length(left) => {
                    let left = self.hand_on(&mut rest, left, body);
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                }
                State::Chunk(left) => {
                    let left = self.hand_on(&mut rest, left, body);
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                }
                State::Close => {
                    self.hand_on(&mut rest, u64::MAX, body);
                }
                State::ChunkSize => {
                    if self.line(&mut rest, b"\r\n")? {
                        let size = chunk_size(&self.open).context("the size of a chunk is none")?;
                        self.state = if size == 0 { State::Trailer } else { State::Chunk(size) };
                        self.open.clear();
                    }
                }
                State::ChunkEnd => {
                    if self.line(&mut rest, b"\r\n")? {
                        ensure!(self.open == b"\r\n", "a chunk is longer than its size");
                        self.state = State::ChunkSize;
                        self.open.clear();
                    }
                }
                State::Trailer => {
                    if self.line(&mut rest, b"\r\n")? {
                        self.state = if self.open == b"\r\n" { State::Done } else { State::Trailer };
                        self.open.clear();
                    }
                }
                State::Done => {}
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Says that the connection has ended.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        match self.state {
            State::Done => {}
            State::Close => self.state = State::Done,
            State::Head if self.open.is_empty() => bail!("the connection was closed before the answer"),
            State::Head | State::Length(_) | State::ChunkSize | State::Chunk(_) | State::ChunkEnd | State::Trailer => {
                bail!("the answer was cut")
            }
        }
        Ok(())
    }

    /// Tells whether the answer is complete.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Returns the head, once there is one.
    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Returns how many bytes of the body have come.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Tells whether nothing can follow on the connection.
    pub(super) fn closes(&self) -> bool {
        self.head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Adds bytes to what is open up to and with `end`; tells whether it came.
    fn line(&mut self, rest: &mut &[u8], end: &[u8]) -> anyhow::Result<bool> {
        while let Some((byte, after)) = rest.split_first() {
            self.open.push(*byte);
            *rest = after;
            if self.open.ends_with(end) {
                return Ok(true);
            }
        }
        ensure!(self.open.len() <= LINES_BYTES_MAX, "the head of the answer is too long");
        Ok(false)
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        self.head = Head::parse(&self.open)?;
        self.open.clear();
        let chunked = self.head.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let length = self.head.header("content-length").map(str::parse::<u64>).transpose();
        self.state = match (self.head.status, length.context("Content-Length is not a number")?) {
            (100, _) => State::Head,
            (204 | 304, _) | (_, Some(0)) => State::Done,
            _ if chunked => State::ChunkSize,
            (_, Some(length)) => State::Length(length),
            (_, None) => State::Close,
        };
        Ok(())
    }

    /// Hands on what comes of `left` bytes; returns how many are still to come.
    fn hand_on(&mut self, rest: &mut &[u8], left: u64, body: &mut dyn FnMut(&[u8])) -> u64 {
        let (now, after) = rest.split_at(usize::try_from(left).unwrap_or(usize::MAX).min(rest.len()));
        *rest = after;
        body(now);
        let bytes = u64::try_from(now.len()).unwrap_or(u64::MAX);
        self.body_bytes += bytes;
        left - bytes
    }
}

impl Head {
    /// Returns a header field's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().filter(|line| line.starts_with("HTTP/1.")).and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|code| code.parse().ok()).context("the answer has no status")?;
        let fields = lines.filter_map(|line| line.split_once(':'));
        let headers = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Ok(Self { status, headers })
    }
}

/// Reads the size before its extensions.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    u64::from_str_radix(text.split(';').next()?.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an answer in pieces of so many bytes: its status, its body, and what was left over.
    fn read(answer: &str, piece: usize) -> anyhow::Result<(u16, String, usize)> {
        let (mut reader, mut body, mut taken) = (Reader::default(), Vec::new(), 0);
        for bytes in answer.as_bytes().chunks(piece) {
            taken += reader.take(bytes, &mut |bytes| body.extend_from_slice(bytes))?;
        }
        reader.end()?;
        assert_eq!(reader.body_bytes(), u64::try_from(body.len()).unwrap());
        Ok((reader.head().status, String::from_utf8(body).unwrap(), answer.len() - taken))
    }

    fn check(answer: &str, expected: (u16, &str, usize)) {
        for piece in [1, 2, 7, answer.len()] {
            let (status, body, left) = read(answer, piece).unwrap();
            assert_eq!((status, body.as_str(), left), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn bodies_end_where_their_heads_say() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfourHTTP", (200, "four", 4));
        check("HTTP/1.1 204 No Content\r\n\r\nHTTP", (204, "", 4));
        check("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", (404, "", 0));
        check("HTTP/1.0 200 OK\r\nA: b\r\n\r\nuntil the end", (200, "until the end", 0));
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", (200, "1", 0));
    }

    #[test]
    fn chunks_are_put_together() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{head}4\r\nfour\r\nA;x=y\r\n0123456789\r\n0\r\n\r\nmore"), (200, "four0123456789", 4));
        check(&format!("{head}1\r\n1\r\n0\r\nTrailer: x\r\n\r\n"), (200, "1", 0));
    }

    #[test]
    fn what_is_cut_or_no_answer_is_an_error() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for answer in ["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfou", "HTTP/1.1 200", "SSH-2.0\r\n\r\n"] {
            assert!(read(answer, 5).is_err(), "{answer}");
        }
        for body in ["4\r\nfour\r\n0\r\n", "4\r\nfour5\r\n", "x\r\n"] {
            assert!(read(&format!("{chunked}{body}"), 5).is_err(), "{body}");
        }
    }
}
