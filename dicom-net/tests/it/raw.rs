//! A peer made of bytes: sends what no well-behaved peer would.

use std::net::SocketAddr;
use std::time::Duration;

use archive::double::Double;
use dicom_net::{Server, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::stand_in;

pub const VERIFICATION: &str = "1.2.840.10008.1.1";
pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

pub const ABORT_USER: [u8; 2] = [0, 0];
pub const UNRECOGNIZED_PDU: [u8; 2] = [2, 1];
pub const UNEXPECTED_PDU: [u8; 2] = [2, 2];
pub const UNRECOGNIZED_PARAMETER: [u8; 2] = [2, 4];
pub const INVALID_PARAMETER: [u8; 2] = [2, 6];

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    pub archive: Double,
    pub cancel: CancellationToken,
    pub task: JoinHandle<()>,
}

pub async fn start(change: impl FnOnce(&mut ServerOptions)) -> Running {
    let mut options = ServerOptions { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Default::default() };
    change(&mut options);
    let archive = stand_in::archive();
    let server = Server::bind(options, archive.clone()).await.unwrap();
    let address = server.addresses()[0];
    let cancel = CancellationToken::new();
    let task = tokio::spawn(server.run(cancel.clone()));
    Running { address, archive, cancel, task }
}

/// An A-ASSOCIATE-RQ to be changed and encoded.
#[derive(Clone)]
pub struct Ask {
    pub version: u16,
    pub called: Vec<u8>,
    pub calling: Vec<u8>,
    pub reserved: [u8; 32],
    pub application_context: Option<Vec<u8>>,
    pub contexts: Vec<(u8, Vec<u8>, Vec<Vec<u8>>)>,
    /// Whole sub-items of the user information item.
    pub user: Vec<u8>,
    /// Whole items after the presentation contexts.
    pub extra: Vec<u8>,
}

impl Default for Ask {
    fn default() -> Self {
        let mut user = item(0x51, &16_384_u32.to_be_bytes());
        user.extend(item(0x52, b"1.2.3.4"));
        Self {
            version: 1,
            called: b"FILMROOM        ".to_vec(),
            calling: b"PROBE           ".to_vec(),
            reserved: [0; 32],
            application_context: Some(b"1.2.840.10008.3.1.1.1".to_vec()),
            contexts: vec![context(1, VERIFICATION, &[IMPLICIT])],
            user,
            extra: Vec::new(),
        }
    }
}

impl Ask {
    pub fn contexts(contexts: Vec<(u8, Vec<u8>, Vec<Vec<u8>>)>) -> Self {
        Self { contexts, ..Self::default() }
    }

    pub fn with_user(mut self, item: &[u8]) -> Self {
        self.user.extend_from_slice(item);
        self
    }

    pub fn pdu(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([0xAA, 0x55]); // reserved, never tested (UL-021)
        body.extend(&self.called);
        body.extend(&self.calling);
        body.extend(self.reserved);
        if let Some(name) = &self.application_context {
            body.extend(item(0x10, name));
        }
        for (id, abstract_syntax, syntaxes) in &self.contexts {
            let mut inner = vec![*id, 0xFF, 0xFF, 0xFF];
            inner.extend(item(0x30, abstract_syntax));
            for syntax in syntaxes {
                inner.extend(item(0x40, syntax));
            }
            body.extend(item(0x20, &inner));
        }
        body.extend(&self.extra);
        body.extend(item(0x50, &self.user));
        pdu(1, &body)
    }
}

pub fn context(id: u8, abstract_syntax: &str, syntaxes: &[&str]) -> (u8, Vec<u8>, Vec<Vec<u8>>) {
    let syntaxes = syntaxes.iter().map(|uid| uid.as_bytes().to_vec()).collect();
    (id, abstract_syntax.as_bytes().to_vec(), syntaxes)
}

pub fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut item = vec![kind, 0];
    item.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    item.extend(value);
    item
}

/// A role selection sub-item.
pub fn role(uid: &str, scu: u8, scp: u8) -> Vec<u8> {
    let mut value = u16::try_from(uid.len()).unwrap().to_be_bytes().to_vec();
    value.extend(uid.as_bytes());
    value.extend([scu, scp]);
    item(0x54, &value)
}

pub fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut pdu = vec![kind, 0];
    pdu.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    pdu.extend(body);
    pdu
}

