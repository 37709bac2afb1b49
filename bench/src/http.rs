//! The smallest HTTP client: one request a connection, HTTP/1.0, so that a body ends with the connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};

/// How long the server may be silent.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns a header field's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the parts of a multipart body without their headers; fails when the last boundary is missing.
    pub fn parts(&self) -> anyhow::Result<Vec<&[u8]>> {
        let kind = self.header("content-type").context("the answer has no Content-Type")?;
        let boundary = kind.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="));
        let boundary = boundary.context("the answer has no boundary")?.trim_matches('"');
        let (first, between) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
        let mut rest = self.body.strip_prefix(b"\r\n").unwrap_or(&self.body);
        rest = rest.strip_prefix(first.as_bytes()).context("the body does not begin with the boundary")?;
        let mut parts = Vec::new();
        while !rest.starts_with(b"--") {
            let start = find(rest, b"\r\n\r\n").context("a part has no end of its header")? + 4;
            let content = rest.get(start..).unwrap_or_default();
            let end = find(content, between.as_bytes()).context("the body ends within a part")?;
            parts.push(content.get(..end).unwrap_or_default());
            rest = content.get(end + between.len()..).unwrap_or_default();
        }
        Ok(parts)
    }
}

/// Asks for a path.
pub fn get(address: &str, path: &str, accept: &str) -> anyhow::Result<Answer> {
    let asking = || format!("GET {path}");
    let mut stream = TcpStream::connect(address).with_context(asking)?;
    stream.set_read_timeout(Some(SILENCE_MAX)).with_context(asking)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(asking)?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).with_context(asking)?;
    parse(bytes).with_context(asking)
}

fn parse(mut bytes: Vec<u8>) -> anyhow::Result<Answer> {
    let end = find(&bytes, b"\r\n\r\n").context("the answer has no end of its header")?;
    let body = bytes.split_off(end + 4);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let answer = Answer { status: status.context("the answer has no status")?, headers: headers.collect(), body };
    let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
    ensure!(length.is_none_or(|length| length == answer.body.len()), "the body was cut");
    Ok(answer)
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == first)?;
        if bytes.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.0 200 OK\r\nContent-Type: multipart/related; boundary=\"b\"\r\n";

    #[test]
    fn parts_are_told_apart() {
        let answer =
            parse(format!("{HEAD}\r\n--b\r\nA: 1\r\n\r\none\r\n--b\r\n\r\n\r\n--x\r\n--b--\r\n").into_bytes()).unwrap();
        assert_eq!((answer.status, answer.parts().unwrap()), (200, vec![&b"one"[..], b"\r\n--x"]));
    }

    #[test]
    fn cut_answers_are_errors() {
        assert!(parse(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nfour".to_vec()).is_err());
        let answer = parse(format!("{HEAD}\r\n--b\r\n\r\none\r\n--").into_bytes()).unwrap();
        assert!(answer.parts().is_err());
    }
}
