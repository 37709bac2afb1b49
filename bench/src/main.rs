//! The binary `bench`.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bench::crash::{self, Round};
use bench::growth;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

/// Trials of a running Filmroom from outside.
#[derive(Debug, Parser)]
#[command(name = "bench", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    trial: Trial,
}

#[derive(Debug, Subcommand)]
enum Trial {
    /// Kill a server with SIGKILL while it takes instances in, and see that nothing acknowledged is lost.
    Crash(Crash),
    /// Fill archives of growing size and ask the same questions at each.
    Growth(Growth),
}

#[derive(Debug, Args)]
struct Growth {
    /// The binary to try, best a release build.
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// Where to keep the archive, which grows on when it is there; absent: a temporary directory.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Studies to measure at, ascending.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    studies: Vec<u64>,
    /// Only see that it works: 500 and 1,000 studies, some questions of each kind.
    #[arg(long)]
    smoke: bool,
    /// Write JSON lines instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Crash {
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

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().trial {
        Trial::Crash(arguments) => run_crash(arguments),
        Trial::Growth(arguments) => run_growth(arguments),
    }
}

fn run_growth(arguments: Growth) -> anyhow::Result<ExitCode> {
    let temporary = tempfile::TempDir::new()?;
    // The embedded Postgres of root is another user's.
    std::fs::set_permissions(temporary.path(), std::fs::Permissions::from_mode(0o755))?;
    let directory = arguments.directory.unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&directory)?;
    let (sizes, asked_max) = if arguments.smoke { (vec![500, 1_000], 5) } else { (arguments.studies, 1_000) };
    let binary = std::path::absolute(arguments.binary)?;
    let options = growth::Options { binary, directory, sizes, asked_max, asked_for_max: Duration::from_secs(10) };
    growth::run(&options, |line| {
        let text = if arguments.json { serde_json::to_string(line)? } else { line.to_string() };
        Ok(writeln!(io::stdout(), "{text}")?)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn run_crash(arguments: Crash) -> anyhow::Result<ExitCode> {
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
