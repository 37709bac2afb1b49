//! `bench crash`.

use std::fs;
use std::io::{self, Write};
use std::mem;
use std::os::unix::fs::PermissionsExt;
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
    /// Seed of the first round, which decides on its data and its moment; each further round has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many servers to try at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
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
    failed: usize,
    unclean: usize,
    acknowledged: usize,
    lost: usize,
    resent: usize,
    recovered_after_ms_median: u128,
    recovered_after_ms_most: u128,
    longest_wait_ms_median: u128,
    longest_wait_ms_most: u128,
}

/// A round that could not be run to its end.
#[derive(Debug, Serialize)]
struct Failed {
    seed: u64,
    error: String,
}

/// Kills and compares, and prints a line for every round.
pub(crate) fn run(arguments: Crash) -> anyhow::Result<ExitCode> {
    let temporary = tempfile::TempDir::new()?;
    // The embedded Postgres of a server that runs as root is another user's.
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755))?;
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
    let (mut rounds, mut failed) = (Vec::new(), 0);
    let mut written = Ok(());
    crash::run_parallel(&options, usize::from(arguments.parallel), |(seed, found)| {
        let line = match found {
            Ok(round) => {
                let line = serde_json::to_string(&round);
                rounds.push(round);
                line
            }
            Err(error) => {
                failed += 1;
                serde_json::to_string(&Failed { seed, error: format!("{error:#}") })
            }
        };
        let line = line.map_err(io::Error::from).and_then(|line| writeln!(io::stdout(), "{line}"));
        written = mem::replace(&mut written, Ok(())).and(line);
    });
    written?;
    let summary = summary(&rounds, failed);
    writeln!(io::stdout(), "{}", serde_json::to_string(&summary)?)?;
    Ok(if summary.unclean + summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(rounds: &[Round], failed: usize) -> Summary {
    let (recovered, recovered_most) = median_and_most(rounds.iter().map(|round| round.recovered_after_ms));
    let (wait, wait_most) = median_and_most(rounds.iter().map(|round| round.longest_wait_ms));
    Summary {
        rounds: rounds.len(),
        failed,
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
