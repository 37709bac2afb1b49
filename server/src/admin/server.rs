//! The answering end.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use archive::Archive;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::protocol::{LINE_BYTES_MAX, Reply, Request};
use super::socket::SocketPath;
use super::work::execute;
use crate::progress::{Event, channel};

/// Commands that run at a time; more wait.
const COMMANDS_MAX: usize = 8;
/// Time that a client has for its request and to take a line.
const CLIENT_WAIT_MAX: Duration = Duration::from_secs(10);

/// A bound admin socket; its file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct AdminServer {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminServer {
    /// Binds the socket. The caller holds the data directory's lock, so a socket that exists is a dead server's.
    pub(crate) fn bind(path: &Path) -> anyhow::Result<Self> {
        let binding = || format!("open the admin socket {}", path.display());
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(binding);
            }
            Ok(()) | Err(_) => {}
        }
        let socket = SocketPath::new(path).with_context(binding)?;
        let listener = UnixListener::bind(socket.path()).with_context(binding)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(binding)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers until cancelled.
    pub(crate) async fn run(self, archive: Archive, cancel: CancellationToken) {
        let places = Arc::new(Semaphore::new(COMMANDS_MAX));
        let mut commands = JoinSet::new();
        while let Some(accepted) = cancel.run_until_cancelled(self.listener.accept()).await {
            while commands.try_join_next().is_some() {}
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "an admin connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (archive, places, cancel) = (archive.clone(), Arc::clone(&places), cancel.clone());
            commands.spawn(async move {
                let Ok(_place) = places.acquire_owned().await else {
                    return;
                };
                if let Some(Err(error)) = cancel.run_until_cancelled(answer(stream, archive)).await {
                    tracing::warn!(%error, "an admin command ended early");
                }
            });
        }
        commands.shutdown().await;
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path)); // a leftover does no harm: the next server replaces it
    }
}

async fn answer(stream: UnixStream, archive: Archive) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let peer = stream.peer_cred()?.uid();
    if peer != own && peer != 0 {
        tracing::warn!(uid = peer, "refused an admin connection of another user");
        return Ok(());
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let request = match read_request(&mut reader).await? {
        Ok(request) => request,
        Err(error) => return write_reply(&mut writer, &Reply::Failed { error }).await,
    };
    let (reporter, events) = channel();
    let work = tokio::spawn(async move { execute(&archive, request, reporter).await });
    let stop_work = AbortOnDrop(work.abort_handle());
    let reply = tokio::select! {
        shown = forward(events, &mut writer) => {
            shown?;
            match work.await {
                Ok(Ok(answer)) => Reply::Done { answer },
                Ok(Err(error)) => Reply::Failed { error: format!("{error:#}") },
                Err(error) => Reply::Failed { error: format!("the command ended early: {error}") },
            }
        }
        () = gone(&mut reader) => return Ok(()),
    };
    drop(stop_work);
    write_reply(&mut writer, &reply).await
}

/// Ends a task when its client is gone.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read_request(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Result<Request, String>> {
    let mut line = Vec::new();
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bounded = reader.take(limit);
    tokio::time::timeout(CLIENT_WAIT_MAX, bounded.read_until(b'\n', &mut line)).await??;
    Ok(serde_json::from_slice(&line)
        .map_err(|error| format!("read the request: {error}; client and server must be of the same version")))
}

/// Sends events on until the work drops its reporter.
async fn forward(mut events: mpsc::Receiver<Event>, writer: &mut OwnedWriteHalf) -> io::Result<()> {
    while let Some(event) = events.recv().await {
        write_reply(writer, &Reply::Event { event }).await?;
    }
    Ok(())
}

/// Returns when the client has closed its end.
async fn gone(reader: &mut BufReader<OwnedReadHalf>) {
    let mut rest = [0; 64];
    while matches!(reader.read(&mut rest).await, Ok(1..)) {}
}

async fn write_reply(writer: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    tokio::time::timeout(CLIENT_WAIT_MAX, writer.write_all(&line)).await?
}
