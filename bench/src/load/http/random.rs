//! Many connections, each with one request under way, driven by one thread: no client stands in its server's way.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::Request;
use super::reader::Reader;
use crate::measure::times::{Times, number};

/// How long all connections together may be silent.
const SILENCE_MAX: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };
/// Bytes of one read.
const READ_BYTES_MAX: usize = 256 << 10;
/// Events taken in one go.
const EVENTS_MAX: usize = 64;

/// What to ask for, and the length of the body that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Path with its query.
    pub path: String,
    /// Bytes of the body.
    pub bytes: u64,
}

/// Requests at random.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// Where the server is.
    pub address: SocketAddr,
    /// Media type that is wanted.
    pub accept: &'a str,
    /// What is asked for, each as likely as the others.
    pub targets: &'a [Target],
    /// Requests under way at any time.
    pub connections: usize,
    /// How long.
    pub time: Duration,
    /// Decides on the order.
    pub seed: u64,
}

/// What a load came to. Every answer was right.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Rates {
    /// Answers.
    pub requests: u64,
    /// Answers a second.
    pub per_second: f64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// From request to last byte.
    pub times: Times,
}

/// Runs a load. An answer that is not 200, or of another length than it should be, is an error.
pub fn random(load: &Load<'_>) -> anyhow::Result<Rates> {
    ensure!(!load.targets.is_empty() && load.connections > 0, "there is nothing to ask for");
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("make an epoll instance")?;
    let requests = load.targets.iter().map(|target| Request::get(&target.path, load.accept).head(load.address));
    let mut run = Run {
        load,
        requests: requests.collect(),
        random: load.seed | 1,
        times: Vec::new(),
        bytes: 0,
        buffer: vec![0; READ_BYTES_MAX],
    };
    let mut clients = Vec::new();
    for _ in 0..load.connections {
        clients.push(Client {
            stream: connect(load.address)?,
            reader: Reader::default(),
            target: 0,
            sent: Instant::now(),
        });
    }
    let begun = Instant::now();
    for (at, client) in clients.iter_mut().enumerate() {
        watch(&epoll, client, at)?;
        run.ask(client)?;
    }
    let mut events = Vec::with_capacity(EVENTS_MAX);
    while begun.elapsed() < load.time {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&SILENCE_MAX)).context("wait for an answer")?;
        ensure!(!events.is_empty(), "no answer within {} s", SILENCE_MAX.tv_sec);
        for event in &events {
            let at = usize::try_from(event.data.u64()).context("wait for an answer")?;
            let client = clients.get_mut(at).context("wait for an answer")?;
            if run.read(client)? {
                client.stream = connect(load.address)?;
                watch(&epoll, client, at)?;
                run.ask(client)?;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let requests = u64::try_from(run.times.len()).unwrap_or(u64::MAX);
    ensure!(requests > 0, "nothing was answered within {:?}", load.time);
    Ok(Rates { requests, per_second: number(requests) / seconds, bytes: run.bytes, times: Times::of(&mut run.times) })
}

/// One connection.
struct Client {
    stream: TcpStream,
    reader: Reader,
    /// What it asks for.
    target: usize,
    sent: Instant,
}

struct Run<'a> {
    load: &'a Load<'a>,
    /// The targets as they are sent.
    requests: Vec<String>,
    random: u64,
    times: Vec<Duration>,
    bytes: u64,
    buffer: Vec<u8>,
}

