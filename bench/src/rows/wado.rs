//! Rows measured over HTTP.

use crate::arena::Arena;
use crate::report::Outcome;

/// Measures row A5.
pub fn a5(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}

/// Measures row C2.
pub fn c2(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}
