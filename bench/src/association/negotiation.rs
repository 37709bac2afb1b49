//! Association requests and their acceptance (PS3.8 §9.3.2, §9.3.3).

use anyhow::Context;

use super::kind::Kind;
use super::pdu::pdu;

/// PDU length we announce.
const OWN_PDU_BYTES: u32 = 128 << 10;

/// What the peer accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) contexts: Vec<u8>,
    pub(super) pdu_bytes: u32,
}

/// Writes A-ASSOCIATE-RQ; with `roles` it offers to receive every kind but the first (PS3.7 §D.3.3.4).
pub(super) fn request(called_ae: &str, contexts: &[(u8, Kind)], roles: bool) -> Vec<u8> {
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
    if roles {
        for (_, (sop_class, _)) in contexts.iter().skip(1) {
            let length = u16::try_from(sop_class.len()).expect("a UID is short");
            let role = [&length.to_be_bytes(), sop_class.as_bytes(), &[0, 1]].concat();
            user.extend_from_slice(&item(0x54, &role));
        }
    }
    body.extend_from_slice(&item(0x50, &user));
    pdu(1, &body)
}

/// Answers a request by accepting every context with the first transfer syntax that it names.
pub(super) fn acceptance(request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut body = request.get(..68).context("the request is too short")?.to_vec();
    body.extend_from_slice(&item(0x10, b"1.2.840.10008.3.1.1.1"));
    for (kind, value) in Items(request.get(68..).unwrap_or_default()) {
        if let (0x20, [id, _, _, _, parts @ ..]) = (kind, value) {
            let (_, syntax) =
                Items(parts).find(|(kind, _)| *kind == 0x40).context("a context has no transfer syntax")?;
            body.extend_from_slice(&item(0x21, &[&[*id, 0, 0, 0], item(0x40, syntax).as_slice()].concat()));
        }
    }
    let mut user = item(0x51, &OWN_PDU_BYTES.to_be_bytes());
    user.extend_from_slice(&item(0x52, testdata::IMPLEMENTATION_CLASS_UID.as_bytes()));
    body.extend_from_slice(&item(0x50, &user));
    Ok(pdu(2, &body))
}

impl Accepted {
    /// Reads the items behind the fixed part.
    pub(super) fn read(body: &[u8]) -> anyhow::Result<Self> {
        let mut accepted = Self { contexts: Vec::new(), pdu_bytes: 0 };
        for (kind, value) in Items(body.get(68..).context("it is too short")?) {
            match (kind, value) {
                (0x21, [id, _, 0, ..]) => accepted.contexts.push(*id),
                (0x50, user) => accepted.pdu_bytes = pdu_bytes(user),
                _ => {}
            }
        }
        Ok(accepted)
    }
}

/// Returns the longest PDU that a requester takes; 0: any.
pub(super) fn requested_pdu_bytes(body: &[u8]) -> u32 {
    let mut items = Items(body.get(68..).unwrap_or_default());
    items.find(|(kind, _)| *kind == 0x50).map_or(0, |(_, user)| pdu_bytes(user))
}

fn pdu_bytes(user: &[u8]) -> u32 {
    let length = Items(user).find(|(kind, _)| *kind == 0x51).and_then(|(_, value)| value.first_chunk());
    length.map_or(0, |length| u32::from_be_bytes(*length))
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

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("items of a request are short");
    let mut item = vec![kind, 0];
    item.extend_from_slice(&length.to_be_bytes());
    item.extend_from_slice(value);
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_contexts_and_pdu_length_are_read() {
        let mut body = vec![0; 68];
        body.extend_from_slice(&item(0x21, &[1, 0, 0, 0]));
        body.extend_from_slice(&item(0x21, &[3, 0, 3, 0]));
        body.extend_from_slice(&item(0x50, &item(0x51, &4096_u32.to_be_bytes())));
        let accepted = Accepted::read(&body).unwrap();
        assert_eq!((accepted.contexts, accepted.pdu_bytes), (vec![1], 4096));
    }

    #[test]
    fn requests_are_accepted_in_full() {
        let kinds = [(1, ("1.2", "1.2.840.10008.1.2.1")), (3, ("1.3", "1.2.840.10008.1.2"))];
        let request = request("SINK", &kinds, true);
        let answer = acceptance(&request[6..]).unwrap();
        let accepted = Accepted::read(&answer[6..]).unwrap();
        assert_eq!((accepted.contexts, accepted.pdu_bytes), (vec![1, 3], OWN_PDU_BYTES));
        assert_eq!(requested_pdu_bytes(&request[6..]), OWN_PDU_BYTES);
    }
}
