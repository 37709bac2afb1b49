//! A receiver that acknowledges everything at once and keeps nothing.

use std::net::SocketAddr;

/// A receiver that listens.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
}

impl Sink {
    /// Listens on a free port.
    pub fn open() -> anyhow::Result<Self> {
        Ok(Self { address: crate::peers::loopback(crate::peers::free_port()?) })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
