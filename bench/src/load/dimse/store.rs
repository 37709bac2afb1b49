//! C-STORE.

use std::net::SocketAddr;

use crate::data::Sample;
use crate::measure::times::Times;

/// What is sent, and how.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a> {
    /// Where.
    pub address: SocketAddr,
    /// Called application entity.
    pub ae: &'a str,
    /// What.
    pub samples: &'a [Sample],
    /// Associations at a time; each sends all samples.
    pub associations: usize,
    /// How often each association sends all samples.
    pub copies: u32,
    /// Salt of the first copy of the first association; the following count on. Absent: identifiers as generated.
    pub salt: Option<u32>,
    /// How the bytes leave.
    pub style: Style,
}

/// How the bytes leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// One vectored write an instance, Nagle off.
    #[default]
    Vectored,
    /// As DCMTK does by default: two writes a PDU of 16 KiB, Nagle on.
    LikeDcmtk,
}

/// What was sent; every instance was acknowledged with success.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Stored {
    /// Instances.
    pub instances: usize,
    /// Bytes of data sets.
    pub bytes: u64,
    /// Wall clock.
    pub seconds: f64,
    /// Instances a second.
    pub per_second: f64,
    /// From the first byte of an instance to its answer.
    pub times: Times,
    /// Processor seconds that we used ourselves.
    pub client_cpu_seconds: f64,
}

impl Default for Store<'_> {
    fn default() -> Self {
        Self {
            address: crate::peers::loopback(0),
            ae: "FILMROOM",
            samples: &[],
            associations: 1,
            copies: 1,
            salt: None,
            style: Style::default(),
        }
    }
}

/// Sends.
pub fn store(_work: &Store<'_>) -> anyhow::Result<Stored> {
    anyhow::bail!("not yet")
}
