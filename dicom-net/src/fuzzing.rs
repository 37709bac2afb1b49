//! Entry points of the fuzz targets: what reads a peer's bytes, without its socket.

use bytes::Bytes;

use crate::command::{CommandSet, element};
use crate::negotiation::{
    EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, Proposal, negotiate, read_accept, read_request, write_request,
};
use crate::options::ServerOptions;
use crate::pdu::{AbortReason, Decoder, Event, Phase, RELEASE_REQUEST};
use crate::status::Status;

/// Longest P-DATA-TF that is taken.
const PDU_BYTES_MAX: u32 = 131_072;
/// Most presentation contexts of an association.
const CONTEXTS_MAX: usize = 128;
const VERIFICATION: &str = "1.2.840.10008.1.1";
const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.2";

/// Reads a peer's stream. The first byte says which side we are, the second into how long pieces the stream is cut:
/// how it is cut must not show (UL-006).
pub fn pdu(bytes: &[u8]) {
    let Some((&[side, cut], stream)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let phase = match side % 3 {
        0 => Phase::AwaitingRequest,
        1 => Phase::AwaitingReply,
        _ => Phase::Established,
    };
    let whole = read(phase, stream.chunks(stream.len().max(1)));
    let pieces = read(phase, stream.chunks(usize::from(cut).max(1)));
    assert_eq!(whole, pieces, "segments show");
    for event in whole.0 {
        negotiated(&event);
    }
}

/// Reads a command set; one that was read must come back from what it is written as.
pub fn command_set(bytes: &[u8]) {
    let Ok(command) = CommandSet::decode(&Bytes::copy_from_slice(bytes)) else {
        return;
    };
    assert_eq!(CommandSet::decode(&command.encode()).as_ref(), Ok(&command), "another command set came back");
    let response = command.response(Status::CANNOT_UNDERSTAND).with_comment("a comment");
    assert!(CommandSet::decode(&response.encode()).is_ok(), "the response cannot be read");
    assert!(command.text(element::MOVE_DESTINATION).is_none_or(str::is_ascii));
}

/// Returns streams to begin with, for [`pdu`].
pub fn pdu_seeds() -> Vec<Vec<u8>> {
    let proposals = proposals();
    let (calling, called) = ("PROBE".parse(), "FILMROOM".parse());
    let (calling, called) = (calling.expect("a title"), called.expect("a title"));
    let request = write_request(&calling, &called, &proposals, 16_384);
    let read = read_request(&Bytes::from(request.clone())).ok();
    let accept = read.and_then(|request| negotiate(&request, &ServerOptions::default()).ok());
    let accept = accept.map(|accepted| accepted.pdu).unwrap_or_default();
    let mut session = vec![0, 255];
    session.extend_from_slice(&request);
    session.extend(data(&[(1, 3, &command_seeds().concat()), (7, 0, b"piece"), (7, 2, b"")]));
    session.extend_from_slice(&RELEASE_REQUEST);
    let established = [&[2, 3][..], &data(&[(1, 3, &[0; 300]), (1, 0xFF, b"")]), &AbortReason::User.to_pdu()].concat();
    let reply = [&[1, 7][..], &accept, &data(&[(1, 1, b"more")])].concat();
    vec![session, established, reply, vec![2, 1, 4, 0, 0xFF, 0xFF, 0xFF, 0xFF]]
}

/// Returns command sets to begin with.
pub fn command_seeds() -> Vec<Vec<u8>> {
    let store = CommandSet::request(0x0001, 1, STORAGE).with_uid(element::AFFECTED_SOP_INSTANCE_UID, "1.2.3.4");
    let moving = CommandSet::request(0x0021, 2, "1.2.840.10008.5.1.4.1.2.2.2");
    let moving = moving.with_text(element::MOVE_DESTINATION, "SINK").with_data_set();
    let all = [store.response(Status::SUCCESS), store.with_data_set(), moving, CommandSet::cancel(3)];
    all.iter().map(|command| command.encode().to_vec()).collect()
}

/// What came, how it ended, and whether a PDU was left half read.
type Reading = (Vec<Event>, Option<AbortReason>, bool);

fn read<'a>(phase: Phase, pieces: impl Iterator<Item = &'a [u8]>) -> Reading {
    let mut decoder = Decoder::new(phase, PDU_BYTES_MAX);
    let mut events = Vec::new();
    for piece in pieces {
        decoder.buffer.extend_from_slice(piece);
        loop {
            match decoder.decode() {
                Ok(Some(event)) => {
                    if matches!(event, Event::AssociateRequest(_) | Event::AssociateAccept(_)) {
                        decoder.establish(PDU_BYTES_MAX);
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(reason) => return (events, Some(reason), false),
            }
        }
    }
    let inside = decoder.is_inside_pdu();
    (events, None, inside)
}

fn negotiated(event: &Event) {
    match event {
        Event::AssociateRequest(pdu) => {
            let Ok(request) = read_request(pdu) else { return };
            if let Ok(accepted) = negotiate(&request, &ServerOptions::default()) {
                assert!(accepted.contexts.iter().count() <= request.contexts.len());
                assert!(request.contexts.len() <= CONTEXTS_MAX, "odd and unique IDs");
            }
        }
        Event::AssociateAccept(pdu) => {
            if let Ok(agreed) = read_accept(pdu, &proposals()) {
                assert!(agreed.contexts.iter().count() <= CONTEXTS_MAX);
            }
        }
        Event::AssociateReject(_)
        | Event::Fragment(_)
        | Event::ReleaseRequest
        | Event::ReleaseReply
        | Event::Abort(_) => {}
    }
}

fn proposals() -> Vec<Proposal> {
    vec![
        Proposal::new(VERIFICATION, &[IMPLICIT_LITTLE_ENDIAN]),
        Proposal::new(STORAGE, &["1.2.3.4.5"]),
        Proposal::new(STORAGE, &[EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN]).as_scp(),
    ]
}

/// Returns a P-DATA-TF of values: context, control byte, fragment.
fn data(values: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let mut body = Vec::new();
    for (context_id, control, fragment) in values {
        body.extend(length(fragment.len() + 2));
        body.extend([*context_id, *control]);
        body.extend_from_slice(fragment);
    }
    [&[4, 0][..], &length(body.len()), &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases of each kind: as many as this variable says.
    fn cases() -> u64 {
        std::env::var("FILMROOM_HOSTILE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
    }

    #[test]
    fn ul_006_ih_011_damaged_streams_end_alike_however_they_are_cut() {
        let seeds = pdu_seeds();
        for seed in 0..cases() {
            let mut stream = seeds[usize::try_from(seed).unwrap() % seeds.len()].clone();
            testdata::damage(&mut stream, seed);
            pdu(&stream);
        }
    }

    #[test]
    fn di_015_ih_011_damaged_command_sets_are_refused_or_read() {
        let seeds = command_seeds();
        for seed in 0..cases() {
            let mut bytes = seeds[usize::try_from(seed).unwrap() % seeds.len()].clone();
            testdata::damage(&mut bytes, seed);
            command_set(&bytes);
        }
    }
}
