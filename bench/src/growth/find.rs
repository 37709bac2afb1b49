//! C-FIND at STUDY level of the Study Root, over one association (PS3.4 §C.4.1).

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};

const STUDY_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
const IMPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";
/// How long the server may be silent.
const SILENCE_MAX: Duration = Duration::from_mins(5);
/// Longest PDU that is taken.
const PDU_BYTES: u32 = 128 << 10;
/// The attributes of an answer, beside what is asked for.
const RETURNED: [u32; 6] = [0x0008_0020, 0x0008_0050, 0x0008_1030, 0x0010_0010, 0x0010_0020, 0x0020_000D];

/// An association.
pub(super) struct Find {
    reader: BufReader<TcpStream>,
    message_id: u16,
}

impl Find {
    pub(super) fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true).context("set up the connection")?;
        stream.set_read_timeout(Some(SILENCE_MAX)).context("set up the connection")?;
        let mut find = Self { reader: BufReader::new(stream), message_id: 0 };
        find.reader.get_mut().write_all(&request()).context("request the association")?;
        let (kind, _) = find.read_pdu()?;
        ensure!(kind == 2, "the association was not accepted");
        Ok(find)
    }

    /// Asks for studies where one attribute has a value; returns how many there are.
    pub(super) fn studies(&mut self, tag: u32, value: &str) -> anyhow::Result<usize> {
        self.message_id = self.message_id.wrapping_add(1);
        let mut keys: Vec<(u32, &str)> = RETURNED.iter().filter(|known| **known != tag).map(|tag| (*tag, "")).collect();
        keys.extend([(0x0008_0005, "ISO_IR 192"), (0x0008_0052, "STUDY"), (tag, value)]);
        keys.sort_unstable();
        let identifier = keys.iter().flat_map(|(tag, value)| element(*tag, value.as_bytes())).collect::<Vec<_>>();
        let command = command(self.message_id);
        let mut message = pdata(3, &command);
        message.extend_from_slice(&pdata(2, &identifier));
        self.reader.get_mut().write_all(&message).context("send C-FIND-RQ")?;
        let mut matches = 0;
        loop {
            match self.read_status()? {
                0 => return Ok(matches),
                0xFF00 | 0xFF01 => matches += 1,
                status => anyhow::bail!("C-FIND was answered with {status:04x}"),
            }
        }
    }

    /// Reads up to the end of one response and returns its status; identifiers are passed over.
    fn read_status(&mut self) -> anyhow::Result<u16> {
        let mut command = Vec::new();
        let mut status = None;
        loop {
            let (kind, body) = self.read_pdu()?;
            ensure!(kind == 4, "the operation was answered by PDU type {kind:02x}");
            let mut rest = body.as_slice();
            while let Some((length, after)) = rest.split_first_chunk() {
                let length = usize::try_from(u32::from_be_bytes(*length))?;
                let (value, next) = after.split_at_checked(length).context("a PDV is cut")?;
                rest = next;
                let [_, control, fragment @ ..] = value else { anyhow::bail!("a PDV is too short") };
                match control & 3 {
                    1 => command.extend_from_slice(fragment),
                    3 => {
                        command.extend_from_slice(fragment);
                        let found = value_of(&command, 0x0900).context("the response has no status")?;
                        if value_of(&command, 0x0800) == Some(0x0101) {
                            return Ok(found);
                        }
                        status = Some(found);
                    }
                    2 => return status.context("a data set came before its command"),
                    _ => {}
                }
            }
        }
    }

    fn read_pdu(&mut self) -> anyhow::Result<(u8, Vec<u8>)> {
        let mut header = [0; 6];
        self.reader.read_exact(&mut header).context("read a PDU")?;
        let [kind, _, length @ ..] = header;
        let length = u32::from_be_bytes(length);
        ensure!(length <= PDU_BYTES, "a PDU of {length} bytes");
        let mut body = vec![0; usize::try_from(length)?];
        self.reader.read_exact(&mut body).context("read a PDU")?;
        Ok((kind, body))
    }
}

/// Writes one element, implicit VR little endian; a UID is padded with NUL, text with a space.
fn element(tag: u32, value: &[u8]) -> Vec<u8> {
    let [g1, g0, e1, e0] = tag.to_be_bytes();
    let mut out = vec![g0, g1, e0, e1];
    let odd = !value.len().is_multiple_of(2);
    out.extend_from_slice(&length(value.len() + usize::from(odd)).to_le_bytes());
    out.extend_from_slice(value);
    if odd {
        out.push(if tag == 0x0020_000D || tag < 0x0001_0000 { 0 } else { b' ' });
    }
    out
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a query is short")
}

/// Writes the command set of C-FIND-RQ (PS3.7 §9.3.2.1).
fn command(message_id: u16) -> Vec<u8> {
    let elements = [
        element(0x0002, STUDY_ROOT_FIND.as_bytes()),
        element(0x0100, &0x0020_u16.to_le_bytes()),
        element(0x0110, &message_id.to_le_bytes()),
        element(0x0700, &0_u16.to_le_bytes()),
        element(0x0800, &0_u16.to_le_bytes()),
    ]
    .concat();
    [element(0, &length(elements.len()).to_le_bytes()), elements].concat()
}

fn value_of(mut command: &[u8], number: u16) -> Option<u16> {
    loop {
        let ([_, _, e0, e1, length @ ..], rest) = command.split_first_chunk::<8>()?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        if u16::from_le_bytes([*e0, *e1]) == number {
            return value.first_chunk().map(|value| u16::from_le_bytes(*value));
        }
        command = rest;
    }
}

fn pdata(control: u8, fragment: &[u8]) -> Vec<u8> {
    let mut body = length(fragment.len() + 2).to_be_bytes().to_vec();
    body.extend_from_slice(&[1, control]);
    body.extend_from_slice(fragment);
    pdu(4, &body)
}

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &length(body.len()).to_be_bytes(), body].concat()
}

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("items of a request are short");
    [&[kind, 0][..], &length.to_be_bytes(), value].concat()
}

/// Writes A-ASSOCIATE-RQ (PS3.8 §9.3.2).
fn request() -> Vec<u8> {
    let context =
        [vec![1, 0, 0, 0], item(0x30, STUDY_ROOT_FIND.as_bytes()), item(0x40, IMPLICIT_LITTLE_ENDIAN.as_bytes())]
            .concat();
    let user =
        [item(0x51, &PDU_BYTES.to_be_bytes()), item(0x52, testdata::IMPLEMENTATION_CLASS_UID.as_bytes())].concat();
    let body = [
        vec![0, 1, 0, 0],
        b"FILMROOM        BENCH           ".to_vec(),
        vec![0; 32],
        item(0x10, b"1.2.840.10008.3.1.1.1"),
        item(0x20, &context),
        item(0x50, &user),
    ]
    .concat();
    pdu(1, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_back() {
        let command = command(7);
        assert_eq!((value_of(&command, 0x0110), value_of(&command, 0x0900)), (Some(7), None));
        assert_eq!(usize::from(value_of(&command, 0).unwrap()), command.len() - 12);
    }
}
