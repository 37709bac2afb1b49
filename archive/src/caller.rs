//! The caller of a service: its identity, its rights, and the id that audit and log know it by.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::Error;
use crate::rights::{Right, Rights};

/// The peer on whose behalf a service works. An adapter makes one for each association or HTTP connection and passes
/// it to every call; a clone copies a pointer.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    identity: Identity,
    rights: Rights,
    audit_id: AuditId,
}

/// What an adapter knows about a peer. `Default` is a peer of which nothing is known.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// AE title of the peer; empty unless it came by DIMSE.
    pub calling_ae: String,
    /// AE title that the peer called; empty unless it came by DIMSE.
    pub called_ae: String,
    /// Address of the peer's end of the connection; `None` for work that the server began itself.
    pub address: Option<SocketAddr>,
}

/// Identifies one association, connection or command in the log. Ids sort by the time they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuditId(Uuid);

impl Caller {
    /// Describes a peer and gives it a new audit id.
    #[must_use]
    pub fn new(identity: Identity, rights: Rights) -> Self {
        Self(Arc::new(Facts { identity, rights, audit_id: AuditId(Uuid::now_v7()) }))
    }

    /// Describes work of the server itself, such as an import: no peer, every right.
    #[must_use]
    pub fn server() -> Self {
        Self::new(Identity::default(), Rights::ALL)
    }

    /// Checks a right; every service does so before it does anything else. `NotAllowed` when the caller lacks it.
    pub fn may(&self, right: Right) -> Result<(), Error> {
        if self.0.rights.contain(right) {
            return Ok(());
        }
        tracing::warn!(audit = %self.audit_id(), ?right, "caller lacks the right");
        Err(Error::NotAllowed { right })
    }

    /// Returns the AE title of the peer; empty unless it came by DIMSE.
    #[must_use]
    pub fn calling_ae(&self) -> &str {
        &self.0.identity.calling_ae
    }

    /// Returns the AE title that the peer called; empty unless it came by DIMSE.
    #[must_use]
    pub fn called_ae(&self) -> &str {
        &self.0.identity.called_ae
    }

    /// Returns the address of the peer's end of the connection.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.identity.address
    }

    /// Returns the id of this caller in the log.
    #[must_use]
    pub fn audit_id(&self) -> AuditId {
        self.0.audit_id
    }
}

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHTS: [Right; 4] = [Right::Store, Right::Query, Right::Retrieve, Right::Delete];

    fn allowed(rights: Rights) -> Vec<Right> {
        let caller = Caller::new(Identity::default(), rights);
        RIGHTS.into_iter().filter(|right| caller.may(*right).is_ok()).collect()
    }

    #[test]
    fn a_caller_may_do_what_its_rights_say() {
        assert_eq!(allowed(Rights::default()), RIGHTS);
        assert_eq!(allowed(Rights::NONE), []);
        assert_eq!(allowed(Rights::ALL.without(Right::Store)), [Right::Query, Right::Retrieve, Right::Delete]);
        assert_eq!(allowed(Rights::NONE.with(Right::Query)), [Right::Query]);
        let refused = Caller::new(Identity::default(), Rights::NONE).may(Right::Delete);
        assert_eq!(refused.unwrap_err().to_string(), "serve caller: it has no right to delete");
    }

    #[test]
    fn audit_ids_differ_and_sort_by_time() {
        let ids: Vec<String> = (0..100).map(|_| Caller::server().audit_id().to_string()).collect();
        assert!(ids.is_sorted_by(|earlier, later| earlier < later), "{ids:?}");
    }
}
