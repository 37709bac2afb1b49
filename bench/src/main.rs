//! The binary `bench`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use bench::crash;
use clap::{Args, Parser, Subcommand};

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
    /// Where to keep the server's data; absent: a temporary directory.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let Trial::Crash(arguments) = Cli::parse().trial;
    let temporary = tempfile::TempDir::new()?;
    let options = crash::Options {
        binary: arguments.binary,
        directory: arguments.directory.unwrap_or_else(|| temporary.path().to_owned()),
        rounds: arguments.rounds,
        seed: arguments.seed,
        associations: arguments.associations,
        ..crash::Options::default()
    };
    let mut clean = true;
    for round in crash::run(&options)? {
        let round = round?;
        clean &= round.is_clean();
        writeln!(io::stdout(), "{}", serde_json::to_string(&round)?)?;
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
