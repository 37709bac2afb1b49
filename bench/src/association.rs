//! The smallest C-STORE sender that peers accept: one presentation context for each kind of instance, one operation at
//! a time (PS3.8 §9.3, PS3.7 §9.3.1).

mod stream;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

pub use stream::{ECHO, FIND};

/// Longest PDU we take; answers are some hundred bytes.
const PDU_BYTES_MAX: u32 = 1 << 20;
/// PDU length we announce.
const OWN_PDU_BYTES: u32 = 16 << 10;
/// PDU length we use at most, whatever the peer would take.
const SENT_PDU_BYTES_MAX: u32 = 128 << 10;
/// How long an answer may take.
const ANSWER_WAIT_MAX: Duration = Duration::from_mins(1);

/// A SOP class and the transfer syntax its instances have.
pub type Kind = (&'static str, &'static str);

/// An open association.
#[derive(Debug)]
pub struct Association {
    stream: TcpStream,
    contexts: Vec<(u8, Kind)>,
    pdu_bytes: usize,
    message_id: u16,
}

impl Association {
    /// Opens an association that proposes every kind in a context of its own.
    pub fn open(address: &str, called_ae: &str, kinds: &[Kind]) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true).context("set up the connection")?;
        stream.set_read_timeout(Some(ANSWER_WAIT_MAX)).context("set up the connection")?;
        let proposed: Vec<(u8, Kind)> = (0_u8..).map(|n| n * 2 + 1).zip(kinds.iter().copied()).collect();
        stream.write_all(&request(called_ae, &proposed)).context("request the association")?;
        let (kind, body) = read_pdu(&mut stream).context("read the answer to the association request")?;
        ensure!(kind == 2, "the association was not accepted: PDU type {kind:02x} {body:02x?}");
        let accepted = Accepted::read(&body).context("read A-ASSOCIATE-AC")?;
        let contexts = proposed.into_iter().filter(|(id, _)| accepted.contexts.contains(id)).collect();
        let peer = if accepted.pdu_bytes == 0 { SENT_PDU_BYTES_MAX } else { accepted.pdu_bytes };
        let pdu_bytes = usize::try_from(peer.min(SENT_PDU_BYTES_MAX)).context("read A-ASSOCIATE-AC")?;
        ensure!(pdu_bytes > 64, "the peer takes PDUs of {pdu_bytes} bytes only");
        Ok(Self { stream, contexts, pdu_bytes, message_id: 0 })
    }

    /// Sends one instance and returns the status of the answer.
    pub fn store(&mut self, kind: Kind, sop_instance_uid: &str, data_set: &[u8]) -> anyhow::Result<u16> {
        let context = self.contexts.iter().find(|(_, known)| *known == kind);
        let (context, _) = *context.with_context(|| format!("the peer did not accept {kind:?}"))?;
        self.message_id = self.message_id.wrapping_add(1);
        let command = store_command(self.message_id, kind.0, sop_instance_uid);
        let mut message = Vec::with_capacity(data_set.len() + data_set.len() / 64 + 512);
        self.fragment(&mut message, context, 1, &command);
        self.fragment(&mut message, context, 0, data_set);
        self.stream.write_all(&message).context("send C-STORE-RQ")?;
        self.read_status()
    }

    /// Ends the association in order.
    pub fn release(mut self) -> anyhow::Result<()> {
        self.stream.write_all(&pdu(5, &[0; 4])).context("send A-RELEASE-RQ")?;
        let (kind, _) = read_pdu(&mut self.stream).context("read A-RELEASE-RP")?;
        ensure!(kind == 6, "the release was answered by PDU type {kind:02x}");
        Ok(())
    }

    /// Writes P-DATA-TF PDUs with one fragment each; `command` is bit 0 of the message control header.
    fn fragment(&self, out: &mut Vec<u8>, context: u8, command: u8, bytes: &[u8]) {
        let mut chunks = bytes.chunks(self.pdu_bytes - 6).peekable();
        while let Some(chunk) = chunks.next() {
            let control = command | if chunks.peek().is_none() { 2 } else { 0 };
            let item = u32::try_from(chunk.len() + 2).expect("a chunk is shorter than a PDU");
            out.extend_from_slice(&[4, 0]);
            out.extend_from_slice(&(item + 4).to_be_bytes());
            out.extend_from_slice(&item.to_be_bytes());
            out.extend_from_slice(&[context, control]);
            out.extend_from_slice(chunk);
        }
    }

    fn read_status(&mut self) -> anyhow::Result<u16> {
        let mut command = Vec::new();
        loop {
            let (kind, body) = read_pdu(&mut self.stream).context("read C-STORE-RSP")?;
            ensure!(kind == 4, "the operation was answered by PDU type {kind:02x}");
            let control = body.get(5).copied().context("read C-STORE-RSP: the PDU is too short")?;
            command.extend_from_slice(body.get(6..).unwrap_or_default());
            if control & 2 != 0 {
                break;
            }
        }
        let answered = command_value(&command, 0x0120).context("C-STORE-RSP has no message ID")?;
        ensure!(answered == self.message_id, "C-STORE-RSP answers message {answered}, not {}", self.message_id);
        command_value(&command, 0x0900).context("C-STORE-RSP has no status")
    }
}

/// What the peer accepted.
struct Accepted {
    contexts: Vec<u8>,
    pdu_bytes: u32,
}

