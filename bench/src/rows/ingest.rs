//! Rows.

use crate::arena::Arena;
use crate::report::Outcome;

/// Measures.
pub fn several_associations(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}

/// Measures.
pub fn one_association(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}

/// Measures.
pub fn nagle(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}

/// Measures.
pub fn processor_time(_arena: &mut Arena) -> anyhow::Result<Vec<Outcome>> {
    Ok(Vec::new())
}
