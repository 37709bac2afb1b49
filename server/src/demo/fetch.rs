//! The smallest HTTP client: one request a connection, HTTP/1.0, so that a body ends with the connection.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long one answer may take.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status code.
    pub(super) status: u16,
    /// Body.
    pub(super) body: Bytes,
}

/// Asks for a path.
pub(super) async fn fetch(address: SocketAddr, path: &str, accept: &str) -> anyhow::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = tokio::time::timeout(WAIT_MAX, exchange).await.context("ask by HTTP")?.context("ask by HTTP")?;
    parse(bytes.into()).context("read the HTTP answer")
}

fn parse(mut bytes: Bytes) -> anyhow::Result<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").context("it has no end of its header")?;
    let head = bytes.split_to(end + 4);
    let head = std::str::from_utf8(&head).context("its header is not text")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("it has no status")?;
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: Option<usize> = length.next().and_then(|(_, length)| length.trim().parse().ok());
    ensure!(length.is_none_or(|length| length == bytes.len()), "its body was cut");
    Ok(Answer { status, body: bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_cut_ones_refused() {
        let answer = |text: &'static str| parse(Bytes::from_static(text.as_bytes()));
        let whole = answer("HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\nno").unwrap();
        assert_eq!((whole.status, &whole.body[..]), (404, &b"no"[..]));
        assert!(answer("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nno").is_err());
        assert!(answer("HTTP/1.0 200 OK\r\n").is_err());
    }
}
