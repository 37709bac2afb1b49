//! Answering an association request (PS3.8 §9.3.3).

use dicom_data::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use dicom_ul::pdu::{
    AssociationAC, Pdu, PresentationContextProposed, PresentationContextResult, PresentationContextResultReason,
    RequestorRoles, UserVariableItem, write_pdu,
};

use super::extended;
use super::request::{ASYNC_WINDOW_ITEM, AssociateRequest, ECHOED_AT, ECHOED_BYTES, OfferedRoles};
use super::{APPLICATION_CONTEXT, Context, Contexts, IMPLICIT_LITTLE_ENDIAN, Service, usable_pdu_bytes};
use crate::options::ServerOptions;
use crate::pdu::Rejection;

/// An answer that accepts.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The A-ASSOCIATE-AC PDU.
    pub(crate) pdu: Vec<u8>,
    /// The accepted contexts.
    pub(crate) contexts: Contexts,
    /// Longest P-DATA-TF that may be sent.
    pub(crate) peer_pdu_bytes_max: u32,
    /// Longest P-DATA-TF that is taken, 0 for no limit.
    pub(crate) own_pdu_bytes_max: u32,
}

/// Decides what is accepted of a request. That all contexts are refused is no reason to refuse
/// the association (UL-038).
pub(crate) fn negotiate(request: &AssociateRequest, options: &ServerOptions) -> Result<Accepted, Rejection> {
    if !options.accept_any_called_ae && !options.ae_titles.contains(&request.called_ae) {
        return Err(Rejection::CalledAe);
    }
    if !options.calling_aes.is_empty() && !options.calling_aes.contains(&request.calling_ae) {
        return Err(Rejection::CallingAe);
    }
    if request.has_credentials && !options.accept_plain_credentials {
        return Err(Rejection::NoReason); // UL-082
    }
    let rules = options.rules_for(&request.calling_ae);
    let mut contexts = Vec::new();
    let mut results = Vec::with_capacity(request.contexts.len());
    for proposed in &request.contexts {
        let proposed_syntaxes: Vec<&str> = proposed.transfer_syntaxes.iter().map(String::as_str).collect();
        let service = Service::of(&proposed.abstract_syntax);
        let chosen = service.and_then(|service| service.choose(&proposed_syntaxes, rules));
        results.push(result_of(proposed, service, chosen));
        let Some(syntax) = chosen else { continue };
        let offered = offered_roles(&request.roles, &proposed.abstract_syntax);
        contexts.push(Context {
            id: proposed.id,
            abstract_syntax: proposed.abstract_syntax.clone(),
            transfer_syntax: syntax.to_owned(),
            requestor_is_scp: service == Some(Service::Storage)
                && offered.map_or(rules.get_without_role, |roles| roles.scp),
            relational: offered_options(request, &proposed.abstract_syntax).is_some_and(extended::is_relational),
        });
    }
    let own_pdu_bytes_max = options.max_pdu_bytes.saturating_mul(if rules.accept_oversized_pdus { 2 } else { 1 });
    Ok(Accepted {
        pdu: write_accept(request, results, user_items(request, options, &contexts)),
        contexts: Contexts::new(contexts),
        peer_pdu_bytes_max: usable_pdu_bytes(request.max_pdu_bytes),
        own_pdu_bytes_max,
    })
}

fn result_of(
    proposed: &PresentationContextProposed,
    service: Option<Service>,
    chosen: Option<&str>,
) -> PresentationContextResult {
    let reason = match (service, chosen) {
        (_, Some(_)) => PresentationContextResultReason::Acceptance,
        (None, None) => PresentationContextResultReason::AbstractSyntaxNotSupported,
        (Some(_), None) => PresentationContextResultReason::TransferSyntaxesNotSupported,
    };
    // A refused context has a transfer syntax item too; its value means nothing (UL-037).
    let transfer_syntax = chosen.unwrap_or(IMPLICIT_LITTLE_ENDIAN).to_owned();
    PresentationContextResult { id: proposed.id, reason, transfer_syntax }
}

fn offered_roles<'a>(roles: &'a [OfferedRoles], sop_class_uid: &str) -> Option<&'a OfferedRoles> {
    roles.iter().find(|roles| roles.sop_class_uid == sop_class_uid)
}

fn offered_options<'a>(request: &'a AssociateRequest, sop_class_uid: &str) -> Option<&'a [u8]> {
    let mut extended = request.extended.iter();
    let (_, offered) = extended.find(|(uid, _)| uid == sop_class_uid)?;
    Some(offered)
}

fn user_items(request: &AssociateRequest, options: &ServerOptions, contexts: &[Context]) -> Vec<UserVariableItem> {
    let mut items = vec![
        UserVariableItem::MaxLength(options.max_pdu_bytes),
        UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
    ];
    if request.offers_async_window {
        // One operation at a time, each way, which is never more than offered (UL-067).
        items.push(UserVariableItem::Unknown(ASYNC_WINDOW_ITEM, vec![0, 1, 0, 1]));
    }
    let mut classes: Vec<&str> = contexts.iter().map(|context| context.abstract_syntax.as_str()).collect();
    classes.sort_unstable();
    classes.dedup();
    for uid in &classes {
        if let Some(offered) = offered_roles(&request.roles, uid) {
            // We can send what we store, so the peer may be its SCP (UL-070); nothing else.
            let scp = offered.scp && Service::of(uid) == Some(Service::Storage);
            let roles = RequestorRoles { scu: offered.scu, scp };
            items.push(UserVariableItem::ScuScpRoleSelectionSubItem((*uid).to_owned(), roles));
        }
    }
    let version = IMPLEMENTATION_VERSION_NAME.to_owned();
    items.push(UserVariableItem::ImplementationVersionName(version));
    for uid in classes {
        let answered = offered_options(request, uid).and_then(|offered| extended::answer(Service::of(uid)?, offered));
        if let Some(answer) = answered {
            let uid = uid.to_owned();
            items.push(UserVariableItem::SopClassExtendedNegotiationSubItem(uid, answer));
        }
    }
    items
}

fn write_accept(
    request: &AssociateRequest,
    presentation_contexts: Vec<PresentationContextResult>,
    user_variables: Vec<UserVariableItem>,
) -> Vec<u8> {
    let answer = Pdu::AssociationAC(AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae.to_string(),
        called_ae_title: request.called_ae.to_string(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts,
        user_variables,
    });
    let mut pdu = Vec::new();
    write_pdu(&mut pdu, &answer).expect("a Vec takes all bytes, and titles fit their fields");
    let echoed = pdu.get_mut(ECHOED_AT..ECHOED_AT + ECHOED_BYTES);
    echoed.expect("an A-ASSOCIATE-AC has 68 fixed bytes").copy_from_slice(&request.echoed);
    pdu
}
