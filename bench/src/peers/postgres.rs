//! A throw-away Postgres cluster for a peer's index.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use rustix::process::{Signal, geteuid};

use super::{Process, free_port};

/// User that runs Postgres when we are root: Postgres refuses to be root.
const USER: &str = "postgres";
/// Where distributions keep the programs, one directory a version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Database of the index, and its owner.
pub(super) const DATABASE: &str = "orthanc";

/// A cluster that runs.
#[derive(Debug)]
pub(super) struct Cluster {
    /// Its first process.
    pub(super) process: Process,
    /// Its port on 127.0.0.1.
    pub(super) port: u16,
}

/// Returns the directory of the newest installed programs.
pub(super) fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).ok()?.filter_map(Result::ok);
    let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max()?;
    let programs = Path::new(VERSIONS).join(newest.to_string()).join("bin");
    programs.join("initdb").exists().then_some(programs)
}

/// Creates the cluster if there is none and starts it, with the memory of a small server and synchronous commits.
pub(super) fn start(programs: &Path, directory: &Path) -> anyhow::Result<Cluster> {
    let cluster = directory.join("postgres");
    let fresh = !cluster.join("PG_VERSION").exists();
    if fresh {
        fs::create_dir_all(&cluster).context("create the cluster's directory")?;
        hand_over(&cluster)?;
        let initdb = programs.join("initdb");
        let mut command = as_user(&initdb);
        command.arg("-D").arg(&cluster).args(["-A", "trust", "-U", DATABASE, "--locale=C.UTF-8", "-E", "UTF8"]);
        run(&mut command).context("create a Postgres cluster")?;
    }
    let port = free_port()?;
    let mut command = as_user(&programs.join("postgres"));
    command.arg("-D").arg(&cluster);
    for setting in settings(port) {
        command.arg("-c").arg(setting);
    }
    let mut process = Process::start(&mut command, &directory.join("postgres.log"), Signal::INT)?;
    let psql = |database: &str, statement: &str| {
        let mut command = Command::new(programs.join("psql"));
        command.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", DATABASE, "-d", database]);
        command.args(["-c", statement]);
        run(&mut command)
    };
    process.wait_until(|| psql("postgres", "select 1").is_ok())?;
    if fresh {
        psql("postgres", &format!("create database {DATABASE}")).context("create the database")?;
    }
    Ok(Cluster { process, port })
}

fn settings(port: u16) -> [String; 9] {
    [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "shared_buffers=512MB".to_owned(),
        "effective_cache_size=2GB".to_owned(),
        "work_mem=16MB".to_owned(),
        "max_wal_size=2GB".to_owned(),
        "checkpoint_timeout=15min".to_owned(),
        "max_connections=120".to_owned(),
    ]
}

/// Runs a program as the unprivileged user, or as ourselves when we are not root.
fn as_user(program: &Path) -> Command {
    let mut command;
    if geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
    } else {
        command = Command::new(program);
    }
    command.current_dir("/");
    command
}

fn hand_over(directory: &Path) -> anyhow::Result<()> {
    if geteuid().is_root() {
        run(Command::new("chown").arg(format!("{USER}:")).arg(directory)).context("hand the cluster over")?;
    }
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("run {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
