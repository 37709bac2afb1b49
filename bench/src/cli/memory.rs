//! `bench memory`: arguments and output.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use bench::memory::{Options, free_bytes, run};
use clap::Args;

/// What a packed byte takes at 4+2, in percent, with some room.
const PACKED_PERCENT: u64 = 160;
/// Segments, Postgres and logs.
const MORE_BYTES: u64 = 2 << 30;
/// Smallest journal that is worth trying.
const JOURNAL_BYTES_MIN: u64 = 1 << 30;

/// Arguments of `bench memory`.
#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// The binary to try, best a release build.
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// Associations that send an instance each, at once.
    #[arg(long, default_value_t = 64)]
    associations: u32,
    /// Length of such an instance.
    #[arg(long, default_value_t = 500)]
    megabytes: u64,
    /// HTTP clients that read a study slowly.
    #[arg(long, default_value_t = 32)]
    pullers: u32,
    /// Length of the study.
    #[arg(long, default_value_t = 2000)]
    study_megabytes: u64,
    /// Length of its instances.
    #[arg(long, default_value_t = 32)]
    study_instance_megabytes: u64,
    /// How fast each of the clients reads.
    #[arg(long, default_value_t = 8)]
    pull_megabytes_per_second: u64,
    /// Small studies in the index, all of which are asked for.
    #[arg(long, default_value_t = 4000)]
    studies: u64,
    /// Clients that ask for all of them, by QIDO-RS and by C-FIND.
    #[arg(long, default_value_t = 16)]
    searchers: u32,
    /// Limit of the journal; absent: so much that all fits, or what the disk has room for.
    #[arg(long)]
    journal_gigabytes: Option<u64>,
    /// Resident bytes that the server may have.
    #[arg(long, default_value_t = 512)]
    limit_mebibytes: u64,
    /// A short question that waits longer for its answer was starved.
    #[arg(long, default_value_t = 5000)]
    answer_milliseconds: u64,
    /// How long the slow clients read at least.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Where to keep the server's data; absent: a temporary directory.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Everything small: shows that the trial works, not that the server does.
    #[arg(long)]
    smoke: bool,
}

/// Runs the trial, writes a line of JSON, and fails when the report does.
pub(crate) fn run_and_report(arguments: Memory) -> anyhow::Result<ExitCode> {
    let arguments = if arguments.smoke { small(arguments) } else { arguments };
    let temporary = tempfile::TempDir::new()?;
    // The embedded Postgres of a server that runs as root is another user's.
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755))?;
    let options = options(arguments, temporary.path())?;
    let report = run(&options)?;
    writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?;
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn small(arguments: Memory) -> Memory {
    Memory {
        associations: 8,
        megabytes: 16,
        pullers: 4,
        study_megabytes: 64,
        studies: 100,
        searchers: 2,
        answer_milliseconds: 60_000,
        seconds: 2,
        ..arguments
    }
}

fn options(arguments: Memory, temporary: &std::path::Path) -> anyhow::Result<Options> {
    let directory = arguments.directory.unwrap_or_else(|| temporary.to_owned());
    fs::create_dir_all(&directory).context("make the directory")?;
    let instance_bytes = arguments.megabytes * 1_000_000;
    let sent_bytes = instance_bytes * u64::from(arguments.associations);
    let study_bytes = arguments.study_megabytes * 1_000_000;
    let packed = |bytes: u64| bytes / 100 * PACKED_PERCENT;
    let room = free_bytes(&directory)?.saturating_sub(packed(study_bytes) + MORE_BYTES);
    // All that is sent may lie in the journal, or packed, or partly so.
    let fits = room.saturating_sub(packed(sent_bytes)).min((sent_bytes + study_bytes) * 2 + MORE_BYTES);
    let journal_bytes = arguments.journal_gigabytes.map_or(fits, |gigabytes| gigabytes << 30);
    ensure!(
        journal_bytes >= JOURNAL_BYTES_MIN,
        "the disk has no room for {sent_bytes} bytes: ask for less, or set --journal-gigabytes"
    );
    Ok(Options {
        binary: arguments.binary,
        directory,
        associations: arguments.associations,
        instance_bytes,
        pullers: arguments.pullers,
        study_bytes,
        study_instance_bytes: arguments.study_instance_megabytes * 1_000_000,
        pull_bytes_per_second: arguments.pull_megabytes_per_second * 1_000_000,
        studies: arguments.studies,
        searchers: arguments.searchers,
        journal_bytes,
        resident_bytes_max: arguments.limit_mebibytes << 20,
        answer_wait_max: Duration::from_millis(arguments.answer_milliseconds),
        at_least: Duration::from_secs(arguments.seconds),
    })
}
