//! How queries, start and size grow with the archive: the same questions at every size, ratios to the smallest.
//!
//! The archive is filled below the network (`fill`), everything else is asked from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;
use testdata::Population;

pub use fill::{Filled, fill};

mod ask;
mod cpu;
mod fill;
mod find;
mod serve;
mod shape;
mod web;

/// What to try.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary to try.
    pub binary: PathBuf,
    /// Where the archive lies; what is there from an earlier run with the same sizes is used again.
    pub directory: PathBuf,
    /// Studies to measure at, ascending.
    pub sizes: Vec<u64>,
    /// How often each question is asked at most, and for how long.
    pub asked_max: usize,
    /// Longest time for one question's repetitions.
    pub asked_for_max: Duration,
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

/// One size: how it was made and how the server starts over it.
#[derive(Debug, Clone, Serialize)]
pub struct Size {
    /// Always `growth-size`.
    pub bench: &'static str,
    /// Studies in the archive.
    pub studies: u64,
    /// How it was filled; absent when it was there.
    pub filled: Option<Filled>,
    /// Milliseconds from the start of the process to its ready line.
    pub ready_ms: f64,
    /// The same after a SIGKILL.
    pub ready_after_kill_ms: f64,
    /// Bytes of the files of the index's Postgres.
    pub postgres_bytes: u64,
}

/// A line of the result.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Line {
    /// A size.
    Size(Size),
    /// A question.
    Asked(Asked),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => {
                let Size { studies, ready_ms, ready_after_kill_ms, postgres_bytes, .. } = size;
                writeln!(
                    f,
                    "\n{studies} studies: ready after {ready_ms:.0} ms, after SIGKILL {ready_after_kill_ms:.0} ms"
                )?;
                if let Some(Filled { instances, received_seconds, packed_seconds, cpu_seconds }) = size.filled {
                    let taken = format!("{received_seconds:.1} s, packed in {packed_seconds:.1} s");
                    writeln!(f, "{instances} instances received in {taken}, {cpu_seconds:.1} CPU s without Postgres")?;
                }
                let mib = postgres_bytes >> 20;
                writeln!(f, "files of the index: {mib} MiB\n")?;
                write!(
                    f,
                    "| question | matches | p50 ms | p99 ms | CPU ms | p50 grew | p99 grew |\n|---|--:|--:|--:|--:|--:|--:|"
                )
            }
            Self::Asked(asked) => {
                let Asked { shape, matches, p50_ms, p99_ms, cpu_ms, p50_ratio, p99_ratio, .. } = asked;
                write!(f, "| {shape} | {matches:.1} | {p50_ms:.2} | {p99_ms:.2} | {cpu_ms:.2} ")?;
                write!(f, "| {p50_ratio:.2} | {p99_ratio:.2} |")
            }
        }
    }
}

/// Runs the whole; `report` gets each line as it is known.
pub fn run(options: &Options, mut report: impl FnMut(&Line) -> anyhow::Result<()>) -> anyhow::Result<()> {
    ensure!(options.sizes.is_sorted() && !options.sizes.is_empty(), "sizes must ascend");
    let mut populations: Vec<Population> = Vec::new();
    let mut smallest: BTreeMap<&'static str, (f64, f64)> = BTreeMap::new();
    for size in &options.sizes {
        let first = populations.last().map_or(0, |last| last.first + last.studies);
        let population = Population { first, studies: size - first };
        let filled = fill_once(options, population).with_context(|| format!("fill up to {size} studies"))?;
        populations.push(population);
        report(&Line::Size(start_twice(options, *size, filled)?))?;
        let server = serve::Server::start(&options.binary, &options.directory)?;
        for shape in shape::all() {
            let mut asked = ask::ask(&server, &shape, &populations, options)
                .with_context(|| format!("{} at {size} studies", shape.name))?;
            let (p50, p99) = *smallest.entry(shape.name).or_insert((asked.p50_ms, asked.p99_ms));
            (asked.p50_ratio, asked.p99_ratio) = (rounded(asked.p50_ms / p50), rounded(asked.p99_ms / p99));
            report(&Line::Asked(asked))?;
        }
        server.stop()?;
    }
    Ok(())
}

/// Fills unless a mark says that it was done.
fn fill_once(options: &Options, population: Population) -> anyhow::Result<Option<Filled>> {
    let mark = options.directory.join(format!("filled-{}-{}", population.first, population.studies));
    if mark.exists() || population.studies == 0 {
        return Ok(None);
    }
    let filled = fill(&options.directory.join("data"), population)?;
    std::fs::write(mark, "").context("mark what was filled")?;
    Ok(Some(filled))
}

fn start_twice(options: &Options, studies: u64, filled: Option<Filled>) -> anyhow::Result<Size> {
    let mut ready_ms = [0.0; 2];
    for (time, kill) in ready_ms.iter_mut().zip([true, false]) {
        let started = Instant::now();
        let server = serve::Server::start(&options.binary, &options.directory)?;
        *time = millis(started.elapsed());
        if kill { server.kill()? } else { server.stop()? }
    }
    let [ready_ms, ready_after_kill_ms] = ready_ms;
    let postgres_bytes = bytes_below(&options.directory.join("data/postgres/cluster/base"))?;
    Ok(Size { bench: "growth-size", studies, filled, ready_ms, ready_after_kill_ms, postgres_bytes })
}

fn bytes_below(directory: &std::path::Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

fn millis(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}

fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
