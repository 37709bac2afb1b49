//! C-FIND.

use std::net::SocketAddr;

use crate::measure::times::Times;

/// A query: level, keys in the order of their tags, and how many matches there must be.
#[derive(Debug, Clone)]
pub struct Query {
    /// Value of (0008,0052).
    pub level: &'static str,
    /// Tag and value, an empty one to have it returned.
    pub keys: Vec<(u32, String)>,
    /// Number of matches that is right.
    pub matches: usize,
}

/// What is asked, and how.
#[derive(Debug, Clone, Copy)]
pub struct Find<'a> {
    /// Where.
    pub address: SocketAddr,
    /// Called application entity.
    pub ae: &'a str,
    /// What, taken in turn.
    pub queries: &'a [Query],
    /// Associations at a time.
    pub associations: usize,
    /// Queries in total.
    pub total: usize,
}

/// What was found; every query had as many matches as it should.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Found {
    /// Queries.
    pub queries: usize,
    /// Matches of all.
    pub matches: usize,
    /// Wall clock.
    pub seconds: f64,
    /// From a query to its last answer.
    pub times: Times,
}

/// Asks (study root).
pub fn find(_work: &Find<'_>) -> anyhow::Result<Found> {
    anyhow::bail!("not yet")
}
