//! The limits of the machine that rows are compared with: fdatasync, memcpy, bare loopback.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::times::{Times, number};

/// Bytes written before each sync.
const SYNCED_BYTES: usize = 64 << 10;
/// Bytes that are copied at a time: more than caches hold.
const COPIED_BYTES: usize = 64 << 20;
/// Bytes of a message over loopback: a slice.
const MESSAGE_BYTES: usize = 60 << 10;

/// The limits of a machine.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Limits {
    /// Writing 64 KiB and fdatasync.
    pub fdatasync: Times,
    /// Bytes a second that one core copies.
    pub memcpy_per_second: f64,
    /// Messages of 60 KiB a second over loopback, each answered, on one connection.
    pub loopback_per_second: f64,
    /// The same on four connections.
    pub loopback_of_four_per_second: f64,
}

impl Limits {
    /// Measures them, with files in a directory.
    pub fn measure(directory: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            fdatasync: fdatasync(directory, 200)?,
            memcpy_per_second: memcpy(),
            loopback_per_second: loopback(1, 2000)?,
            loopback_of_four_per_second: loopback(4, 1000)?,
        })
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Times { p50_ms, p99_ms, .. } = self.fdatasync;
        let memcpy = self.memcpy_per_second / 1e9;
        write!(f, "limits: fdatasync of 64 KiB p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms; memcpy {memcpy:.1} GB/s; ")?;
        let (one, four) = (self.loopback_per_second, self.loopback_of_four_per_second);
        write!(f, "bare loopback {one:.0} messages of 60 KiB a second, {four:.0} on four connections")
    }
}

/// Writes 64 KiB and calls fdatasync, over and over, into a file of fixed length, as a journal does.
pub fn fdatasync(directory: &Path, count: usize) -> anyhow::Result<Times> {
    let mut file = tempfile::tempfile_in(directory).context("create a file to sync")?;
    let block = vec![0x5A; SYNCED_BYTES];
    for _ in 0..count {
        file.write_all(&block).context("write")?;
    }
    file.sync_all().context("sync")?;
    std::io::Seek::rewind(&mut file).context("rewind")?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        write_and_sync(&mut file, &block)?;
        times.push(begun.elapsed());
    }
    Ok(Times::of(&mut times))
}

/// Returns the bytes a second that one core copies from memory to memory.
pub fn memcpy() -> f64 {
    let from = vec![1_u8; COPIED_BYTES];
    let mut to = vec![2_u8; COPIED_BYTES]; // its pages are there before the clock starts
    let begun = Instant::now();
    let mut rounds = 0_u32;
    while begun.elapsed() < Duration::from_millis(200) {
        std::hint::black_box(&mut to).copy_from_slice(std::hint::black_box(&from));
        rounds += 1;
    }
    number(COPIED_BYTES) * f64::from(rounds) / begun.elapsed().as_secs_f64()
}

/// Returns how many messages of a slice's size a second are sent over loopback and answered by a few bytes, one at a
/// time on each connection: what a protocol without any work at its ends reaches.
pub fn loopback(connections: usize, messages: usize) -> anyhow::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let address = listener.local_addr().context("listen")?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let mut ends = Vec::new();
        for _ in 0..connections {
            let mut sender = TcpStream::connect(address).context("connect")?;
            let (mut receiver, _) = listener.accept().context("accept")?;
            sender.set_nodelay(true).context("set up the connection")?;
            receiver.set_nodelay(true).context("set up the connection")?;
            ends.push(scope.spawn(move || send(&mut sender, messages)));
            ends.push(scope.spawn(move || answer(&mut receiver, messages)));
        }
        for end in ends {
            end.join().map_err(|_| anyhow!("an end of a connection panicked"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(number(connections * messages) / begun.elapsed().as_secs_f64())
}

fn write_and_sync(file: &mut File, block: &[u8]) -> anyhow::Result<()> {
    file.write_all(block).context("write")?;
    file.sync_data().context("sync")
}

fn send(stream: &mut TcpStream, messages: usize) -> anyhow::Result<()> {
    let (message, mut answer) = (vec![0; MESSAGE_BYTES], [0; 64]);
    for _ in 0..messages {
        stream.write_all(&message).context("send")?;
        stream.read_exact(&mut answer).context("wait for the answer")?;
    }
    Ok(())
}

fn answer(stream: &mut TcpStream, messages: usize) -> anyhow::Result<()> {
    let mut message = vec![0; MESSAGE_BYTES];
    for _ in 0..messages {
        stream.read_exact(&mut message).context("receive")?;
        stream.write_all(&[0; 64]).context("answer")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_found() {
        let directory = tempfile::TempDir::new().unwrap();
        assert_eq!(fdatasync(directory.path(), 3).unwrap().count, 3);
        assert!(memcpy() > 1e6);
        assert!(loopback(2, 3).unwrap() > 1.0);
    }
}
