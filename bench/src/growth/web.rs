//! QIDO-RS over one connection that is kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};

/// How long the server may be silent.
const SILENCE_MAX: Duration = Duration::from_mins(5);

/// A connection.
pub(super) struct Web {
    reader: BufReader<TcpStream>,
    host: String,
}

impl Web {
    pub(super) fn open(host: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(host).with_context(|| format!("connect to {host}"))?;
        stream.set_nodelay(true).context("set up the connection")?;
        stream.set_read_timeout(Some(SILENCE_MAX)).context("set up the connection")?;
        Ok(Self { reader: BufReader::new(stream), host: host.to_owned() })
    }

    /// Asks for a path below the service and returns the JSON body.
    pub(super) fn get(&mut self, path: &str) -> anyhow::Result<Vec<u8>> {
        let host = &self.host;
        let request = format!("GET /dicomweb{path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/dicom+json\r\n\r\n");
        self.reader.get_mut().write_all(request.as_bytes()).context("send the request")?;
        let mut line = String::new();
        self.reader.read_line(&mut line).context("read the status line")?;
        let status = line.split(' ').nth(1).unwrap_or_default().to_owned();
        ensure!(status == "200" || status == "204", "the answer is {}", line.trim_end());
        let mut length = 0;
        loop {
            line.clear();
            self.reader.read_line(&mut line).context("read the header")?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse()?,
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).context("read the body")?;
        Ok(body)
    }
}

/// Returns how many objects a JSON array has.
pub(super) fn count(body: &[u8]) -> anyhow::Result<usize> {
    if body.is_empty() {
        return Ok(0);
    }
    let all: Vec<serde::de::IgnoredAny> = serde_json::from_slice(body).context("read the matches")?;
    Ok(all.len())
}
