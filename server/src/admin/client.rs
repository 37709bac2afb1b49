//! The asking end.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use super::protocol::{Answer, LINE_BYTES_MAX, Reply, Request};
use super::socket::SocketPath;
use crate::progress::Display;

/// Asks the server that owns the socket and shows what it says meanwhile. `None` when no server runs.
pub(crate) async fn ask(socket: &Path, request: &Request, display: &Display) -> anyhow::Result<Option<Answer>> {
    let Some(stream) = connect(socket).await? else {
        return Ok(None);
    };
    let (reader, mut writer) = stream.into_split();
    let mut line = serde_json::to_string(request).context("write the request")?;
    line.push('\n');
    writer.write_all(line.as_bytes()).await.context("ask the running server")?;
    let mut reader = BufReader::new(reader);
    loop {
        match read_reply(&mut reader).await? {
            Reply::Event { event } => display.show(event),
            Reply::Done { answer } => return Ok(Some(answer)),
            Reply::Failed { error } => bail!("the running server answered: {error}"),
        }
    }
}

async fn connect(socket: &Path) -> anyhow::Result<Option<UnixStream>> {
    let path = match SocketPath::new(socket) {
        Ok(path) => path,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("open the data directory"),
    };
    match UnixStream::connect(path.path()).await {
        Ok(stream) => Ok(Some(stream)),
        // The socket of a server that was killed stays behind and refuses.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error).with_context(|| {
            format!("connect to the running server at {}; run this as the server's user", socket.display())
        }),
    }
}

async fn read_reply(reader: &mut BufReader<OwnedReadHalf>) -> anyhow::Result<Reply> {
    let mut line = Vec::new();
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    reader.take(limit).read_until(b'\n', &mut line).await.context("read the server's answer")?;
    if !line.ends_with(b"\n") {
        return Err(anyhow!("the server went away before it answered"));
    }
    serde_json::from_slice(&line).context("read the server's answer: client and server must be of the same version")
}
