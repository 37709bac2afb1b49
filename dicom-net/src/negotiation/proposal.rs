//! Requesting an association: the A-ASSOCIATE-RQ we send and the A-ASSOCIATE-AC we get.

use bytes::Bytes;
use dicom_data::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use dicom_ul::pdu::{
    AssociationRQ, Pdu, PresentationContextProposed, PresentationContextResultReason, RequestorRoles, UserVariableItem,
    read_pdu, write_pdu,
};

use super::{APPLICATION_CONTEXT, Context, Contexts, trimmed, usable_pdu_bytes};
use crate::ae_title::AeTitle;
use crate::pdu::{ASSOCIATE_BYTES_MAX, AbortReason, HEADER_BYTES};

/// Presentation contexts of one association: odd IDs from 1 to 255.
pub(crate) const CONTEXTS_MAX: usize = 128;
/// Bytes before the variable items of an A-ASSOCIATE-AC.
const FIXED_BYTES: usize = HEADER_BYTES + 68;
/// Item type of a presentation context in an A-ASSOCIATE-AC.
const CONTEXT_ITEM: u8 = 0x21;

/// A presentation context to propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The SOP class.
    pub abstract_syntax: String,
    /// Transfer syntaxes in the order of preference.
    pub transfer_syntaxes: Vec<String>,
    /// Propose to be the SCP too, for C-GET (PS3.7 §D.3.3.4).
    pub as_scp: bool,
}

/// What was agreed with the acceptor.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) contexts: Contexts,
    pub(crate) peer_pdu_bytes_max: u32,
}

/// Returns the A-ASSOCIATE-RQ PDU; contexts get the IDs 1, 3, 5 and so on. What is over 128
/// contexts is left out.
pub(crate) fn write_request(
    calling_ae: &AeTitle,
    called_ae: &AeTitle,
    proposals: &[Proposal],
    max_pdu_bytes: u32,
) -> Vec<u8> {
    let presentation_contexts = (1_u8..=255)
        .step_by(2)
        .zip(proposals.iter().take(CONTEXTS_MAX))
        .map(|(id, proposal)| PresentationContextProposed {
            id,
            abstract_syntax: proposal.abstract_syntax.clone(),
            transfer_syntaxes: proposal.transfer_syntaxes.clone(),
        })
        .collect();
    let mut user_variables = vec![
        UserVariableItem::MaxLength(max_pdu_bytes),
        UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
    ];
    let mut roles: Vec<&str> = Vec::new();
    for proposal in proposals.iter().take(CONTEXTS_MAX).filter(|proposal| proposal.as_scp) {
        if !roles.contains(&proposal.abstract_syntax.as_str()) {
            roles.push(&proposal.abstract_syntax);
            user_variables.push(UserVariableItem::ScuScpRoleSelectionSubItem(
                proposal.abstract_syntax.clone(),
                RequestorRoles { scu: true, scp: true },
            ));
        }
    }
    let version = IMPLEMENTATION_VERSION_NAME.to_owned();
    user_variables.push(UserVariableItem::ImplementationVersionName(version));
    let request = Pdu::AssociationRQ(AssociationRQ {
        protocol_version: 1,
        calling_ae_title: calling_ae.to_string(),
        called_ae_title: called_ae.to_string(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts,
        user_variables,
    });
    let mut pdu = Vec::new();
    write_pdu(&mut pdu, &request).expect("a Vec takes all bytes, and titles fit their fields");
    pdu
}

/// Reads a whole A-ASSOCIATE-AC that answers `proposals`.
pub(crate) fn read_accept(pdu: &Bytes, proposals: &[Proposal]) -> Result<Agreed, AbortReason> {
    let pdu = without_refused_contexts(pdu)?;
    let Ok(Some(Pdu::AssociationAC(accept))) = read_pdu(pdu.as_slice(), ASSOCIATE_BYTES_MAX, true) else {
        return Err(AbortReason::InvalidParameter);
    };
    let scp_of = |uid: &str| {
        accept.user_variables.iter().any(|item| match item {
            UserVariableItem::ScuScpRoleSelectionSubItem(class, roles) => trimmed(class) == uid && roles.scp,
            UserVariableItem::Unknown(..)
            | UserVariableItem::MaxLength(_)
            | UserVariableItem::ImplementationClassUID(_)
            | UserVariableItem::ImplementationVersionName(_)
            | UserVariableItem::SopClassExtendedNegotiationSubItem(..)
            | UserVariableItem::UserIdentityItem(_) => false,
        })
    };
    let mut contexts = Vec::new();
    for result in &accept.presentation_contexts {
        let proposal = usize::from(result.id / 2);
        let proposal = proposals.get(proposal).filter(|_| result.id % 2 == 1);
        let proposal = proposal.ok_or(AbortReason::InvalidParameter)?;
        if result.reason == PresentationContextResultReason::Acceptance {
            contexts.push(Context {
                id: result.id,
                abstract_syntax: proposal.abstract_syntax.clone(),
                transfer_syntax: trimmed(&result.transfer_syntax).to_owned(),
                requestor_is_scp: proposal.as_scp && scp_of(&proposal.abstract_syntax),
                relational: false,
            });
        }
    }
    let maximum = accept.user_variables.iter().find_map(|item| match item {
        UserVariableItem::MaxLength(bytes) => Some(*bytes),
        UserVariableItem::Unknown(..)
        | UserVariableItem::ImplementationClassUID(_)
        | UserVariableItem::ImplementationVersionName(_)
        | UserVariableItem::SopClassExtendedNegotiationSubItem(..)
        | UserVariableItem::ScuScpRoleSelectionSubItem(..)
        | UserVariableItem::UserIdentityItem(_) => None,
    });
    let peer_pdu_bytes_max = usable_pdu_bytes(maximum);
    Ok(Agreed { contexts: Contexts::new(contexts), peer_pdu_bytes_max })
}

/// Returns the PDU without the refused contexts: what stands in them has no meaning and must not
/// be tested (UL-037), but dicom-ul insists on a transfer syntax.
fn without_refused_contexts(pdu: &Bytes) -> Result<Vec<u8>, AbortReason> {
    let cut_off = AbortReason::InvalidParameter;
    let (fixed, mut rest) = pdu.split_at_checked(FIXED_BYTES).ok_or(cut_off)?;
    let mut kept = fixed.to_vec();
    while let Some(&[kind, _, high, low]) = rest.first_chunk::<4>() {
        let item_bytes = 4 + usize::from(u16::from_be_bytes([high, low]));
        let (item, after) = rest.split_at_checked(item_bytes).ok_or(cut_off)?;
        let refused = kind == CONTEXT_ITEM && item.get(6).is_some_and(|result| *result != 0);
        if !refused {
            kept.extend_from_slice(item);
        }
        rest = after;
    }
    let body_bytes = u32::try_from(kept.len() - HEADER_BYTES).map_err(|_| cut_off)?;
    let length = kept.get_mut(2..HEADER_BYTES).ok_or(cut_off)?;
    length.copy_from_slice(&body_bytes.to_be_bytes());
    Ok(kept)
}
