//! Rows measured over HTTP.

use crate::arena::Arena;
use crate::report::Outcome;

/// Measures row A7.
pub fn a7(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}
