//! Associations of the least that peers accept: a presentation context for each kind of instance, one operation at a
//! time, no copies of what is sent (PS3.8 §9.3, PS3.7 §9.3.1).

mod command;
mod kind;
mod negotiation;
mod pdu;
mod stream;

use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

pub use command::{Builder, Command};
pub use kind::{ECHO, FIND, Kind};
use negotiation::{Accepted, request};
use pdu::{header, pdu};

/// Longest PDU we take.
const PDU_BYTES_MAX: u32 = 1 << 20;
/// PDU length we use at most, whatever the peer would take.
const SENT_PDU_BYTES_MAX: u32 = 128 << 10;
/// PDU length that DCMTK uses at most by default.
const DCMTK_PDU_BYTES_MAX: u32 = 16 << 10;
/// What is read at once.
const READ_BYTES: usize = 256 << 10;
/// How long an answer may take.
const ANSWER_WAIT_MAX: Duration = Duration::from_mins(1);

/// An open association.
#[derive(Debug)]
pub struct Association {
    stream: BufReader<TcpStream>,
    contexts: Vec<(u8, Kind)>,
    pdu_bytes: usize,
    message_id: u16,
    like_dcmtk: bool,
}

/// How an association is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Send as DCMTK does by default: Nagle on, PDUs of 16 KiB, their headers in writes of their own.
    pub like_dcmtk: bool,
    /// Offer to receive every kind but the first, as C-GET needs.
    pub receive: bool,
}

/// A message that was received.
#[derive(Debug, Default)]
pub struct Message {
    /// Presentation context.
    pub context: u8,
    /// Its command.
    pub command: Command,
    /// Length of its data set, which is dropped unread.
    pub data_set_bytes: u64,
}

impl Association {
    /// Opens an association that proposes every kind in a context of its own.
    pub fn open(address: &str, called_ae: &str, kinds: &[Kind]) -> anyhow::Result<Self> {
        Self::open_with(address, called_ae, kinds, Options::default())
    }

