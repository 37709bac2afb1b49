//! Bytes in, events out: the receiving half of the upper layer without its socket.

use bytes::{Buf, Bytes, BytesMut};

use super::{ASSOCIATE_BYTES_MAX, AbortReason, FIXED_BODY_BYTES, HEADER_BYTES, PduType, VALUE_HEADER_BYTES};

/// Longest piece of a fragment that is handed on at once. Shorter ones are handed on only when
/// they are complete, so that a trickle of bytes does not become a trickle of pieces.
pub(crate) const PIECE_BYTES_MAX: u32 = 64 * 1024;

/// Where the association stands, which says what may come (PS3.8 §9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// We accept: only A-ASSOCIATE-RQ or A-ABORT.
    AwaitingRequest,
    /// We requested: only A-ASSOCIATE-AC, A-ASSOCIATE-RJ or A-ABORT.
    AwaitingReply,
    /// Everything but the establishment of an association.
    Established,
}

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A whole A-ASSOCIATE-RQ, header included.
    AssociateRequest(Bytes),
    /// A whole A-ASSOCIATE-AC, header included.
    AssociateAccept(Bytes),
    /// A-ASSOCIATE-RJ: result, source, reason.
    AssociateReject([u8; 3]),
    /// A piece of a presentation data value.
    Fragment(Fragment),
    /// A-RELEASE-RQ.
    ReleaseRequest,
    /// A-RELEASE-RP.
    ReleaseReply,
    /// A-ABORT: source, reason.
    Abort([u8; 2]),
}

/// A piece of a command set or data set.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// Presentation context, as sent: not checked yet.
    pub(crate) context_id: u8,
    /// Command set or data set.
    pub(crate) command: bool,
    /// Whether the set ends with this piece.
    pub(crate) last: bool,
    /// The bytes; may be empty.
    pub(crate) data: Bytes,
}

/// The presentation data value being read.
#[derive(Debug)]
struct Value {
    context_id: u8,
    command: bool,
    last: bool,
    rest_bytes: u32,
}

/// Splits a stream of bytes into events. Announced lengths allocate nothing (UL-007).
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Received and not yet handed on.
    pub(crate) buffer: BytesMut,
    phase: Phase,
    data_bytes_max: u32,
    /// Bytes of the current P-DATA-TF after the current value.
    body_rest_bytes: u32,
    value: Option<Value>,
}

impl Decoder {
    /// Returns a decoder that refuses P-DATA-TF PDUs of more than `data_bytes_max` bytes.
    pub(crate) fn new(phase: Phase, data_bytes_max: u32) -> Self {
        let buffer = BytesMut::new();
        Self { buffer, phase, data_bytes_max, body_rest_bytes: 0, value: None }
    }

    /// Notes that the association is established; `data_bytes_max` as negotiated, 0 for no limit.
    pub(crate) fn establish(&mut self, data_bytes_max: u32) {
        self.phase = Phase::Established;
        self.data_bytes_max = data_bytes_max;
    }

    /// Tells whether a PDU has begun to arrive and is not complete.
    pub(crate) fn is_inside_pdu(&self) -> bool {
        self.value.is_some() || self.body_rest_bytes > 0 || !self.buffer.is_empty()
    }

    /// Returns the length that the PDU at the front of the buffer announces, once its header is there.
    pub(crate) fn announced_bytes(&self) -> Option<u32> {
        let &[_, _, a, b, c, d] = self.buffer.first_chunk::<HEADER_BYTES>()?;
        Some(u32::from_be_bytes([a, b, c, d]))
    }

    /// Returns how many bytes of the current P-DATA-TF are still to be handed on.
    pub(crate) fn data_rest_bytes(&self) -> u32 {
        let value = self.value.as_ref().map_or(0, |value| value.rest_bytes);
        self.body_rest_bytes.saturating_add(value)
    }

    /// Returns the next event, `None` when more bytes are needed, or how to abort.
    pub(crate) fn decode(&mut self) -> Result<Option<Event>, AbortReason> {
        if self.value.is_none() && self.body_rest_bytes == 0 {
            let Some(event) = self.begin_pdu()? else {
                return Ok(None);
            };
            if let Begun::Whole(event) = event {
                return Ok(Some(event));
            }
        }
        if self.value.is_none() && !self.begin_value()? {
            return Ok(None);
        }
        Ok(self.take_piece().map(Event::Fragment))
    }

