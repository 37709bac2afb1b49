//! Why an association ends.

use std::io;

use crate::pdu::AbortReason;

/// The end of an association, good or bad.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The peer released, and everything was answered.
    #[error("released")]
    Released,
    /// The peer aborted.
    #[error("aborted by the peer: source {source_code}, reason {reason}")]
    PeerAborted { source_code: u8, reason: u8 },
    /// The peer closed or reset the connection.
    #[error("closed by the peer")]
    Closed,
    /// The connection failed.
    #[error("connection failed")]
    Io(#[source] io::Error),
    /// The peer broke the protocol.
    #[error("protocol broken by the peer: {0:?}")]
    Violation(AbortReason),
    /// The peer was silent for too long while we waited for this.
    #[error("timed out: {0}")]
    TimedOut(&'static str),
    /// The server stops.
    #[error("server stops")]
    Shutdown,
    /// A message we began cannot be completed; completing it would make the peer keep a torso.
    #[error("message torn: {0}")]
    Torn(&'static str),
}

impl End {
    /// Returns how the peer is told, `None` when it is not (PS3.8 §9.2).
    pub(crate) fn abort_reason(&self) -> Option<AbortReason> {
        match self {
            Self::Released | Self::PeerAborted { .. } | Self::Closed | Self::Io(_) => None,
            Self::Violation(reason) => Some(*reason),
            Self::TimedOut(_) | Self::Shutdown | Self::Torn(_) => Some(AbortReason::User),
        }
    }
}

impl From<AbortReason> for End {
    fn from(reason: AbortReason) -> Self {
        Self::Violation(reason)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        let gone = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        if gone.contains(&error.kind()) { Self::Closed } else { Self::Io(error) }
    }
}
