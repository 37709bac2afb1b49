//! Rows measured over HTTP.

use crate::arena::Arena;
use crate::report::Outcome;

/// Measures row A6.
pub fn a6(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}

/// Measures row C1.
pub fn c1(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}
