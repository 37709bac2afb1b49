//! Rows.

use crate::arena::Arena;
use crate::report::Outcome;

/// Measures.
pub fn c_get(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}

/// Measures.
pub fn c_move(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}

/// Measures.
pub fn c_move_to_a_slow_sink(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}