    fn begin_pdu(&mut self) -> Result<Option<Begun>, AbortReason> {
        let Some(&[kind, _, a, b, c, d]) = self.buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let kind = PduType::from_byte(kind).ok_or(AbortReason::UnrecognizedPdu)?;
        if !is_expected(self.phase, kind) {
            return Err(AbortReason::UnexpectedPdu);
        }
        let body_bytes = u32::from_be_bytes([a, b, c, d]);
        match kind {
            PduType::Data => {
                let too_long = self.data_bytes_max != 0 && body_bytes > self.data_bytes_max;
                if too_long || body_bytes < VALUE_HEADER_BYTES {
                    return Err(AbortReason::InvalidParameter);
                }
                self.buffer.advance(HEADER_BYTES);
                self.body_rest_bytes = body_bytes;
                Ok(Some(Begun::Data))
            }
            PduType::AssociateRequest | PduType::AssociateAccept => {
                if body_bytes > ASSOCIATE_BYTES_MAX {
                    return Err(AbortReason::InvalidParameter);
                }
                Ok(self.take_pdu(body_bytes).map(|pdu| {
                    Begun::Whole(if kind == PduType::AssociateRequest {
                        Event::AssociateRequest(pdu)
                    } else {
                        Event::AssociateAccept(pdu)
                    })
                }))
            }
            PduType::AssociateReject | PduType::ReleaseRequest | PduType::ReleaseReply | PduType::Abort => {
                if body_bytes != FIXED_BODY_BYTES {
                    return Err(AbortReason::InvalidParameter);
                }
                let Some(pdu) = self.take_pdu(body_bytes) else {
                    return Ok(None);
                };
                Ok(fixed_event(kind, &pdu).map(Begun::Whole))
            }
        }
    }

    fn take_pdu(&mut self, body_bytes: u32) -> Option<Bytes> {
        let pdu_bytes = HEADER_BYTES.checked_add(usize::try_from(body_bytes).ok()?)?;
        if self.buffer.len() < pdu_bytes {
            return None;
        }
        Some(self.buffer.split_to(pdu_bytes).freeze())
    }

    /// Reads a value's header; `false` when more bytes are needed.
    fn begin_value(&mut self) -> Result<bool, AbortReason> {
        if self.body_rest_bytes < VALUE_HEADER_BYTES {
            return Err(AbortReason::InvalidParameter);
        }
        let Some(&[a, b, c, d, context_id, control]) = self.buffer.first_chunk::<6>() else {
            return Ok(false);
        };
        let value_bytes = u32::from_be_bytes([a, b, c, d]);
        let after = self
            .body_rest_bytes
            .checked_sub(4)
            .and_then(|rest| rest.checked_sub(value_bytes))
            .ok_or(AbortReason::InvalidParameter)?;
        let rest_bytes = value_bytes.checked_sub(2).ok_or(AbortReason::InvalidParameter)?;
        self.buffer.advance(6);
        self.body_rest_bytes = after;
        self.value = Some(Value { context_id, command: control & 1 != 0, last: control & 2 != 0, rest_bytes });
        Ok(true)
    }

    fn take_piece(&mut self) -> Option<Fragment> {
        let value = self.value.as_mut()?;
        let piece_bytes = value.rest_bytes.min(PIECE_BYTES_MAX);
        let piece = usize::try_from(piece_bytes).ok()?;
        if self.buffer.len() < piece {
            return None;
        }
        let data = self.buffer.split_to(piece).freeze();
        value.rest_bytes -= piece_bytes;
        let complete = value.rest_bytes == 0;
        let fragment =
            Fragment { context_id: value.context_id, command: value.command, last: value.last && complete, data };
        if complete {
            self.value = None;
        }
        Some(fragment)
    }
}

enum Begun {
    Whole(Event),
    Data,
}

fn is_expected(phase: Phase, kind: PduType) -> bool {
    match kind {
        PduType::AssociateRequest => phase == Phase::AwaitingRequest,
        PduType::AssociateAccept | PduType::AssociateReject => phase == Phase::AwaitingReply,
        PduType::Data | PduType::ReleaseRequest | PduType::ReleaseReply => phase == Phase::Established,
        PduType::Abort => true,
    }
}

