//! Command sets and data sets in, P-DATA-TF PDUs out: the sending half without its socket.

use bytes::{BufMut, Bytes, BytesMut};

use super::VALUE_HEADER_BYTES;

/// Cuts one command set or data set of known length into PDUs that a peer accepts, without
/// copying it. A PDU is begun only when its bytes come, and the last one is marked last because
/// its length says so: a set that ends early is never completed.
#[derive(Debug)]
pub(crate) struct Fragmenter {
    context_id: u8,
    command: bool,
    payload_bytes_max: u32,
    set_rest_bytes: u64,
    pdu_rest_bytes: u32,
    begun: bool,
}

/// More bytes came than the set was said to have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Fragmenter {
    /// Returns a fragmenter for `set_bytes` bytes; `pdu_bytes_max` is the peer's maximum length,
    /// which counts the value header (PS3.8 §D.1).
    pub(crate) fn new(context_id: u8, command: bool, pdu_bytes_max: u32, set_bytes: u64) -> Self {
        let payload_bytes_max = pdu_bytes_max.saturating_sub(VALUE_HEADER_BYTES).max(2) & !1;
        Self { context_id, command, payload_bytes_max, set_rest_bytes: set_bytes, pdu_rest_bytes: 0, begun: false }
    }

    /// Returns how many bytes are still to come.
    pub(crate) fn rest_bytes(&self) -> u64 {
        self.set_rest_bytes
    }

    /// Puts the PDU parts of the next bytes into `parts`.
    pub(crate) fn push(&mut self, mut chunk: Bytes, parts: &mut Vec<Bytes>) -> Result<(), TooLong> {
        if u64::try_from(chunk.len()).map_or(true, |bytes| bytes > self.set_rest_bytes) {
            return Err(TooLong);
        }
        while !chunk.is_empty() || !self.begun {
            if self.pdu_rest_bytes == 0 {
                parts.push(self.begin_pdu());
            }
            let room = usize::try_from(self.pdu_rest_bytes).unwrap_or(usize::MAX);
            let piece = chunk.split_to(room.min(chunk.len()));
            let piece_bytes = u32::try_from(piece.len()).unwrap_or(self.pdu_rest_bytes);
            self.pdu_rest_bytes -= piece_bytes;
            self.set_rest_bytes -= u64::from(piece_bytes);
            if !piece.is_empty() {
                parts.push(piece);
            }
        }
        Ok(())
    }

    fn begin_pdu(&mut self) -> Bytes {
        self.begun = true;
        let rest = u32::try_from(self.set_rest_bytes).unwrap_or(u32::MAX);
        let payload = rest.min(self.payload_bytes_max);
        let last = u64::from(payload) == self.set_rest_bytes;
        self.pdu_rest_bytes = payload;
        let mut header = BytesMut::with_capacity(12);
        header.put_u16(0x0400);
        header.put_u32(payload + VALUE_HEADER_BYTES);
        header.put_u32(payload + 2);
        header.put_u8(self.context_id);
        header.put_u8(u8::from(self.command) | (u8::from(last) << 1));
        header.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pdu::{Decoder, Event, Phase};

    fn decode(bytes: &[u8], pdu_bytes_max: u32) -> (Vec<u8>, bool) {
        let mut decoder = Decoder::new(Phase::Established, pdu_bytes_max);
        decoder.buffer.extend_from_slice(bytes);
        let (mut data, mut ended) = (Vec::new(), false);
        while let Some(event) = decoder.decode().unwrap() {
            let Event::Fragment(fragment) = event else { panic!("{event:?}") };
            assert!(!ended, "nothing follows the last fragment");
            assert_eq!((fragment.context_id, fragment.command), (5, false));
            data.extend_from_slice(&fragment.data);
            ended = fragment.last;
        }
        assert!(!decoder.is_inside_pdu());
        (data, ended)
    }

    proptest! {
        /// UL-061: no PDU is longer than the peer's maximum, and the peer gets the set whole.
        #[test]
        fn what_is_sent_is_what_is_received(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20),
            pdu_bytes_max in 8_u32..90,
        ) {
            let set = chunks.concat();
            let mut fragmenter = Fragmenter::new(5, false, pdu_bytes_max, u64::try_from(set.len()).unwrap());
            let mut parts = Vec::new();
            for chunk in chunks {
                fragmenter.push(chunk.into(), &mut parts).unwrap();
            }
            if set.is_empty() {
                fragmenter.push(Bytes::new(), &mut parts).unwrap();
                parts.truncate(1);
            }
            prop_assert_eq!(decode(&parts.concat(), pdu_bytes_max), (set, true));
            prop_assert_eq!(fragmenter.push(Bytes::from_static(b"x"), &mut parts), Err(TooLong));
        }
    }

    #[test]
    fn a_set_that_ends_early_is_not_completed() {
        let mut fragmenter = Fragmenter::new(5, false, 16, 20);
        let mut parts = Vec::new();
        fragmenter.push(Bytes::from_static(&[1; 10]), &mut parts).unwrap();
        assert_eq!(decode(&parts.concat(), 16), (vec![1; 10], false));
        assert_eq!(fragmenter.rest_bytes(), 10);
    }
}
