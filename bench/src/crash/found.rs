//! What a round found.

use serde::Serialize;

use super::compare::Compared;
use super::options::{During, Killed};

/// What one round found.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// Seed of this round: what a failure needs to be seen again.
    pub seed: u64,
    /// Number in its data directory, from 1: together with the rounds before it, it is run again by beginning with
    /// seed - round + 1.
    pub round: u32,
    /// What was killed.
    pub killed: Killed,
    /// What went on then.
    pub during: During,
    /// When it was killed.
    pub killed_after_ms: u128,
    /// How long it took until searches were answered again.
    pub recovered_after_ms: u128,
    /// Instances acknowledged in this round.
    pub acknowledged: usize,
    /// Longest wait for an acknowledgement in this round.
    pub longest_wait_ms: u128,
    /// Instances refused in this round, with the status. None may be.
    pub refused: Vec<String>,
    /// Associations that broke although the server was not killed. None may.
    pub broken: Vec<String>,
    /// Instances sent again afterwards.
    pub resent: usize,
    /// Those of them that were refused. None may be.
    pub resent_refused: Vec<String>,
    /// What the comparisons found.
    #[serde(flatten)]
    pub compared: Compared,
    /// What `filmroom verify` said if it was not satisfied.
    pub unverified: Option<String>,
}

impl Round {
    /// Whether nothing was lost, changed, doubled, refused or damaged.
    pub fn is_clean(&self) -> bool {
        let none = [&self.refused, &self.broken, &self.resent_refused].iter().all(|list| list.is_empty());
        none && self.unverified.is_none() && self.compared.is_clean()
    }
}
