//! One connection that waits: whole studies, metadata, searches one after the other, and store requests.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::reader::Reader;
use crate::http::Answer;

/// How long the server may be silent.
const SILENCE_MAX: Duration = Duration::from_mins(2);
/// Bytes of one read.
const READ_BYTES_MAX: usize = 256 << 10;

/// A connection, opened anew when the server closes it between two answers.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// What to ask.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Path with its query.
    pub path: &'a str,
    /// Media type that is wanted.
    pub accept: &'a str,
    /// Media type and bytes to store, for POST.
    pub content: Option<(&'a str, &'a [u8])>,
}

/// An answer that was counted.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Status code.
    pub status: u16,
    /// Length of the body, whose end came.
    pub bytes: u64,
    /// From the request to the first byte of the body.
    pub first_byte: Duration,
    /// From the request to the last byte of the body.
    pub total: Duration,
    headers: Vec<(String, String)>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let mut connection = Self { address, stream: None, buffer: vec![0; READ_BYTES_MAX] };
        connection.stream = Some(connection.connect()?);
        Ok(connection)
    }

    /// Asks, and counts the body.
    pub fn fetch(&mut self, request: Request<'_>) -> anyhow::Result<Fetched> {
        self.send(request, &mut |_| {})
    }

    /// Asks, and keeps the body.
    pub fn whole(&mut self, request: Request<'_>) -> anyhow::Result<Answer> {
        let mut body = Vec::new();
        let fetched = self.send(request, &mut |bytes| body.extend_from_slice(bytes))?;
        Ok(Answer { status: fetched.status, headers: fetched.headers, body })
    }

    /// Asks, and hands the body on as it comes.
    pub fn send(&mut self, request: Request<'_>, body: &mut dyn FnMut(&[u8])) -> anyhow::Result<Fetched> {
        let asking = || format!("ask for {}", request.path);
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let begun = Instant::now();
        stream.write_all(request.head(self.address).as_bytes()).with_context(asking)?;
        if let Some((_, bytes)) = request.content {
            stream.write_all(bytes).with_context(asking)?;
        }
        let (mut reader, mut first_byte) = (Reader::default(), None);
        while !reader.is_done() {
            let read = stream.read(&mut self.buffer).with_context(asking)?;
            let bytes = self.buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                reader.end().with_context(asking)?;
                break;
            }
            let taken = reader.take(bytes, body).with_context(asking)?;
            ensure!(taken == read, "ask for {}: bytes came after the answer", request.path);
            if reader.body_bytes() > 0 {
                first_byte.get_or_insert_with(|| begun.elapsed());
            }
        }
        let total = begun.elapsed();
        if !reader.closes() {
            self.stream = Some(stream);
        }
        let (head, bytes) = (reader.head().clone(), reader.body_bytes());
        let first_byte = first_byte.unwrap_or(total);
        Ok(Fetched { status: head.status, bytes, first_byte, total, headers: head.headers })
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let connecting = || format!("connect to {}", self.address);
        let stream = TcpStream::connect(self.address).with_context(connecting)?;
        stream.set_nodelay(true).with_context(connecting)?;
        stream.set_read_timeout(Some(SILENCE_MAX)).with_context(connecting)?;
        Ok(stream)
    }
}

impl<'a> Request<'a> {
    /// Asks for a path.
    pub fn get(path: &'a str, accept: &'a str) -> Self {
        Self { path, accept, content: None }
    }

    /// Returns what stands before the content.
    pub(super) fn head(&self, host: SocketAddr) -> String {
        let Self { path, accept, content } = self;
        match content {
            None => format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n"),
            Some((kind, bytes)) => format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nContent-Type: {kind}\r\n\
                 Content-Length: {}\r\n\r\n",
                bytes.len()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::super::JSON;
    use super::*;

    #[test]
    fn a_connection_is_kept_and_opened_anew_when_it_was_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for answers in [&["one", "two"][..], &["three"][..]] {
                let (mut stream, _) = listener.accept().unwrap();
                for (at, body) in answers.iter().enumerate() {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        head.extend(byte);
                    }
                    let close = if at + 1 == answers.len() { "Connection: close\r\n" } else { "" };
                    let length = body.len();
                    write!(stream, "HTTP/1.1 200 OK\r\n{close}Content-Length: {length}\r\n\r\n{body}").unwrap();
                }
            }
        });
        let mut connection = Connection::open(address).unwrap();
        let bodies = [1, 2, 3].map(|_| connection.whole(Request::get("/x", JSON)).unwrap().body);
        assert_eq!(bodies, [&b"one"[..], b"two", b"three"]);
        server.join().unwrap();
        assert!(connection.fetch(Request::get("/x", JSON)).is_err(), "the server has stopped listening");
    }
}
