//! What the operator decides about the DICOMweb service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use archive::Rights;

/// Settings of the DICOMweb service; `Default` is what the server uses without a config file.
#[derive(Debug, Clone)]
pub struct Options {
    /// Paths under which the same service answers, such as `/dicomweb`; slashes around them do not matter.
    pub base_paths: Vec<String>,
    /// The service's URL as clients see it, without a trailing slash. `None`: taken from each request (WE-037).
    pub public_base: Option<String>,
    /// Whose `Forwarded` and `X-Forwarded-*` headers count.
    pub forwarded: Forwarded,
    /// Which web pages may call the service.
    pub cors: Cors,
    /// Most matches of one search answer; a longer result is paged (WE-059).
    pub page_max: u64,
    /// What a search without matches answers (WE-060).
    pub empty_search: EmptySearch,
    /// Most frames of one request.
    pub frames_max: usize,
    /// Rights of clients whose connection brings no [`archive::Caller`].
    pub rights: Rights,
    /// Bounds of a store request.
    pub stow: StowLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            base_paths: vec!["/dicomweb".to_owned(), "/dicom-web".to_owned()],
            public_base: None,
            forwarded: Forwarded::default(),
            cors: Cors::default(),
            page_max: 5_000,
            empty_search: EmptySearch::default(),
            frames_max: 10_000,
            rights: Rights::default(),
            stow: StowLimits::default(),
        }
    }
}

/// Whose forwarded headers are believed when URLs are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forwarded {
    /// Nobody's.
    Ignored,
    /// Those of these peers; needs an [`archive::Caller`] on the requests.
    From(Vec<IpAddr>),
    /// Everybody's: only behind a proxy that sets or removes them.
    Trusted,
}

impl Default for Forwarded {
    /// A proxy on the same machine is believed.
    fn default() -> Self {
        Self::From(vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)])
    }
}

/// Which origins' web pages may read answers.
///
/// The service has no log-in of its own yet, so that "any" would let every page a user visits read patients' data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cors {
    /// None but the service's own.
    Off,
    /// Pages served from this machine (`localhost`, `127.0.0.1`, `[::1]`), at any port.
    #[default]
    Loopback,
    /// These origins, each as browsers send it: `https://viewer.example`.
    Origins(Vec<String>),
    /// Every page.
    Any,
}

/// What a search without matches answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EmptySearch {
    /// 200 and an empty list (CP-2473).
    #[default]
    EmptyList,
    /// 204 without a body (PS3.18 2024e §8.3.4.4).
    NoContent,
}

/// Bounds of a store request (WE-165).
#[derive(Debug, Clone)]
pub struct StowLimits {
    /// Most parts of one request.
    pub parts_max: u64,
    /// Most parts of one request that could not be stored; more are no mishap, and each takes memory in the answer.
    pub failures_max: usize,
    /// Longest part in bytes.
    pub part_bytes_max: u64,
    /// Longest request in bytes.
    pub request_bytes_max: u64,
    /// Instances of one request that are being filed while the next is read.
    pub filing_max: usize,
    /// Longest silence of the sender in mid-request.
    pub idle_max: Duration,
}

impl Default for StowLimits {
    fn default() -> Self {
        Self {
            parts_max: 100_000,
            failures_max: 10_000,
            part_bytes_max: 64 << 30,
            request_bytes_max: 1 << 40,
            filing_max: 8,
            idle_max: Duration::from_mins(1),
        }
    }
}
