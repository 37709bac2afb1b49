//! Reading an A-ASSOCIATE-RQ (PS3.8 §9.3.2).
//!
//! dicom-ul reads the items; the fixed part is read here, because its bytes must be echoed
//! unchanged (UL-045) and its AE titles must be refused, not mended, when they are bad.

use bytes::Bytes;
use dicom_ul::pdu::{
    Pdu, PduVariableItem, PresentationContextProposed, ReadError, UserIdentityType, UserVariableItem, read_pdu,
};

use super::{APPLICATION_CONTEXT, trimmed};
use crate::ae_title::AeTitle;
use crate::pdu::{ASSOCIATE_BYTES_MAX, AbortReason, HEADER_BYTES, Rejection};

/// Bytes of called title, calling title and the reserved field after them.
pub(crate) const ECHOED_BYTES: usize = 64;
/// Where they begin in the PDU: after the header, the version and two reserved bytes.
pub(crate) const ECHOED_AT: usize = HEADER_BYTES + 4;
/// Item type of the asynchronous operations window (PS3.7 §D.3.3.3).
pub(crate) const ASYNC_WINDOW_ITEM: u8 = 0x53;

/// An association request, as far as we use it.
#[derive(Debug)]
pub(crate) struct AssociateRequest {
    pub(crate) called_ae: AeTitle,
    pub(crate) calling_ae: AeTitle,
    /// The bytes that the answer repeats.
    pub(crate) echoed: [u8; ECHOED_BYTES],
    /// Proposed contexts; IDs are odd and unique, UIDs trimmed.
    pub(crate) contexts: Vec<PresentationContextProposed>,
    /// The peer's maximum length.
    pub(crate) max_pdu_bytes: Option<u32>,
    pub(crate) roles: Vec<OfferedRoles>,
    /// Service class application information by SOP class (PS3.7 §D.3.3.5).
    pub(crate) extended: Vec<(String, Vec<u8>)>,
    pub(crate) offers_async_window: bool,
    /// A passcode or token came with the request.
    pub(crate) has_credentials: bool,
    /// (0002,0013) of the peer, for the log.
    pub(crate) implementation: Option<String>,
}

/// One role selection sub-item (PS3.7 §D.3.3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OfferedRoles {
    pub(crate) sop_class_uid: String,
    pub(crate) scu: bool,
    pub(crate) scp: bool,
}

/// How a request is turned down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Reject(Rejection),
    Abort(AbortReason),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection)
    }
}

/// Reads a whole A-ASSOCIATE-RQ.
pub(crate) fn read_request(pdu: &Bytes) -> Result<AssociateRequest, Refusal> {
    let invalid = Refusal::Abort(AbortReason::InvalidParameter);
    let version = pdu.get(HEADER_BYTES..).and_then(|body| body.first_chunk::<2>());
    // Only bit 0 is tested (UL-030).
    if u16::from_be_bytes(*version.ok_or(invalid)?) & 1 == 0 {
        return Err(Rejection::ProtocolVersion.into());
    }
    let echoed = pdu.get(ECHOED_AT..).and_then(|rest| rest.first_chunk::<ECHOED_BYTES>());
    let echoed = *echoed.ok_or(invalid)?;
    let (titles, _) = echoed.split_at(32);
    let (called, calling) = titles.split_at(16);
    let called_ae = AeTitle::from_bytes(called).map_err(|_| Rejection::CalledAe)?;
    let calling_ae = AeTitle::from_bytes(calling).map_err(|_| Rejection::CallingAe)?;

    let request = match read_pdu(pdu.as_ref(), ASSOCIATE_BYTES_MAX, true) {
        Ok(Some(Pdu::AssociationRQ(request))) => request,
        Ok(_) => return Err(invalid),
        Err(error) => return Err(refusal_of(&error)),
    };
    if trimmed(&request.application_context_name) != APPLICATION_CONTEXT {
        return Err(Rejection::ApplicationContext.into());
    }
    let mut read = AssociateRequest {
        called_ae,
        calling_ae,
        echoed,
        contexts: checked_contexts(request.presentation_contexts)?,
        max_pdu_bytes: None,
        roles: Vec::new(),
        extended: Vec::new(),
        offers_async_window: false,
        has_credentials: false,
        implementation: None,
    };
    for item in request.user_variables {
        read.take(item);
    }
    Ok(read)
}

impl AssociateRequest {
    fn take(&mut self, item: UserVariableItem) {
        match item {
            UserVariableItem::MaxLength(bytes) => self.max_pdu_bytes = Some(bytes),
            UserVariableItem::ScuScpRoleSelectionSubItem(uid, roles) => {
                self.roles.push(OfferedRoles {
                    sop_class_uid: trimmed(&uid).to_owned(),
                    scu: roles.scu,
                    scp: roles.scp,
                });
            }
            UserVariableItem::UserIdentityItem(identity) => {
                self.has_credentials =
                    matches!(identity.identity_type(), UserIdentityType::UsernamePassword | UserIdentityType::Jwt);
            }
            UserVariableItem::ImplementationVersionName(name) => {
                self.implementation = Some(name.chars().filter(char::is_ascii_graphic).take(16).collect());
            }
            // What nobody defined yet is no error (UL-042).
            UserVariableItem::Unknown(kind, _) => {
                self.offers_async_window |= kind == ASYNC_WINDOW_ITEM;
            }
            UserVariableItem::SopClassExtendedNegotiationSubItem(uid, offered) => {
                self.extended.push((trimmed(&uid).to_owned(), offered));
            }
            UserVariableItem::ImplementationClassUID(_) => {}
        }
    }
}

fn checked_contexts(contexts: Vec<PresentationContextProposed>) -> Result<Vec<PresentationContextProposed>, Refusal> {
    let mut seen = [false; 256];
    let mut checked = Vec::with_capacity(contexts.len());
    for mut context in contexts {
        let known = seen.get_mut(usize::from(context.id));
        let twice = known.is_none_or(|known| std::mem::replace(known, true));
        if twice || context.id % 2 == 0 {
            return Err(Refusal::Abort(AbortReason::InvalidParameter)); // UL-035
        }
        let abstract_syntax = trimmed(&context.abstract_syntax).to_owned();
        context.abstract_syntax = abstract_syntax;
        for syntax in &mut context.transfer_syntaxes {
            *syntax = trimmed(syntax).to_owned();
        }
        checked.push(context);
    }
    Ok(checked)
}

fn refusal_of(error: &ReadError) -> Refusal {
    if matches!(error, ReadError::MissingApplicationContextName { .. }) {
        return Rejection::ApplicationContext.into();
    }
    let unknown = matches!(error, ReadError::UnknownPresentationContextSubItem { .. })
        || matches!(error, ReadError::InvalidPduVariable { var_item: PduVariableItem::Unknown(_), .. });
    Refusal::Abort(if unknown {
        AbortReason::UnrecognizedParameter // UL-043
    } else {
        AbortReason::InvalidParameter
    })
}
