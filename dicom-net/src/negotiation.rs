//! Association negotiation (PS3.8 §9.3, PS3.7 Annex D.3): what is offered, what is answered. Pure.

mod answer;
mod proposal;
mod request;
mod syntaxes;

pub(crate) use answer::negotiate;
pub use proposal::Proposal;
pub(crate) use proposal::{CONTEXTS_MAX, read_accept, write_request};
pub(crate) use request::{AssociateRequest, Refusal, read_request};
pub(crate) use syntaxes::{EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, Service};

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
        self.0.iter().find(|context| {
            context.abstract_syntax == sop_class_uid && context.transfer_syntax == syntax
        })
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
