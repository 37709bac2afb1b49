//! Rows.

use crate::arena::Arena;
use crate::report::Outcome;

/// Measures.
pub fn a11(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}
