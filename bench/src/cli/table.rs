//! `bench table`.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, anyhow, ensure};
use bench::comparison::Comparison;
use bench::measure::limits::Limits;
use bench::measure::machine::Machine;
use bench::peers::Programs;
use bench::report::{self, Outcome, progress};
use bench::rows::{ROWS, Row};
use bench::sizes::Sizes;
use clap::Args;
use serde::Serialize;

/// What `bench table` takes.
#[derive(Debug, Args)]
pub(crate) struct Table {
    /// Our binary, a release build.
    #[arg(long, value_name = "FILE", default_value = "target/release/filmroom")]
    binary: PathBuf,
    /// Turns of each peer; the medians count.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Only these rows.
    #[arg(long, value_delimiter = ',', value_name = "A1,A2,...")]
    rows: Vec<String>,
    /// See quickly that every row works: tiny sizes, ours with storescp and nginx only, nothing is judged.
    #[arg(long)]
    smoke: bool,
    /// Orthanc of the system.
    #[arg(long, value_name = "FILE", default_value = "/usr/sbin/Orthanc")]
    orthanc: PathBuf,
    /// Root of an unpacked newer Orthanc with its libraries.
    #[arg(long, value_name = "DIR")]
    orthanc_root: Option<PathBuf>,
    /// DCMTK's storescp.
    #[arg(long, value_name = "FILE", default_value = "/usr/bin/storescp")]
    storescp: PathBuf,
    /// nginx.
    #[arg(long, value_name = "FILE", default_value = "/usr/sbin/nginx")]
    nginx: PathBuf,
    /// A file that every outcome is added to, a line of JSON each.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where peers keep their data meanwhile; absent: a temporary directory.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Instances of a large study and of an association's turn; absent: 1,000.
    #[arg(long)]
    slices: Option<u32>,
    /// Sealed instances that a start is measured with; absent: 1,000,000.
    #[arg(long)]
    sealed: Option<u32>,
    /// Mebibytes in the journal at the kill; absent: 4,096.
    #[arg(long)]
    journal: Option<u64>,
    /// Studies of the archives between which growth is measured; absent: 10,000 and 1,000,000.
    #[arg(long, value_delimiter = ',', value_name = "SMALL,LARGE")]
    growth: Vec<u64>,
    /// Where to keep those archives, to use them again, as `bench growth` does; absent: made anew and removed.
    #[arg(long, value_name = "DIR")]
    growth_directory: Option<PathBuf>,
}

/// A line of JSON: what was measured.
#[derive(Debug, Serialize)]
struct Measured {
    /// What our binary says with `--version`.
    version: String,
}

/// Where lines of JSON go.
struct Lines(Option<File>);

/// Measures, prints the table, and fails when a row could not be measured.
pub(crate) fn run(arguments: Table) -> anyhow::Result<ExitCode> {
    let rows = rows(&arguments.rows)?;
    let mut lines = Lines::open(arguments.json.as_deref())?;
    let parent = arguments.directory.clone().unwrap_or_else(std::env::temp_dir);
    // Postgres runs as a user of its own, which has to reach its directory.
    let open = std::fs::Permissions::from_mode(0o755);
    let temporary = tempfile::Builder::new().prefix("bench-table-").permissions(open).tempdir_in(&parent);
    let temporary = temporary.with_context(|| format!("create a directory in {}", parent.display()))?;
    let machine = (Machine::here(), Limits::measure(temporary.path())?);
    lines.add(&machine)?;
    lines.add(&Measured { version: version(&arguments.binary)? })?;
    let mut comparison = comparison(arguments, temporary.path())?;
    let (mut outcomes, mut failed) = (Vec::new(), Vec::new());
    for row in rows {
        let begun = Instant::now();
        progress(&format!("{}: measuring", row.name));
        match (row.measure)(&mut comparison).and_then(|found| check(row, found)) {
            Ok(found) => {
                found.iter().try_for_each(|outcome| lines.add(outcome))?;
                outcomes.extend(found);
            }
            Err(error) => {
                progress(&format!("{}: {error:#}", row.name));
                failed.push(format!("{}: {error:#}", row.name));
            }
        }
        progress(&format!("{}: took {:.1} s", row.name, begun.elapsed().as_secs_f64()));
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{}\n{}\n\n{}", machine.0, machine.1, report::table(&outcomes, !comparison.smoke))?;
    failed.iter().try_for_each(|line| writeln!(out, "NOT MEASURED {line}"))?;
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn version(binary: &Path) -> anyhow::Result<String> {
    let binary = std::path::absolute(binary).context("find the binary")?;
    let output = Command::new(&binary).arg("--version").output();
    let output = output.with_context(|| format!("run {}", binary.display()))?;
    ensure!(output.status.success(), "{} --version: {}", binary.display(), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn rows(names: &[String]) -> anyhow::Result<Vec<&'static Row>> {
    let unknown = names.iter().find(|name| !ROWS.iter().any(|row| row.name.eq_ignore_ascii_case(name)));
    ensure!(unknown.is_none(), "there is no row {}", unknown.map_or("", String::as_str));
    let wanted = |row: &&Row| names.is_empty() || names.iter().any(|name| row.name.eq_ignore_ascii_case(name));
    Ok(ROWS.iter().filter(wanted).collect())
}

fn comparison(arguments: Table, directory: &Path) -> anyhow::Result<Comparison> {
    let mut sizes = if arguments.smoke { Sizes::smoke() } else { Sizes::full() };
    sizes.slices = arguments.slices.unwrap_or(sizes.slices);
    sizes.sealed_instances = arguments.sealed.unwrap_or(sizes.sealed_instances);
    sizes.journal_bytes = arguments.journal.map_or(sizes.journal_bytes, |mebibytes| mebibytes << 20);
    if !arguments.growth.is_empty() {
        sizes.growth = arguments.growth.try_into().map_err(|_| anyhow!("--growth takes two numbers of studies"))?;
    }
    let growth_directory = arguments.growth_directory.map(std::path::absolute).transpose();
    let programs = Programs {
        filmroom: arguments.binary,
        orthanc: arguments.orthanc,
        orthanc_root: arguments.orthanc_root,
        storescp: arguments.storescp,
        nginx: arguments.nginx,
        destinations: Vec::new(),
    };
    let runs = if arguments.smoke { 1 } else { arguments.runs.max(1) };
    let mut comparison = Comparison::open(programs, directory, runs, sizes, arguments.smoke)?;
    comparison.growth_directory = growth_directory.context("find the directory of the growing archives")?;
    Ok(comparison)
}

/// A row without a figure of ours, or with one that is not a number, was not measured.
fn check(row: &Row, outcomes: Vec<Outcome>) -> anyhow::Result<Vec<Outcome>> {
    let sane = |outcome: &Outcome| outcome.ours.is_some_and(|ours| ours.is_finite() && ours >= 0.0);
    for outcome in &outcomes {
        ensure!(sane(outcome), "{} has no figure: {:?}", outcome.workload, outcome.ours);
    }
    ensure!(!outcomes.is_empty(), "{} has no outcome", row.name);
    Ok(outcomes)
}

impl Lines {
    fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let open = |path: &Path| File::options().create(true).append(true).open(path);
        Ok(Self(path.map(open).transpose().context("open the file of results")?))
    }

    fn add(&mut self, line: &impl Serialize) -> anyhow::Result<()> {
        if let Some(file) = &mut self.0 {
            writeln!(file, "{}", serde_json::to_string(line)?).context("write a result")?;
        }
        Ok(())
    }
}
