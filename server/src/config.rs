//! The configuration: one TOML file, every key optional, unknown keys refused.
//!
//! `filmroom.example.toml` at the root of the repository describes every key; tests hold it to this module.

mod check;
mod load;
mod units;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tiering::{CodeProfile, Tier};

pub(crate) use units::{Size, Span};
pub(crate) use values::{AeTitle, DatabaseUrl, Device, HostPort};
use values::{from_text, one_or_many, to_text};

/// The whole configuration, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Directory of everything that has no place of its own.
    pub(crate) data: PathBuf,
    /// How long running operations may take to end when the server stops.
    pub(crate) stop_wait_max: Span,
    pub(crate) log: Log,
    pub(crate) dicom: Dicom,
    pub(crate) http: Http,
    pub(crate) index: Index,
    pub(crate) journal: Journal,
    pub(crate) store: Store,
    pub(crate) pack: Pack,
    /// Pools; without any, one of six directories below `data`.
    pub(crate) pool: Vec<Pool>,
}

/// What is logged, to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) level: LogLevel,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Least severe level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// The DICOM upper layer service (PS3.8).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Dicom {
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) listen: Vec<SocketAddr>,
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) ae_title: Vec<AeTitle>,
    pub(crate) any_called_ae: bool,
    pub(crate) calling_ae_titles: Vec<AeTitle>,
    pub(crate) associations_max: usize,
    pub(crate) associations_per_calling_ae_max: usize,
    pub(crate) pdu_max: Size,
    pub(crate) artim: Span,
    pub(crate) idle_max: Span,
    pub(crate) destinations: BTreeMap<AeTitle, HostPort>,
}

/// The HTTP service: DICOMweb, health and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) listen: Vec<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) public_url: Option<String>,
    pub(crate) connections_max: usize,
    pub(crate) header_wait_max: Span,
    pub(crate) send_wait_max: Span,
    pub(crate) page_max: u64,
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) cors_origins: Vec<String>,
    pub(crate) trusted_proxies: Vec<IpAddr>,
}

/// The index in Postgres.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Index {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<DatabaseUrl>,
    /// Memory for pages of the cluster of our own; absent: a part of the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache: Option<Size>,
    pub(crate) connections_max: u32,
    pub(crate) query_wait_max: Span,
}

/// The journal: what makes an acknowledgement durable.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Journal {
    /// Directories; without any, one below `data`.
    pub(crate) copies: Vec<PathBuf>,
    /// Copies that must have an instance before it is acknowledged; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) copies_required: Option<usize>,
    pub(crate) segment: Size,
    pub(crate) size_max: Size,
    pub(crate) queue_max: Size,
}

/// What is taken in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Store {
    pub(crate) instance_max: Size,
}

/// When and how instances are packed into containers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pack {
    pub(crate) quiet: Span,
    pub(crate) wait_max: Span,
    pub(crate) container: Size,
    pub(crate) pressure_percent: u8,
}

/// A pool: devices and the code that spreads containers over them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pool {
    pub(crate) name: String,
    #[serde(deserialize_with = "from_text", serialize_with = "to_text")]
    pub(crate) tier: Tier,
    #[serde(deserialize_with = "from_text", serialize_with = "to_text")]
    pub(crate) code: CodeProfile,
    pub(crate) devices: Vec<Device>,
}

/// Says why the configuration cannot be used; the process ends with exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidConfig(pub(crate) String);

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidConfig {}

impl Config {
    /// Fills in what follows from other keys.
    fn fill_in(&mut self) {
        if self.journal.copies.is_empty() {
            self.journal.copies.push(self.data.join("journal"));
        }
        if self.pool.is_empty() {
            let devices = (1..=6).map(|n| Device(self.data.join("devices").join(n.to_string())));
            self.pool.push(Pool {
                name: "hot".to_owned(),
                tier: Tier::Hot,
                code: "4+2".parse().expect("a known profile"),
                devices: devices.collect(),
            });
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./filmroom-data"),
            stop_wait_max: Span(Duration::from_secs(30)),
            log: Log::default(),
            dicom: Dicom::default(),
            http: Http::default(),
            index: Index::default(),
            journal: Journal::default(),
            store: Store::default(),
            pack: Pack::default(),
            pool: Vec::new(),
        }
    }
}

impl Default for Dicom {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 11112))],
            ae_title: vec![AeTitle::try_from("FILMROOM".to_owned()).expect("a valid title")],
            any_called_ae: false,
            calling_ae_titles: Vec::new(),
            associations_max: 200,
            associations_per_calling_ae_max: 100,
            pdu_max: Size(128 << 10),
            artim: Span(Duration::from_secs(30)),
            idle_max: Span(Duration::from_mins(5)),
            destinations: BTreeMap::new(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            public_url: None,
            connections_max: 1024,
            header_wait_max: Span(Duration::from_secs(30)),
            send_wait_max: Span(Duration::from_mins(2)),
            page_max: 5000,
            cors_origins: vec!["loopback".to_owned()],
            trusted_proxies: vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
        }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { url: None, cache: None, connections_max: 16, query_wait_max: Span(Duration::from_secs(30)) }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            copies: Vec::new(),
            copies_required: None,
            segment: Size(256 << 20),
            size_max: Size(16 << 30),
            queue_max: Size(64 << 20),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { instance_max: Size(8 << 30) }
    }
}

impl Default for Pack {
    fn default() -> Self {
        Self {
            quiet: Span(Duration::from_mins(2)),
            wait_max: Span(Duration::from_hours(1)),
            container: Size(1 << 30),
            pressure_percent: 50,
        }
    }
}

#[cfg(test)]
mod tests;
