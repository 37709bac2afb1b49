//! The rows of the table: each a function that measures ours beside the peers.

pub mod degraded;
pub mod disk;
pub mod frames;
pub mod growth;
pub mod ingest;
pub mod memory;
pub mod metadata;
mod peer_or_skip;
pub mod qido;
pub mod retrieve;
pub mod start;
pub mod stow;
pub mod wado;

use crate::comparison::Comparison;
use crate::report::Outcome;

/// A row: what it is called by, and how it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Name, as in the targets.
    pub name: &'static str,
    /// Measures it. What counts wrong is an error, never a figure.
    pub measure: fn(&mut Comparison) -> anyhow::Result<Vec<Outcome>>,
}

/// All rows, in the order of the table.
pub const ROWS: [Row; 19] = [
    Row { name: "A1", measure: ingest::several_associations },
    Row { name: "A2", measure: ingest::one_association },
    Row { name: "A2n", measure: ingest::nagle },
    Row { name: "A3", measure: ingest::processor_time },
    Row { name: "A4", measure: memory::a4 },
    Row { name: "A5", measure: wado::a5 },
    Row { name: "A6", measure: frames::a6 },
    Row { name: "A7", measure: metadata::a7 },
    Row { name: "A8", measure: qido::a8 },
    Row { name: "A8g", measure: growth::a8g },
    Row { name: "A9", measure: retrieve::c_get },
    Row { name: "A10", measure: start::a10 },
    Row { name: "A11", measure: disk::a11 },
    Row { name: "B1", measure: retrieve::c_move },
    Row { name: "B2", measure: retrieve::c_move_to_a_slow_sink },
    Row { name: "C1", measure: frames::c1 },
    Row { name: "C2", measure: wado::c2 },
    Row { name: "C3", measure: stow::c3 },
    Row { name: "D1", measure: degraded::d1 },
];
