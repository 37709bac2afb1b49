//! `bench crash`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use bench::crash::{self, Round};
use clap::{Args, ValueEnum};
use serde::Serialize;

/// What `bench crash` takes.
#[derive(Debug, Args)]
pub(crate) struct Crash {
    /// The binary to try, best a release build.
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// How often to kill.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Decides on the data and on the moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Associations that send at a time, at most 10.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10))]
    associations: u32,
    /// What is killed.
    #[arg(long, value_enum, default_value_t = Victim::Server)]
    victim: Victim,
    /// After how many rounds a new data directory is begun.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    fresh_every: u32,
    /// Where to keep the server's data; absent: a temporary directory.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Victim {
    /// The server.
    Server,
    /// Its Postgres.
    Postgres,
    /// The one or the other or both.
    Both,
}

/// All rounds together.
#[derive(Debug, Default, Serialize)]
struct Summary {
    rounds: usize,
    unclean: usize,
    acknowledged: usize,
    lost: usize,
    resent: usize,
    recovered_after_ms_median: u128,
    recovered_after_ms_most: u128,
    longest_wait_ms_median: u128,
    longest_wait_ms_most: u128,
}

/// Kills and compares, and prints a line for every round.
pub(crate) fn run(arguments: Crash) -> anyhow::Result<ExitCode> {
    let temporary = tempfile::TempDir::new()?;
    let options = crash::Options {
        binary: arguments.binary,
        directory: arguments.directory.unwrap_or_else(|| temporary.path().to_owned()),
        rounds: arguments.rounds,
        seed: arguments.seed,
        associations: arguments.associations,
        victim: match arguments.victim {
            Victim::Server => crash::Victim::Server,
            Victim::Postgres => crash::Victim::Postgres,
            Victim::Both => crash::Victim::Both,
        },
        fresh_every: arguments.fresh_every,
        ..crash::Options::default()
    };
    let mut rounds = Vec::new();
    for round in crash::run(&options) {
        let round = round?;
        writeln!(io::stdout(), "{}", serde_json::to_string(&round)?)?;
        rounds.push(round);
    }
    let summary = summary(&rounds);
    writeln!(io::stdout(), "{}", serde_json::to_string(&summary)?)?;
    Ok(if summary.unclean == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(rounds: &[Round]) -> Summary {
    let (recovered, recovered_most) = median_and_most(rounds.iter().map(|round| round.recovered_after_ms));
    let (wait, wait_most) = median_and_most(rounds.iter().map(|round| round.longest_wait_ms));
    Summary {
        rounds: rounds.len(),
        unclean: rounds.iter().filter(|round| !round.is_clean()).count(),
        acknowledged: rounds.iter().map(|round| round.acknowledged).sum(),
        lost: rounds.iter().map(|round| round.compared.lost.len()).sum(),
        resent: rounds.iter().map(|round| round.resent).sum(),
        recovered_after_ms_median: recovered,
        recovered_after_ms_most: recovered_most,
        longest_wait_ms_median: wait,
        longest_wait_ms_most: wait_most,
    }
}

fn median_and_most(times: impl Iterator<Item = u128>) -> (u128, u128) {
    let mut times: Vec<u128> = times.collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied();
    (median.unwrap_or_default(), times.last().copied().unwrap_or_default())
}
