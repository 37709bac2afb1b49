//! Association negotiation (PS3.8 §9.3, PS3.7 Annex D.3): what is offered, what is answered. Pure.

mod answer;
mod extended;
mod proposal;
mod request;
mod syntaxes;

pub(crate) use answer::negotiate;
pub use proposal::Proposal;
pub(crate) use proposal::{CONTEXTS_MAX, read_accept, write_request};
pub(crate) use request::{AssociateRequest, Refusal, read_request};
pub(crate) use syntaxes::{EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, Root, Service};

/// The only application context (PS3.7 Annex A).
pub(crate) const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Maximum length assumed of a peer that does not tell one (UL-044).
const PDU_BYTES_ASSUMED: u32 = 16_384;
/// Longest P-DATA-TF we send to a peer without a limit (UL-061).
const PDU_BYTES_UNLIMITED: u32 = 1 << 20;
/// Shortest maximum length we can work with: one value header and two bytes.
const PDU_BYTES_MIN: u32 = 8;

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Context {
    /// Odd, 1 to 255.
    pub(crate) id: u8,
    /// The SOP class.
    pub(crate) abstract_syntax: String,
    /// How data sets are encoded in it.
    pub(crate) transfer_syntax: String,
    /// Whether the requestor of the association may get C-STORE requests in it (PS3.7 §D.3.3.4).
    pub(crate) requestor_is_scp: bool,
    /// Whether relational queries or retrieves were agreed (PS3.4 §C.5).
    pub(crate) relational: bool,
}

/// The accepted presentation contexts of an association, by ID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contexts(Vec<Context>);

impl Contexts {
    pub(crate) fn new(mut contexts: Vec<Context>) -> Self {
        contexts.sort_by_key(|context| context.id);
        Self(contexts)
    }

    /// Returns the context with this ID.
    pub(crate) fn by_id(&self, id: u8) -> Option<&Context> {
        let at = self.0.binary_search_by_key(&id, |context| context.id).ok()?;
        self.0.get(at)
    }

    /// Returns all contexts in the order of their IDs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Context> {
        self.0.iter()
    }

    /// Returns the first context of a SOP class.
    pub(crate) fn of_class(&self, sop_class_uid: &str) -> Option<&Context> {
        self.0.iter().find(|context| context.abstract_syntax == sop_class_uid)
    }

    /// Returns the context of a SOP class with a transfer syntax.
    pub(crate) fn with_syntax(&self, sop_class_uid: &str, syntax: &str) -> Option<&Context> {
        self.0.iter().find(|context| context.abstract_syntax == sop_class_uid && context.transfer_syntax == syntax)
    }
}

/// Drops the padding that senders add to UIDs (UL-041).
fn trimmed(uid: &str) -> &str {
    uid.trim_matches(['\0', ' '])
}

/// Turns a peer's maximum length into one we keep to.
fn usable_pdu_bytes(maximum: Option<u32>) -> u32 {
    match maximum {
        Some(0) => PDU_BYTES_UNLIMITED,
        Some(bytes) => bytes.clamp(PDU_BYTES_MIN, PDU_BYTES_UNLIMITED),
        None => PDU_BYTES_ASSUMED,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::options::ServerOptions;

    fn proposals() -> Vec<Proposal> {
        let storage = "1.2.840.10008.5.1.4.1.1.2";
        vec![
            Proposal::new("1.2.840.10008.1.1", &[IMPLICIT_LITTLE_ENDIAN]),
            Proposal::new("1.2.3.4", &[IMPLICIT_LITTLE_ENDIAN]),
            Proposal::new(storage, &["1.2.3.4.5"]),
            Proposal::new(storage, &[EXPLICIT_LITTLE_ENDIAN]).as_scp(),
        ]
    }

    fn request() -> Vec<u8> {
        let (calling, called) = ("PROBE".parse().unwrap(), "FILMROOM".parse().unwrap());
        write_request(&calling, &called, &proposals(), 16_384)
    }

    fn answer(request: Vec<u8>) -> Bytes {
        let request = read_request(&Bytes::from(request)).unwrap();
        negotiate(&request, &ServerOptions::default()).unwrap().pdu.into()
    }

    #[test]
    fn what_is_requested_is_agreed() {
        let agreed = read_accept(&answer(request()), &proposals()).unwrap();
        let ids: Vec<_> = agreed.contexts.iter().map(|one| (one.id, one.requestor_is_scp)).collect();
        assert_eq!(ids, [(1, false), (7, true)]);
        assert_eq!(agreed.peer_pdu_bytes_max, 131_072);
    }

    #[test]
    fn what_stands_in_a_refused_context_is_not_looked_at() {
        // UL-037: a refused context without its transfer syntax, as some peers send it.
        let mut pdu = answer(request()).to_vec();
        let refused = [0x21, 0, 0, 25, 3, 0, 3, 0, 0x40, 0, 0, 17];
        let at = pdu.windows(12).position(|window| window == refused).unwrap();
        pdu.drain(at + 8..at + 29);
        pdu[at + 3] = 4;
        let body_bytes = u32::try_from(pdu.len() - 6).unwrap();
        pdu[2..6].copy_from_slice(&body_bytes.to_be_bytes());
        let agreed = read_accept(&pdu.into(), &proposals()).unwrap();
        assert_eq!(agreed.contexts.iter().count(), 2);
    }

    #[test]
    fn maximum_lengths_are_kept_to_and_no_limit_is_capped() {
        // UL-044, UL-061
        for (told, used) in [(None, 16_384), (Some(0), 1 << 20), (Some(4_096), 4_096), (Some(1), 8)] {
            assert_eq!(usable_pdu_bytes(told), used);
        }
    }

    proptest! {
        /// IH-011: mutated requests and answers are refused or read, and never a panic.
        #[test]
        fn mutated_associations_do_not_panic(
            flips in proptest::collection::vec((6_usize..500, any::<u8>()), 1..8),
            cut in 6_usize..600,
        ) {
            let mutated = |mut pdu: Vec<u8>| {
                for (at, value) in &flips {
                    if let Some(byte) = pdu.get_mut(*at) {
                        *byte = *value;
                    }
                }
                pdu.truncate(cut);
                let body_bytes = u32::try_from(pdu.len() - 6).unwrap();
                pdu[2..6].copy_from_slice(&body_bytes.to_be_bytes());
                Bytes::from(pdu)
            };
            if let Ok(request) = read_request(&mutated(request()))
                && let Ok(accepted) = negotiate(&request, &ServerOptions::default())
            {
                prop_assert!(accepted.contexts.iter().count() <= request.contexts.len());
            }
            let accept = mutated(answer(request()).to_vec());
            if let Ok(agreed) = read_accept(&accept, &proposals()) {
                prop_assert!(agreed.contexts.iter().count() <= CONTEXTS_MAX);
            }
        }
    }
}