impl Run<'_> {
    /// Sends the next request.
    fn ask(&mut self, client: &mut Client) -> anyhow::Result<()> {
        // Xorshift: which target comes next need not be good, only the same for every server.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let count = u64::try_from(self.requests.len())?;
        client.target = usize::try_from((self.random >> 8) % count)?;
        client.reader = Reader::default();
        client.sent = Instant::now();
        let request = self.requests.get(client.target).context("choose a target")?;
        // It is shorter than any socket's buffer, which is empty.
        client.stream.write_all(request.as_bytes()).context("send a request")
    }

    /// Reads what has come, and asks again after an answer; tells whether a new connection is needed for that.
    fn read(&mut self, client: &mut Client) -> anyhow::Result<bool> {
        loop {
            let read = match client.stream.read(&mut self.buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("read an answer"),
            };
            let bytes = self.buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                client.reader.end()?;
                self.count(client)?;
                return Ok(true);
            }
            let taken = client.reader.take(bytes, &mut |_| {})?;
            ensure!(taken == read, "bytes came after the answer");
            if client.reader.is_done() {
                self.count(client)?;
                if client.reader.closes() {
                    return Ok(true);
                }
                self.ask(client)?;
                return Ok(false);
            }
            if read < READ_BYTES_MAX {
                return Ok(false); // the socket is empty: what comes now is another event
            }
        }
    }

    fn count(&mut self, client: &Client) -> anyhow::Result<()> {
        let target = self.load.targets.get(client.target).context("choose a target")?;
        let (status, bytes) = (client.reader.head().status, client.reader.body_bytes());
        if status != 200 || bytes != target.bytes {
            bail!("{}: status {status} and {bytes} bytes, not 200 and {}", target.path, target.bytes);
        }
        self.times.push(client.sent.elapsed());
        self.bytes += bytes;
        Ok(())
    }
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let connecting = || format!("connect to {address}");
    let stream = TcpStream::connect(address).with_context(connecting)?;
    stream.set_nodelay(true).with_context(connecting)?;
    stream.set_nonblocking(true).with_context(connecting)?;
    Ok(stream)
}

fn watch(epoll: &impl std::os::fd::AsFd, client: &Client, at: usize) -> anyhow::Result<()> {
    let data = EventData::new_u64(u64::try_from(at)?);
    epoll::add(epoll, &client.stream, data, EventFlags::IN).context("watch a connection")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    /// Connections of a load.
    const CONNECTIONS: usize = 5;

    /// Serves for ever as many bytes as the path's digits say, and counts connections. Every third answer closes its own.
    fn server() -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, accepted) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&accepted);
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || answer(stream.unwrap()));
            }
        });
        (address, accepted)
    }

    fn answer(mut stream: TcpStream) {
        for count in 0.. {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                let Ok(1) = stream.read(&mut byte) else { return };
                head.extend(byte);
            }
            let length: usize =
                String::from_utf8(head).unwrap()["GET /".len()..].split(' ').next().unwrap().parse().unwrap();
            let close = if count % 3 == 2 { "Connection: close\r\n" } else { "" };
            let mut bytes = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {length}\r\n\r\n").into_bytes();
            bytes.resize(bytes.len() + length, b'.');
            if stream.write_all(&bytes).is_err() || !close.is_empty() {
                return;
            }
        }
    }

    fn load(address: SocketAddr, targets: &[Target]) -> anyhow::Result<Rates> {
        let time = Duration::from_millis(100);
        random(&Load { address, accept: "*/*", targets, connections: CONNECTIONS, time, seed: 1 })
    }

    #[test]
    fn every_answer_is_counted_on_connections_that_come_and_go() {
        let targets: Vec<Target> =
            [1, 100, 1_000_000].map(|bytes| Target { path: format!("/{bytes}"), bytes }).into_iter().collect();
        let (address, accepted) = server();
        let mut loads = 0;
        while accepted.load(Ordering::SeqCst) <= CONNECTIONS * loads {
            loads += 1;
            let rates = load(address, &targets).unwrap();
            assert!(rates.bytes >= rates.requests && rates.times.p99_ms > 0.0, "{rates:?}");
        }
    }

    #[test]
    fn a_wrong_length_is_no_figure() {
        let wrong = Target { path: "/10".to_owned(), bytes: 11 };
        assert_eq!(load(server().0, &[wrong]).unwrap_err().to_string(), "/10: status 200 and 10 bytes, not 200 and 11");
    }
}
