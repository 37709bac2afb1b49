//! What is tried, and what came of one question.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use testdata::Population;

use crate::process::Server;

/// What to try.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary to try.
    pub binary: PathBuf,
    /// Where the archives lie, one for each size; what an earlier run left is used again.
    pub directory: PathBuf,
    /// Studies to measure at, ascending.
    pub sizes: Vec<u64>,
    /// How often each question is asked at most, and for how long.
    pub asked_max: usize,
    /// Longest time for one question's repetitions.
    pub asked_for_max: Duration,
}

/// An archive of one size with its server.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) population: Population,
    pub(super) server: Server,
    pub(super) pid: i32,
}

/// One question at one size.
#[derive(Debug, Clone, Serialize)]
pub struct Asked {
    /// Always `growth`.
    pub bench: &'static str,
    /// Studies in the archive.
    pub studies: u64,
    /// What was asked.
    pub shape: &'static str,
    /// How often.
    pub asked: usize,
    /// Mean number of matches of an answer.
    pub matches: f64,
    /// Median in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
    /// CPU milliseconds of the server and its Postgres for each question.
    pub cpu_ms: f64,
    /// Median as a multiple of the smallest size's.
    pub p50_ratio: f64,
    /// 99th percentile as a multiple of the smallest size's.
    pub p99_ratio: f64,
}

/// Rounds to three digits behind the point.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
