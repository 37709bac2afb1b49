//! `bench growth`.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bench::growth;
use clap::Args;

/// What `bench growth` takes.
#[derive(Debug, Args)]
pub(crate) struct Growth {
    /// The binary to try, best a release build.
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// Where to keep the archives, to use them again; absent: a temporary directory.
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

/// Fills, asks, and prints a line for every kind of question at every size.
pub(crate) fn run(arguments: Growth) -> anyhow::Result<ExitCode> {
    let temporary = tempfile::TempDir::new()?;
    // The embedded Postgres of root is another user's.
    fs::set_permissions(temporary.path(), Permissions::from_mode(0o755))?;
    let directory = arguments.directory.unwrap_or_else(|| temporary.path().to_owned());
    let directory = std::path::absolute(directory)?;
    fs::create_dir_all(&directory)?;
    let (sizes, asked_max) = if arguments.smoke { (vec![500, 1_000], 5) } else { (arguments.studies, 1_000) };
    let binary = std::path::absolute(arguments.binary)?;
    let options = growth::Options { binary, directory, sizes, asked_max, asked_for_max: Duration::from_secs(10) };
    let mut asked = false;
    growth::run(&options, |line| {
        if !arguments.json && !asked && matches!(line, growth::Line::Asked(_)) {
            asked = true;
            writeln!(io::stdout(), "\n{}", growth::COLUMNS)?;
        }
        let text = if arguments.json { serde_json::to_string(line)? } else { line.to_string() };
        Ok(writeln!(io::stdout(), "{text}")?)
    })?;
    Ok(ExitCode::SUCCESS)
}
