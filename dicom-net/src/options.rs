//! What a server is told when it starts.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use archive::Rights;

use crate::ae_title::AeTitle;

/// Options of a [`crate::Server`].
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Titles the server answers to. The first one calls out in C-MOVE sub-operations and is the
    /// Retrieve AE Title (0008,0054) of answers.
    pub ae_titles: Vec<AeTitle>,
    /// Where to listen; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Longest P-DATA-TF we ask for: 4,096 to 1,048,576, or 0 for no limit (UL-060).
    pub max_pdu_bytes: u32,
    /// Associations served at the same time; more are refused with 2/3/2.
    pub associations_max: usize,
    /// As above, for one calling AE title.
    pub associations_per_calling_ae_max: usize,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Longest data set taken in, in bytes; a longer one is answered A700.
    pub instance_bytes_max: u64,
    /// Accept whatever AE title is called.
    pub accept_any_called_ae: bool,
    /// Calling AE titles that are accepted; empty for any.
    pub calling_aes: Vec<AeTitle>,
    /// Accept passcodes and tokens that come unencrypted. They are not checked (UL-082).
    pub accept_plain_credentials: bool,
    /// C-MOVE destinations.
    pub destinations: HashMap<AeTitle, Destination>,
    /// Rules for calling AE titles that have none of their own.
    pub rules: Rules,
    /// Rules of single calling AE titles.
    pub rules_of: HashMap<AeTitle, Rules>,
}

/// How to treat one calling AE title.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the configuration")]
#[derive(Debug, Clone)]
pub struct Rules {
    /// Transfer syntaxes accepted for storage; `None` for all we store by default (UL-050).
    pub transfer_syntaxes: Option<Vec<String>>,
    /// Accept transfer syntaxes nobody knows and store what comes as it is (UL-053).
    pub store_opaque: bool,
    /// Take P-DATA-TF PDUs of up to twice the length we asked for (UL-062).
    pub accept_oversized_pdus: bool,
    /// Send C-GET sub-operations over storage contexts although no SCP role was proposed (UL-071).
    pub get_without_role: bool,
    /// What the peer may do.
    pub rights: Rights,
    /// Answer A900 where an identifier lacks a unique key of an upper level (QR-011, QR-014).
    pub strict_identifiers: bool,
}

/// Where a C-MOVE destination is.
#[derive(Debug, Clone)]
pub struct Destination {
    /// `host:port`.
    pub host_port: String,
}

/// How long to wait for what (UL-008).
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For the A-ASSOCIATE-RQ after the connection, and for the close after the last PDU.
    pub artim: Duration,
    /// For the next message of an association.
    pub idle: Duration,
    /// For the rest of a PDU that has begun, or its next 64 KiB.
    pub pdu_read: Duration,
    /// For the peer to take what we write.
    pub pdu_write: Duration,
    /// For the connection to a destination.
    pub connect: Duration,
    /// For the answer to our A-ASSOCIATE-RQ.
    pub association_reply: Duration,
    /// For the answer to our A-RELEASE-RQ.
    pub release_reply: Duration,
    /// For the response to a message of ours.
    pub dimse_response: Duration,
    /// For running operations to finish when the server stops.
    pub shutdown: Duration,
    /// Between two FF00 responses of C-MOVE and C-GET (DI-087).
    pub pending_every: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            ae_titles: vec!["FILMROOM".parse().expect("a valid title")],
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 11112))],
            max_pdu_bytes: 131_072,
            associations_max: 200,
            associations_per_calling_ae_max: 100,
            timeouts: Timeouts::default(),
            instance_bytes_max: 64 << 30,
            accept_any_called_ae: false,
            calling_aes: Vec::new(),
            accept_plain_credentials: false,
            destinations: HashMap::new(),
            rules: Rules::default(),
            rules_of: HashMap::new(),
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            transfer_syntaxes: None,
            store_opaque: false,
            accept_oversized_pdus: false,
            get_without_role: true,
            rights: Rights::default(),
            strict_identifiers: false,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            artim: Duration::from_secs(30),
            idle: Duration::from_mins(5),
            pdu_read: Duration::from_secs(30),
            pdu_write: Duration::from_mins(1),
            connect: Duration::from_secs(5),
            association_reply: Duration::from_secs(30),
            release_reply: Duration::from_secs(5),
            dimse_response: Duration::from_mins(5),
            shutdown: Duration::from_secs(20),
            pending_every: Duration::from_secs(1),
        }
    }
}

impl ServerOptions {
    /// Returns the rules for a calling AE title.
    pub(crate) fn rules_for(&self, calling_ae: &AeTitle) -> &Rules {
        self.rules_of.get(calling_ae).unwrap_or(&self.rules)
    }
}
