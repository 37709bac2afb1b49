//! A DICOM peer made of bytes, with two presentation contexts: CT storage (1) and verification (3).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const VERIFICATION: &str = "1.2.840.10008.1.1";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
/// How long an answer may take on a machine that has other things to do.
const ANSWER_WAIT_MAX: Duration = Duration::from_mins(2);

/// An open association.
pub(crate) struct Peer(TcpStream);

impl Peer {
    /// Opens an association.
    pub(crate) fn associate(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(ANSWER_WAIT_MAX)).unwrap();
        let mut peer = Self(stream);
        peer.send(&request());
        assert_eq!(peer.read().0, 2, "accepted");
        peer
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Sends C-ECHO and returns the status.
    pub(crate) fn echo(&mut self) -> u16 {
        self.send(&pdu(4, &value(3, 3, &command(0x30, VERIFICATION, None))));
        self.status()
    }

    /// Sends C-STORE and returns the status.
    pub(crate) fn store(&mut self, sop_instance_uid: &str, data_set: &[u8]) -> u16 {
        let mut message = pdu(4, &value(1, 3, &store_command(sop_instance_uid)));
        for chunk in data_set.chunks(100_000) {
            message.extend(pdu(4, &value(1, 0, chunk)));
        }
        message.extend(pdu(4, &value(1, 2, &[])));
        self.send(&message);
        self.status()
    }

    /// Reads a response and returns its status (0000,0900).
    pub(crate) fn status(&mut self) -> u16 {
        let (kind, body) = self.read();
        assert_eq!(kind, 4, "a response, not {body:?}");
        let at = body.windows(8).position(|window| window == [0, 0, 0, 9, 2, 0, 0, 0]).unwrap();
        u16::from_le_bytes([body[at + 8], body[at + 9]])
    }

    pub(crate) fn release(mut self) {
        self.send(&pdu(5, &[0; 4]));
        assert_eq!(self.read().0, 6);
    }

    pub(crate) fn abort(mut self) {
        self.send(&pdu(7, &[0; 4]));
    }

    fn read(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 6];
        self.0.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
        let mut body = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (header[0], body)
    }
}

/// Returns the association request.
pub(crate) fn request() -> Vec<u8> {
    let mut body = vec![0, 1, 0, 0];
    body.extend(b"FILMROOM        HOSTILE         ");
    body.extend([0; 32]);
    body.extend(item(0x10, b"1.2.840.10008.3.1.1.1"));
    for (id, class) in [(1, CT), (3, VERIFICATION)] {
        let inner = [&[id, 0, 0, 0][..], &item(0x30, class.as_bytes()), &item(0x40, EXPLICIT.as_bytes())].concat();
        body.extend(item(0x20, &inner));
    }
    body.extend(item(0x50, &[item(0x51, &16_384_u32.to_be_bytes()), item(0x52, b"1.2.3")].concat()));
    pdu(1, &body)
}

/// Returns a C-STORE-RQ command set.
pub(crate) fn store_command(sop_instance_uid: &str) -> Vec<u8> {
    command(1, CT, Some(sop_instance_uid))
}

/// Returns the UIDs of a CT instance of the study 1.2.9, in Explicit VR Little Endian.
pub(crate) fn data_set(sop_instance_uid: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (group, element, uid) in
        [(8_u16, 0x16_u16, CT), (8, 0x18, sop_instance_uid), (0x20, 0xD, "1.2.9"), (0x20, 0xE, "1.2.9.1")]
    {
        let uid = padded(uid);
        out.extend([group.to_le_bytes(), element.to_le_bytes()].concat());
        out.extend(b"UI");
        out.extend(u16::try_from(uid.len()).unwrap().to_le_bytes());
        out.extend(uid);
    }
    out
}

pub(crate) fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

pub(crate) fn value(context_id: u8, control: u8, data: &[u8]) -> Vec<u8> {
    [&u32::try_from(data.len() + 2).unwrap().to_be_bytes()[..], &[context_id, control], data].concat()
}

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

fn command(field: u16, class: &str, sop_instance_uid: Option<&str>) -> Vec<u8> {
    let element = |number: u16, value: &[u8]| {
        let length = u32::try_from(value.len()).unwrap().to_le_bytes();
        [&[0, 0][..], &number.to_le_bytes(), &length, value].concat()
    };
    let kind: u16 = if sop_instance_uid.is_some() { 1 } else { 0x0101 };
    let mut out = element(0x0002, &padded(class));
    out.extend(element(0x0100, &field.to_le_bytes()));
    out.extend(element(0x0110, &[7, 0]));
    out.extend(element(0x0800, &kind.to_le_bytes()));
    out.extend(sop_instance_uid.map(|uid| element(0x1000, &padded(uid))).unwrap_or_default());
    out
}

fn padded(uid: &str) -> Vec<u8> {
    let mut value = uid.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), 0);
    value
}