impl Accepted {
    /// Reads the items behind the fixed part (PS3.8 §9.3.3).
    fn read(body: &[u8]) -> anyhow::Result<Self> {
        let mut accepted = Self { contexts: Vec::new(), pdu_bytes: 0 };
        for (kind, value) in Items(body.get(68..).context("it is too short")?) {
            match (kind, value) {
                (0x21, [id, _, 0, ..]) => accepted.contexts.push(*id),
                (0x50, user) => {
                    let length = Items(user).find(|(kind, _)| *kind == 0x51).and_then(|(_, value)| value.first_chunk());
                    accepted.pdu_bytes = length.map_or(0, |length| u32::from_be_bytes(*length));
                }
                _ => {}
            }
        }
        Ok(accepted)
    }
}

/// Items of an association PDU: type, reserved byte, length in two bytes, value.
struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([kind, _, high, low], rest) = self.0.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        self.0 = rest;
        Some((*kind, value))
    }
}

/// Writes A-ASSOCIATE-RQ (PS3.8 §9.3.2).
fn request(called_ae: &str, contexts: &[(u8, Kind)]) -> Vec<u8> {
    let mut body = vec![0, 1, 0, 0];
    body.extend_from_slice(format!("{called_ae:16}BENCH           ").as_bytes());
    body.extend_from_slice(&[0; 32]);
    body.extend_from_slice(&item(0x10, b"1.2.840.10008.3.1.1.1"));
    for (id, (sop_class, transfer_syntax)) in contexts {
        let mut context = vec![*id, 0, 0, 0];
        context.extend_from_slice(&item(0x30, sop_class.as_bytes()));
        context.extend_from_slice(&item(0x40, transfer_syntax.as_bytes()));
        body.extend_from_slice(&item(0x20, &context));
    }
    let mut user = item(0x51, &OWN_PDU_BYTES.to_be_bytes());
    user.extend_from_slice(&item(0x52, testdata::IMPLEMENTATION_CLASS_UID.as_bytes()));
    body.extend_from_slice(&item(0x50, &user));
    pdu(1, &body)
}

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("items of a request are short");
    let mut item = vec![kind, 0];
    item.extend_from_slice(&length.to_be_bytes());
    item.extend_from_slice(value);
    item
}

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a request is short");
    let mut pdu = vec![kind, 0];
    pdu.extend_from_slice(&length.to_be_bytes());
    pdu.extend_from_slice(body);
    pdu
}

fn read_pdu(stream: &mut TcpStream) -> anyhow::Result<(u8, Vec<u8>)> {
    let mut header = [0; 6];
    stream.read_exact(&mut header)?;
    let [kind, _, length @ ..] = header;
    let length = u32::from_be_bytes(length);
    if length > PDU_BYTES_MAX {
        bail!("a PDU of {length} bytes");
    }
    let mut body = Vec::new();
    let read = stream.take(u64::from(length)).read_to_end(&mut body)?;
    if read < usize::try_from(length)? {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok((kind, body))
}

/// Writes the command set of C-STORE-RQ, implicit VR little endian (PS3.7 §9.3.1.1).
fn store_command(message_id: u16, sop_class: &str, sop_instance: &str) -> Vec<u8> {
    let mut elements = Vec::new();
    let mut element = |number: u16, value: &[u8]| {
        let padded = value.len().next_multiple_of(2);
        let length = u32::try_from(padded).expect("values of a command are short");
        elements.extend_from_slice(&[0, 0]);
        elements.extend_from_slice(&number.to_le_bytes());
        elements.extend_from_slice(&length.to_le_bytes());
        elements.extend_from_slice(value);
        elements.resize(elements.len() + padded - value.len(), 0);
    };
    element(0x0002, sop_class.as_bytes());
    element(0x0100, &1_u16.to_le_bytes());
    element(0x0110, &message_id.to_le_bytes());
    element(0x0700, &0_u16.to_le_bytes());
    element(0x0800, &0_u16.to_le_bytes());
    element(0x1000, sop_instance.as_bytes());
    let length = u32::try_from(elements.len()).expect("a command is short");
    let mut command = vec![0, 0, 0, 0, 4, 0, 0, 0];
    command.extend_from_slice(&length.to_le_bytes());
    command.extend_from_slice(&elements);
    command
}

/// Returns the value of an element of type US.
fn command_value(mut command: &[u8], number: u16) -> Option<u16> {
    loop {
        let ([_, _, e0, e1, l0, l1, l2, l3], rest) = command.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes([*l0, *l1, *l2, *l3])).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        if u16::from_le_bytes([*e0, *e1]) == number {
            return value.first_chunk().map(|value| u16::from_le_bytes(*value));
        }
        command = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_back() {
        let command = store_command(7, "1.2", "1.2.3");
        assert_eq!(command_value(&command, 0x0110), Some(7));
        assert_eq!(command_value(&command, 0x0900), None);
        assert_eq!(command_value(&command[..20], 0x0110), None);
        assert_eq!(usize::from(command_value(&command, 0).unwrap()), command.len() - 12);
    }

    #[test]
    fn accepted_contexts_and_pdu_length_are_read() {
        let mut body = vec![0; 68];
        body.extend_from_slice(&item(0x21, &[1, 0, 0, 0]));
        body.extend_from_slice(&item(0x21, &[3, 0, 3, 0]));
        body.extend_from_slice(&item(0x50, &item(0x51, &4096_u32.to_be_bytes())));
        let accepted = Accepted::read(&body).unwrap();
        assert_eq!((accepted.contexts, accepted.pdu_bytes), (vec![1], 4096));
    }
}
