//! How queries, start and size grow with the archive: the same questions of archives of every size, ratios to the smallest.
//!
//! Archives are filled below the network (`fill`), everything else is asked from outside.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde::Serialize;
use testdata::Population;

use crate::comparison::settle_processes;
use crate::measure::pages::footprint;
use crate::process::Place;

use asked::{Archive, rounded};
pub use asked::{Asked, Options};
pub use fill::{Filled, fill};

mod ask;
mod asked;
mod fill;
mod shape;

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
                    "{studies} studies: ready after {ready_ms:.0} ms, after SIGKILL {ready_after_kill_ms:.0} ms"
                )?;
                if let Some(Filled { instances, received_seconds, packed_seconds, cpu_seconds }) = size.filled {
                    let taken = format!("{received_seconds:.1} s, packed in {packed_seconds:.1} s");
                    writeln!(f, "{instances} instances received in {taken}, {cpu_seconds:.1} CPU s with Postgres")?;
                }
                write!(f, "files of the index: {} MiB", postgres_bytes >> 20)
            }
            Self::Asked(asked) => {
                let Asked { studies, shape, matches, p50_ms, p99_ms, cpu_ms, p50_ratio, p99_ratio, .. } = asked;
                write!(f, "| {shape} | {studies} | {matches:.1} | {p50_ms:.2} | {p99_ms:.2} | {cpu_ms:.2} ")?;
                write!(f, "| {p50_ratio:.2} | {p99_ratio:.2} |")
            }
        }
    }
}

/// Heads of the columns of questions.
pub const COLUMNS: &str = "| question | studies | matches | p50 ms | p99 ms | CPU ms | p50 grew | p99 grew |\n\
    |---|--:|--:|--:|--:|--:|--:|--:|";

/// Runs the whole; `report` gets each line as it is known.
pub fn run(options: &Options, mut report: impl FnMut(&Line) -> anyhow::Result<()>) -> anyhow::Result<()> {
    ensure!(options.sizes.is_sorted() && options.sizes.first().is_some_and(|size| *size > 0), "sizes must ascend");
    let mut archives = Vec::new();
    for studies in &options.sizes {
        let population = Population { first: 0, studies: *studies };
        let (size, archive) =
            open(options, population).with_context(|| format!("make an archive of {studies} studies"))?;
        report(&Line::Size(size))?;
        archives.push(archive);
    }
    // A start goes on for some seconds: it reads what of the index was in memory before.
    let pids =
        archives.iter().map(|archive| Ok(i32::try_from(archive.server.pid()?)?)).collect::<anyhow::Result<Vec<_>>>()?;
    settle_processes(&pids);
    for shape in shape::all() {
        let mut smallest = None;
        for mut asked in ask::ask(&archives, &shape, options)? {
            let (p50, p99) = *smallest.get_or_insert((asked.p50_ms, asked.p99_ms));
            (asked.p50_ratio, asked.p99_ratio) = (rounded(asked.p50_ms / p50), rounded(asked.p99_ms / p99));
            report(&Line::Asked(asked))?;
        }
    }
    archives.into_iter().try_for_each(|archive| archive.server.stop())
}

/// Fills an archive unless a mark says that it was done, and starts its server: twice, once after SIGKILL.
fn open(options: &Options, population: Population) -> anyhow::Result<(Size, Archive)> {
    let directory = options.directory.join(population.studies.to_string());
    let data = directory.join("data");
    let filled = fill_once(&directory, population)?;
    let config = config(&data);
    let place = Place::with(&options.binary, &directory, &config)?;
    let ready = || {
        let started = Instant::now();
        let server = place.serve()?;
        anyhow::Ok((server, rounded(started.elapsed().as_secs_f64() * 1e3)))
    };
    let (first, ready_ms) = ready()?;
    first.kill()?;
    let (server, ready_after_kill_ms) = ready()?;
    let postgres_bytes = footprint(&[data.join("postgres/cluster/base")]).bytes;
    let studies = population.studies;
    let size = Size { bench: "growth-size", studies, filled, ready_ms, ready_after_kill_ms, postgres_bytes };
    let pid = i32::try_from(server.pid()?).context("read the process's number")?;
    Ok((size, Archive { population, server, pid }))
}

/// Fills the archive in a directory unless a mark says that it was done.
fn fill_once(directory: &Path, population: Population) -> anyhow::Result<Option<Filled>> {
    let (data, mark) = (directory.join("data"), directory.join("filled"));
    if mark.exists() {
        return Ok(None);
    }
    ensure!(!data.exists(), "{} was not filled to its end: remove it", data.display());
    let filled = fill(&data, population)?;
    std::fs::write(mark, "").context("mark what was filled")?;
    Ok(Some(filled))
}

/// The defaults of `filmroom serve` on free ports.
fn config(data: &Path) -> String {
    let listen = "listen = \"127.0.0.1:0\"";
    format!("data = \"{}\"\n[dicom]\n{listen}\n[http]\n{listen}\n", data.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_is_filled_is_used_again_and_a_part_of_one_is_not() {
        let kept = tempfile::tempdir().unwrap();
        // Nothing is filled here: the mark decides first, then what was left behind.
        let population = Population { first: 0, studies: 1 };
        std::fs::create_dir(kept.path().join("data")).unwrap();
        let error = fill_once(kept.path(), population).unwrap_err().to_string();
        assert!(error.ends_with("was not filled to its end: remove it"), "{error}");
        std::fs::write(kept.path().join("filled"), "").unwrap();
        assert!(fill_once(kept.path(), population).unwrap().is_none());
    }
}
