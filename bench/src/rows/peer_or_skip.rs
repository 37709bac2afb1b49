//! What becomes of a peer's error: its column stays empty, but ours ends the row.

use crate::peers::{Kind, Peer};
use crate::report::progress;

/// Passes a peer's result on. An error of ours stays an error; another peer's is reported, and its column stays empty.
pub(super) fn peer_or_skip<T>(peer: &Peer, result: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if peer.kind == Kind::Filmroom => Err(error),
        Err(error) => {
            progress(&format!("{}: no figure: {error:#}", peer.kind));
            Ok(None)
        }
    }
}
