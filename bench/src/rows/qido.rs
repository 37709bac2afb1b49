//! Rows measured over HTTP.

use crate::arena::Arena;
use crate::report::Outcome;

/// Measures row A8.
pub fn a8(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}