    /// Opens an association in a certain way.
    pub fn open_with(address: &str, called_ae: &str, kinds: &[Kind], options: Options) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        let mut stream = reader(stream, !options.like_dcmtk)?;
        let proposed: Vec<(u8, Kind)> = (0_u8..).map(|n| n * 2 + 1).zip(kinds.iter().copied()).collect();
        let request = request(called_ae, &proposed, options.receive);
        stream.get_mut().write_all(&request).context("request the association")?;
        let (kind, body) = read_pdu(&mut stream).context("read the answer to the association request")?;
        ensure!(kind == 2, "the association was not accepted: PDU type {kind:02x} {body:02x?}");
        let accepted = Accepted::read(&body).context("read A-ASSOCIATE-AC")?;
        let contexts = proposed.into_iter().filter(|(id, _)| accepted.contexts.contains(id)).collect();
        let own = if options.like_dcmtk { DCMTK_PDU_BYTES_MAX } else { SENT_PDU_BYTES_MAX };
        let pdu_bytes = pdu_length(accepted.pdu_bytes, own)?;
        Ok(Self { stream, contexts, pdu_bytes, message_id: 0, like_dcmtk: options.like_dcmtk })
    }

    /// Answers the request of a peer that connected, accepting all it proposes.
    pub fn accept(stream: TcpStream) -> anyhow::Result<Self> {
        let mut stream = reader(stream, true)?;
        let (kind, body) = read_pdu(&mut stream).context("read the association request")?;
        ensure!(kind == 1, "a connection begins with PDU type {kind:02x}");
        stream.get_mut().write_all(&negotiation::acceptance(&body)?).context("accept the association")?;
        let pdu_bytes = pdu_length(negotiation::requested_pdu_bytes(&body), SENT_PDU_BYTES_MAX)?;
        Ok(Self { stream, contexts: Vec::new(), pdu_bytes, message_id: 0, like_dcmtk: false })
    }

    /// Sends one instance and returns the status of the answer.
    pub fn store(&mut self, kind: Kind, sop_instance_uid: &str, data_set: &[u8]) -> anyhow::Result<u16> {
        self.store_parts(kind, sop_instance_uid, [data_set, &[]])
    }

    /// Sends one instance whose data set lies in two parts and returns the status of the answer.
    pub fn store_parts(&mut self, kind: Kind, sop_instance_uid: &str, data_set: [&[u8]; 2]) -> anyhow::Result<u16> {
        let context = self.context(kind)?;
        let message_id = self.next_message_id();
        let command = command::store(kind, sop_instance_uid, message_id);
        self.send(context, &command, data_set).context("send C-STORE-RQ")?;
        self.store_status(message_id)
    }

    /// Reads the answer to C-STORE and returns its status.
    fn store_status(&mut self, message_id: u16) -> anyhow::Result<u16> {
        let answer = self.receive().context("read C-STORE-RSP")?.context("released instead of C-STORE-RSP")?.command;
        let answered = answer.us(0x0120).context("C-STORE-RSP has no message ID")?;
        ensure!(answered == message_id, "C-STORE-RSP answers message {answered}, not {message_id}");
        answer.us(0x0900).context("C-STORE-RSP has no status")
    }

    /// Returns the accepted context of a kind.
    pub fn context(&self, kind: Kind) -> anyhow::Result<u8> {
        let context = self.contexts.iter().find(|(_, known)| *known == kind);
        context.map(|(id, _)| *id).with_context(|| format!("the peer did not accept {kind:?}"))
    }

    /// Returns a message ID that was not used yet, as far as there are any.
    pub fn next_message_id(&mut self) -> u16 {
        self.message_id = self.message_id.wrapping_add(1);
        self.message_id
    }

    /// Sends a command, and a data set unless both its parts are empty.
    pub fn send(&mut self, context: u8, command: &[u8], data_set: [&[u8]; 2]) -> io::Result<()> {
        let max = self.pdu_bytes - 6;
        let length = data_set.iter().map(|part| part.len()).sum::<usize>();
        let mut headers = Vec::with_capacity(2 + length / max);
        headers.push(header(command.len(), context, 3));
        let mut sent = 0;
        while sent < length {
            let fragment = max.min(length - sent);
            sent += fragment;
            headers.push(header(fragment, context, if sent == length { 2 } else { 0 }));
        }
        let mut slices = Vec::with_capacity(headers.len() * 2 + 2);
        let mut headers = headers.iter();
        slices.extend(headers.next().map(|header| IoSlice::new(header)));
        slices.push(IoSlice::new(command));
        let [mut part, mut next] = data_set;
        for header in headers {
            slices.push(IoSlice::new(header));
            let mut room = max;
            while room > 0 && part.len() + next.len() > 0 {
                let (now, later) = part.split_at(room.min(part.len()));
                if !now.is_empty() {
                    slices.push(IoSlice::new(now));
                }
                room -= now.len();
                (part, next) = if later.is_empty() { (next, Default::default()) } else { (later, next) };
            }
        }
        self.write(&mut slices)
    }

    /// Reads the next message; `None`: the peer released the association, which was answered.
    pub fn receive(&mut self) -> anyhow::Result<Option<Message>> {
        let mut message = Message::default();
        let (mut commanded, mut complete) = (false, false);
        while !complete {
            let (kind, mut left) = read_header(&mut self.stream)?;
            if kind == 5 {
                self.stream.get_mut().write_all(&pdu(6, &[0; 4])).context("send A-RELEASE-RP")?;
                return Ok(None);
            }
            ensure!(kind == 4, "PDU type {kind:02x} instead of P-DATA-TF");
            while left > 0 {
                let mut item = [0; 6];
                self.stream.read_exact(&mut item)?;
                let [l0, l1, l2, l3, context, control] = item;
                let length = u32::from_be_bytes([l0, l1, l2, l3]);
                let fragment = length.checked_sub(2).context("a fragment of less than two bytes")?;
                left = left.checked_sub(length + 4).context("a fragment longer than its PDU")?;
                message.context = context;
                if control & 1 == 1 {
                    self.stream.by_ref().take(u64::from(fragment)).read_to_end(&mut message.command.0)?;
                    commanded |= control & 2 != 0;
                    complete = commanded && !message.command.has_data_set();
                } else {
                    skip(&mut self.stream, fragment)?;
                    message.data_set_bytes += u64::from(fragment);
                    complete |= commanded && control & 2 != 0;
                }
            }
        }
        Ok(Some(message))
    }

    /// Ends the association in order.
    pub fn release(mut self) -> anyhow::Result<()> {
        self.stream.get_mut().write_all(&pdu(5, &[0; 4])).context("send A-RELEASE-RQ")?;
        let (kind, _) = read_pdu(&mut self.stream).context("read A-RELEASE-RP")?;
        ensure!(kind == 6, "the release was answered by PDU type {kind:02x}");
        Ok(())
    }

    fn write(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        if self.like_dcmtk {
            return slices.iter().try_for_each(|slice| stream.write_all(slice));
        }
        while !slices.is_empty() {
            match stream.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn reader(stream: TcpStream, nodelay: bool) -> anyhow::Result<BufReader<TcpStream>> {
    stream.set_nodelay(nodelay).context("set up the connection")?;
    stream.set_read_timeout(Some(ANSWER_WAIT_MAX)).context("set up the connection")?;
    Ok(BufReader::with_capacity(READ_BYTES, stream))
}

/// Returns the length of the PDUs that are sent: what the peer takes (0: any), at most our own.
fn pdu_length(peer: u32, own: u32) -> anyhow::Result<usize> {
    let length = if peer == 0 { own } else { peer.min(own) };
    ensure!(length > 64, "the peer takes PDUs of {length} bytes only");
    Ok(usize::try_from(length)?)
}

fn skip(stream: &mut BufReader<TcpStream>, bytes: u32) -> anyhow::Result<()> {
    let mut left = usize::try_from(bytes)?;
    while left > 0 {
        let here = stream.fill_buf()?.len().min(left);
        if here == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        stream.consume(here);
        left -= here;
    }
    Ok(())
}

fn read_header(stream: &mut BufReader<TcpStream>) -> anyhow::Result<(u8, u32)> {
    let mut header = [0; 6];
    stream.read_exact(&mut header)?;
    let [kind, _, length @ ..] = header;
    let length = u32::from_be_bytes(length);
    if length > PDU_BYTES_MAX {
        bail!("a PDU of {length} bytes");
    }
    Ok((kind, length))
}

fn read_pdu(stream: &mut BufReader<TcpStream>) -> anyhow::Result<(u8, Vec<u8>)> {
    let (kind, length) = read_header(stream)?;
    let mut body = Vec::new();
    let read = stream.take(u64::from(length)).read_to_end(&mut body)?;
    if read < usize::try_from(length)? {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok((kind, body))
}
