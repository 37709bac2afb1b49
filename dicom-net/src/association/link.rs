//! The TCP connection under an association.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout, timeout_at};

use crate::end::End;
use crate::options::Timeouts;
use crate::pdu::{AbortReason, Decoder, Event, Phase};

/// Room for one read while little is expected.
const READ_BYTES_MIN: usize = 16 * 1024;
/// Room for one read on an association that brings data sets: a message of a usual slice comes in one read.
const READ_BYTES_MAX: usize = 256 * 1024;
/// A P-DATA-TF with more bytes than this to come is part of a data set, and more follow.
const DATA_REST_SHORT: usize = 4 * 1024;
/// Parts handed to one vectored write; Linux takes no more than 1,024.
const WRITE_PARTS_MAX: usize = 64;

/// A connection that speaks PDUs.
#[derive(Debug)]
pub(crate) struct Link {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    decoder: Decoder,
    timeouts: Timeouts,
    /// A write stopped in the middle of a PDU: nothing can be said any more.
    torn: bool,
    /// The peer has sent a long P-DATA-TF; it will again.
    sends_data: bool,
}

impl Link {
    /// Wraps a connection. Small messages are not held back: a response that waits for Nagle's
    /// algorithm and a delayed acknowledgement costs 44 ms.
    pub(crate) fn new(stream: TcpStream, phase: Phase, pdu_bytes_max: u32, timeouts: Timeouts) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let decoder = Decoder::new(phase, pdu_bytes_max);
        let link = Self { read, write, decoder, timeouts, torn: false, sends_data: false };
        link.acknowledge_at_once();
        Ok(link)
    }

    /// Returns the address of the peer's end; `None` when the connection is lost already.
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        self.read.peer_addr().ok()
    }

    /// Returns how long to wait for what.
    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Notes that the association is established.
    pub(crate) fn establish(&mut self, pdu_bytes_max: u32) {
        self.decoder.establish(pdu_bytes_max);
    }

    /// Waits for the first PDU's header and returns the length that it announces, 0 when the peer closed. A peer that
    /// says nothing costs no buffer. Cancel safe.
    pub(crate) async fn announced_bytes(&mut self) -> io::Result<u32> {
        loop {
            if let Some(bytes) = self.decoder.announced_bytes() {
                return Ok(bytes);
            }
            self.read.readable().await?;
            if self.fill().await? == 0 {
                return Ok(0);
            }
        }
    }

    /// Waits for the next event. `idle` bounds the wait for a PDU to begin (`None`: for ever); one
    /// that has begun must go on within the PDU read timeout. Cancel safe.
    pub(crate) async fn next(&mut self, idle: Option<Duration>, what: &'static str) -> Result<Event, End> {
        let idle_deadline = idle.map(|idle| Instant::now() + idle);
        let mut pdu_deadline = None;
        loop {
            if let Some(event) = self.decoder.decode()? {
                return Ok(event);
            }
            let deadline = if self.decoder.is_inside_pdu() {
                let wait = self.timeouts.pdu_read;
                Some(*pdu_deadline.get_or_insert_with(|| Instant::now() + wait))
            } else {
                idle_deadline
            };
            let read = match deadline {
                Some(deadline) => {
                    let read = timeout_at(deadline, self.fill()).await;
                    read.map_err(|_| End::TimedOut(what))??
                }
                None => self.fill().await?,
            };
            if read == 0 {
                return Err(End::Closed);
            }
        }
    }

    /// Writes all parts. A dropped call may leave a torn PDU; the link then only closes.
    pub(crate) async fn send(&mut self, parts: Vec<Bytes>) -> Result<(), End> {
        self.torn = true;
        let wait = self.timeouts.pdu_write;
        let written = write_parts(&mut self.write, parts, wait).await;
        self.torn = written.is_err();
        written
    }

    /// Sends A-ABORT, if the peer can still make sense of it.
    pub(crate) async fn abort(&mut self, reason: AbortReason) {
        if !self.torn {
            self.say_last(&reason.to_pdu()).await;
        }
    }

    /// Sends a last PDU; that the peer may not hear it any more is no error.
    pub(crate) async fn say_last(&mut self, pdu: &[u8]) {
        let said = timeout(Duration::from_secs(1), self.write.write_all(pdu)).await;
        if !matches!(said, Ok(Ok(()))) {
            tracing::debug!("peer was gone before the last PDU");
        }
    }

    /// Waits until the peer closes or `artim` expires, and forgets what still comes (UL-005).
    pub(crate) async fn wait_for_close(mut self, artim: Duration) {
        let closed = timeout(artim, async {
            loop {
                self.decoder.buffer.clear();
                match self.fill().await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        });
        if closed.await.is_err() {
            tracing::debug!("peer did not close");
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let rest = usize::try_from(self.decoder.data_rest_bytes()).unwrap_or(usize::MAX);
        self.sends_data |= rest > DATA_REST_SHORT;
        make_room(&mut self.decoder.buffer, self.sends_data);
        let read = self.read.read_buf(&mut self.decoder.buffer).await?;
        self.acknowledge_at_once();
        Ok(read)
    }

    /// Acknowledges what came without the usual delay of 40 ms. The kernel forgets this after a
    /// while, so it is said again after each read: a peer with Nagle's algorithm on holds the
    /// second part of its message back until the first is acknowledged.
    fn acknowledge_at_once(&self) {
        #[cfg(target_os = "linux")]
        if let Err(error) = SockRef::from(self.read.as_ref()).set_tcp_quickack(true) {
            tracing::trace!(%error, "cannot acknowledge at once");
        }
    }
}

/// Makes room for one read. The memory of data sets that were handed on and are done with is used again: fresh memory
/// costs more than all else that receiving does.
fn make_room(buffer: &mut BytesMut, sends_data: bool) {
    let wanted = if sends_data { READ_BYTES_MAX.saturating_sub(buffer.len()) } else { READ_BYTES_MIN };
    let room = buffer.capacity() - buffer.len();
    if room < wanted && !buffer.try_reclaim(wanted) && room < READ_BYTES_MIN {
        buffer.reserve(wanted.max(READ_BYTES_MIN));
    }
}

async fn write_parts(write: &mut OwnedWriteHalf, parts: Vec<Bytes>, wait: Duration) -> Result<(), End> {
    let mut parts = VecDeque::from(parts);
    while !parts.is_empty() {
        let slices: Vec<IoSlice<'_>> = parts.iter().take(WRITE_PARTS_MAX).map(|part| IoSlice::new(part)).collect();
        let written = timeout(wait, write.write_vectored(&slices)).await;
        let mut written = written.map_err(|_| End::TimedOut("write"))??;
        if written == 0 {
            return Err(End::Closed);
        }
        while let Some(first) = parts.front_mut() {
            if first.len() > written {
                first.advance(written);
                break;
            }
            written -= first.len();
            parts.pop_front();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::BufMut as _;

    use super::*;

    #[test]
    fn the_memory_of_data_sets_that_are_done_with_is_used_again() {
        let mut buffer = BytesMut::new();
        make_room(&mut buffer, true);
        let (first, room) = (buffer.as_ptr(), buffer.capacity());
        for _ in 0..9 {
            buffer.put_bytes(7, 60_000);
            let data_set = buffer.split_to(60_000).freeze();
            make_room(&mut buffer, true); // the data set is still in use: what comes goes behind it
            assert!(buffer.capacity() >= READ_BYTES_MIN);
            drop(data_set);
            make_room(&mut buffer, true);
            assert_eq!((buffer.as_ptr(), buffer.capacity()), (first, room));
        }
    }

    #[test]
    fn an_association_that_sends_no_data_gets_little_memory() {
        let mut buffer = BytesMut::new();
        make_room(&mut buffer, false);
        assert_eq!(buffer.capacity(), READ_BYTES_MIN);
    }
}