fn fixed_event(kind: PduType, pdu: &[u8]) -> Option<Event> {
    let &[_, result, source, reason] = pdu.last_chunk::<4>()?;
    match kind {
        PduType::AssociateReject => Some(Event::AssociateReject([result, source, reason])),
        PduType::ReleaseRequest => Some(Event::ReleaseRequest),
        PduType::ReleaseReply => Some(Event::ReleaseReply),
        PduType::Abort => Some(Event::Abort([source, reason])),
        PduType::AssociateRequest | PduType::AssociateAccept | PduType::Data => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn established() -> Decoder {
        Decoder::new(Phase::Established, 131_072)
    }

    fn events(decoder: &mut Decoder) -> Result<Vec<Event>, AbortReason> {
        let mut events = Vec::new();
        while let Some(event) = decoder.decode()? {
            events.push(event);
        }
        Ok(events)
    }

    fn data_pdu(values: &[(u8, u8, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (context_id, control, data) in values {
            body.extend(u32::try_from(data.len() + 2).unwrap().to_be_bytes());
            body.extend([*context_id, *control]);
            body.extend(*data);
        }
        let mut pdu = vec![4, 0];
        pdu.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        pdu.extend(body);
        pdu
    }

    #[test]
    fn bytes_one_by_one_give_the_same_events_as_one_segment() {
        // UL-006, UL-063, UL-064, UL-065
        let mut stream = data_pdu(&[(1, 3, b"command"), (1, 0xFC, b"data")]);
        stream.extend(data_pdu(&[(1, 2, b"")]));
        stream.extend(crate::pdu::RELEASE_REQUEST);
        let mut whole = established();
        whole.buffer.extend_from_slice(&stream);
        let expected = events(&mut whole).unwrap();
        let mut single = established();
        let mut seen = Vec::new();
        for byte in stream {
            single.buffer.extend_from_slice(&[byte]);
            seen.extend(events(&mut single).unwrap());
        }
        assert_eq!(seen, expected);
        assert_eq!(seen.len(), 4);
        assert!(!single.is_inside_pdu());
    }

    #[test]
    fn lengths_out_of_range_abort_before_anything_is_buffered() {
        // UL-007, UL-027, UL-062, UL-063
        for bytes in [&[1, 0, 0xFF, 0xFF, 0xFF, 0xFF][..], &[1, 0, 0, 0x10, 0, 1], &[7, 0, 0xFF, 0xFF, 0xFF, 0xFF]] {
            let mut decoder = Decoder::new(Phase::AwaitingRequest, 131_072);
            decoder.buffer.extend_from_slice(bytes);
            assert_eq!(decoder.decode(), Err(AbortReason::InvalidParameter), "{bytes:?}");
        }
        for bytes in [
            &[4, 0, 0, 2, 0, 1][..],
            &[4, 0, 0, 0, 0, 5],
            &[4, 0, 0, 0, 0, 6, 0, 0, 0, 1, 1, 2],
            &[4, 0, 0, 0, 0, 6, 0, 0, 0, 3, 1, 2],
            &[5, 0, 0, 0, 0, 5],
        ] {
            let mut decoder = established();
            decoder.buffer.extend_from_slice(bytes);
            assert_eq!(decoder.decode(), Err(AbortReason::InvalidParameter), "{bytes:?}");
        }
    }

    #[test]
    fn what_has_no_place_in_the_phase_aborts() {
        // UL-022, UL-023
        let decode = |phase, kind| {
            let mut decoder = Decoder::new(phase, 131_072);
            decoder.buffer.extend_from_slice(&[kind, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
            decoder.decode().map(|_| ())
        };
        for kind in [2, 3, 4, 5, 6] {
            let unexpected = Err(AbortReason::UnexpectedPdu);
            assert_eq!(decode(Phase::AwaitingRequest, kind), unexpected, "{kind}");
        }
        assert_eq!(decode(Phase::Established, 1), Err(AbortReason::UnexpectedPdu));
        assert_eq!(decode(Phase::Established, 0x42), Err(AbortReason::UnrecognizedPdu));
        assert_eq!(decode(Phase::AwaitingRequest, 7), Ok(()));
    }

    #[test]
    fn a_long_value_comes_in_bounded_pieces_and_only_the_last_ends_it() {
        let pdu = data_pdu(&[(3, 2, &vec![7; 100_000])]);
        let mut decoder = established();
        decoder.buffer.extend_from_slice(&pdu);
        let pieces: Vec<(usize, bool)> = events(&mut decoder)
            .unwrap()
            .into_iter()
            .map(|event| {
                let Event::Fragment(fragment) = event else { panic!("{event:?}") };
                (fragment.data.len(), fragment.last)
            })
            .collect();
        assert_eq!(pieces, [(65_536, false), (34_464, true)]);
    }

    proptest! {
        /// IH-011: whatever comes, the decoder neither panics nor loops nor makes bytes up.
        #[test]
        fn any_bytes_are_bounded(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            kind in 0_u8..9,
            phase in 0_u8..3,
        ) {
            let phase = [Phase::AwaitingRequest, Phase::AwaitingReply, Phase::Established]
                [usize::from(phase)];
            let mut decoder = Decoder::new(phase, 200);
            decoder.buffer.extend_from_slice(&[kind, 0, 0, 0, 0]);
            decoder.buffer.extend_from_slice(&bytes);
            let mut handed_on = 0;
            for _ in 0..bytes.len() + 6 {
                match decoder.decode() {
                    Ok(Some(Event::Fragment(fragment))) => handed_on += fragment.data.len(),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                }
            }
            prop_assert!(handed_on <= bytes.len());
        }
    }
}