pub fn value(context_id: u8, control: u8, data: &[u8]) -> Vec<u8> {
    let mut value = u32::try_from(data.len() + 2).unwrap().to_be_bytes().to_vec();
    value.extend([context_id, control]);
    value.extend(data);
    value
}

/// An A-ASSOCIATE-AC, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub echoed: Vec<u8>,
    /// ID, result, transfer syntax.
    pub contexts: Vec<(u8, u8, String)>,
    /// Type and value of user information sub-items.
    pub user: Vec<(u8, Vec<u8>)>,
}

impl Answer {
    fn read(body: &[u8]) -> Self {
        let mut answer = Self { echoed: body[4..68].to_vec(), contexts: Vec::new(), user: Vec::new() };
        for (kind, value) in items(&body[68..]) {
            match kind {
                0x21 => {
                    let syntaxes = items(&value[4..]);
                    assert_eq!(syntaxes.len(), 1, "one transfer syntax (UL-037)");
                    let syntax = String::from_utf8(syntaxes[0].1.clone()).unwrap();
                    answer.contexts.push((value[0], value[2], syntax));
                }
                0x50 => answer.user = items(&value),
                _ => {}
            }
        }
        answer
    }

    pub fn user_items(&self, kind: u8) -> Vec<Vec<u8>> {
        let of_kind = self.user.iter().filter(|(other, _)| *other == kind);
        of_kind.map(|(_, value)| value.clone()).collect()
    }
}

pub fn items(mut rest: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut items = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        items.push((rest[0], rest[4..4 + length].to_vec()));
        rest = &rest[4 + length..];
    }
    items
}

/// A raw connection.
pub struct Peer {
    pub stream: TcpStream,
}

impl Peer {
    pub async fn connect(running: &Running) -> Self {
        let stream = TcpStream::connect(running.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Connects and establishes an association.
    pub async fn associate(running: &Running, ask: &Ask) -> (Self, Answer) {
        let mut peer = Self::connect(running).await;
        peer.send(&ask.pdu()).await;
        let answer = peer.accepted().await;
        (peer, answer)
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads one PDU: type and body. Panics when none comes.
    pub async fn read(&mut self) -> (u8, Vec<u8>) {
        tokio::time::timeout(Duration::from_secs(10), async {
            let mut header = [0; 6];
            self.stream.read_exact(&mut header).await.unwrap();
            let length = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
            let mut body = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut body).await.unwrap();
            assert_eq!(header[1], 0, "reserved bytes are sent as 00 (UL-021)");
            (header[0], body)
        })
        .await
        .expect("a PDU within 10 s")
    }

    pub async fn accepted(&mut self) -> Answer {
        let (kind, body) = self.read().await;
        assert_eq!(kind, 2, "accepted, not {body:?}");
        Answer::read(&body)
    }

    /// Asserts that the association is refused with result, source and reason.
    pub async fn rejected(&mut self, expected: [u8; 3]) {
        let (kind, body) = self.read().await;
        assert_eq!((kind, &body[1..]), (3, &expected[..]));
    }

    /// Asserts that an A-ABORT comes with source and reason.
    pub async fn aborted(&mut self, expected: [u8; 2]) {
        let (kind, body) = self.read().await;
        assert_eq!((kind, &body[2..]), (7, &expected[..]));
    }

    /// Asserts that the connection is closed, within `wait`, and nothing is said.
    pub async fn closed(&mut self, wait: Duration) {
        let mut byte = [0];
        let read = tokio::time::timeout(wait, self.stream.read(&mut byte)).await;
        match read.expect("closed in time") {
            Ok(read) => assert_eq!(read, 0, "nothing is said"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }

    pub async fn release(mut self) {
        self.send(&pdu(5, &[0; 4])).await;
        assert_eq!(self.read().await, (6, vec![0; 4]));
    }

    /// Sends C-ECHO and asserts that it is answered 0000.
    pub async fn echo(&mut self, context_id: u8) {
        let command = dicom_net::command::CommandSet::request(0x0030, 1, VERIFICATION).encode();
        self.send(&pdu(4, &value(context_id, 3, &command))).await;
        assert_eq!(self.response().await.status().0, 0);
    }

    /// Reads a response that is one command set in one PDU.
    pub async fn response(&mut self) -> dicom_net::command::CommandSet {
        let (kind, body) = self.read().await;
        assert_eq!((kind, body[5]), (4, 3), "{body:?}");
        dicom_net::command::CommandSet::decode(&body[6..].to_vec().into()).unwrap()
    }
}
