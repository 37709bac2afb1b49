//! A receiver that acknowledges everything at once and keeps nothing.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};

use crate::association::{Association, Builder};
use crate::peers::loopback;
use crate::report::progress;

/// A receiver that listens until this process ends.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    received: Arc<Received>,
}

/// What came so far.
#[derive(Debug, Default)]
struct Received {
    instances: AtomicU64,
    bytes: AtomicU64,
}

impl Sink {
    /// Listens on a free port.
    pub fn open() -> anyhow::Result<Self> {
        Self::open_at(loopback(0))
    }

    /// Listens on an address.
    pub fn open_at(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).context("open the sink")?;
        let address = listener.local_addr().context("open the sink")?;
        let received = Arc::new(Received::default());
        let shared = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let received = Arc::clone(&shared);
                std::thread::spawn(move || {
                    if let Err(error) = serve(stream, &received) {
                        progress(&format!("sink: {error:#}"));
                    }
                });
            }
        });
        Ok(Self { address, received })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the instances and bytes that came since the last call.
    pub fn take(&self) -> (u64, u64) {
        (self.received.instances.swap(0, Ordering::Relaxed), self.received.bytes.swap(0, Ordering::Relaxed))
    }
}

fn serve(stream: TcpStream, received: &Received) -> anyhow::Result<()> {
    let mut association = Association::accept(stream)?;
    while let Some(message) = association.receive().context("read a request")? {
        let command = &message.command;
        let field = command.us(0x0100).context("a request has no command field")?;
        ensure!(field == 0x0001 || field == 0x0030, "a request that is neither C-STORE nor C-ECHO: {field:04X}");
        if field == 0x0001 {
            received.instances.fetch_add(1, Ordering::Relaxed);
            received.bytes.fetch_add(message.data_set_bytes, Ordering::Relaxed);
        }
        association.send(message.context, &success(command)?, [&[], &[]]).context("answer a request")?;
    }
    Ok(())
}

/// Writes the answer of success to C-STORE or C-ECHO.
pub(super) fn success(request: &crate::association::Command) -> anyhow::Result<Vec<u8>> {
    let field = request.us(0x0100).context("a request has no command field")?;
    let sop_class = request.text(0x0002).context("a request has no SOP class")?;
    let answer = Builder::default().uid(0x0002, sop_class).us(0x0100, field | 0x8000);
    let answer = answer.us(0x0120, request.us(0x0110).context("a request has no message ID")?);
    let answer = answer.us(0x0800, 0x0101).us(0x0900, 0);
    Ok(match request.text(0x1000) {
        Some(sop_instance) => answer.uid(0x1000, sop_instance),
        None => answer,
    }
    .build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{bytes, slices};
    use crate::load::dimse::{Store, Style, store};

    #[test]
    fn what_is_sent_arrives_in_full_however_it_is_sent() {
        let sink = Sink::open().unwrap();
        let samples = slices(3, 4);
        for style in [Style::Vectored, Style::LikeDcmtk] {
            let work = Store { address: sink.address(), ae: "SINK", samples: &samples, style, ..Store::default() };
            let stored = store(&Store { associations: 2, copies: 2, salt: Some(7), ..work }).unwrap();
            assert_eq!((stored.instances, stored.bytes), (16, 4 * bytes(&samples)));
            assert_eq!(sink.take(), (16, 4 * bytes(&samples)));
        }
    }
}
