//! A Postgres of our own under the data directory, for archives without a database URL.
//!
//! The cluster is made with the machine's PostgreSQL programs, listens on a Unix socket only, and trusts the user that
//! owns it and the user of this process by `peer`. Its log never holds parameters or keys, for they may name patients.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::error::Error;
use failure::{cluster_error, io_error};
use owner::Owner;
use process::POLL;
use programs::Programs;

mod cache;
mod failure;
mod orphan;
mod owner;
mod process;
mod programs;
mod socket;

/// Role and database of the archive.
const ROLE: &str = "filmroom";
/// The port only names the socket file.
const PORT: u16 = 5432;
/// Longest wait for a start: crash recovery replays up to `max_wal_size` of log.
const START_LONGEST: Duration = Duration::from_mins(5);
/// Longest wait for a fast shutdown, which writes a checkpoint.
const STOP_LONGEST: Duration = Duration::from_mins(1);
/// A log that is longer is emptied at the next start.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// How often a server that ends at once is started again, ever more slowly: over some ten seconds.
const START_ATTEMPTS: u32 = 10;
/// Beginning of the name of a cluster that initdb is making.
const UNFINISHED: &str = "cluster.unfinished";

/// A running server. Dropped without `stop`, it is told to shut down and not waited for.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    child: Child,
    pid: Pid,
    options: PgConnectOptions,
    directory: PathBuf,
    cache_bytes: Option<u64>,
    stopped: bool,
}

impl EmbeddedPostgres {
    /// Starts the server under `directory`, making the cluster first if there is none, with `cache_bytes` of memory for its
    /// pages or, without, a quarter of the machine's, 128 MiB to 8 GiB. A server that an earlier
    /// process left behind is shut down first, so only the owner of the data directory's lock may call this. Takes
    /// some seconds the first time. A dropped call may leave such a server behind.
    pub async fn start(directory: &Path, cache_bytes: Option<u64>) -> Result<Self, Error> {
        let directory = prepare(directory)?;
        let owner = Owner::choose()?;
        owner.own(&directory)?;
        let cluster = directory.join("cluster");
        let programs = Programs::find(&cluster).await?;
        orphan::stop(&cluster).await?;
        sweep(&directory)?;
        if !cluster.join("PG_VERSION").exists() {
            initialise(&programs, &owner, &directory, &cluster).await?;
        }
        access(&owner, &cluster)?;
        let socket = socket::directory(&directory, &owner)?;
        let options = PgConnectOptions::new_without_pgpass()
            .socket(&socket)
            .port(PORT)
            .username(ROLE)
            .application_name("filmroom")
            .database("postgres");
        let cached = cache::settings(cache_bytes, &programs.path("postgres"));
        let spawn = || spawn(&programs, &owner, (&directory, &cluster, &socket), &cached);
        let (child, pid) = timeout(START_LONGEST, running(spawn, &options, &directory, &cluster))
            .await
            .map_err(|_| cluster_error("postgres is not ready after five minutes, see postgres.log"))??;
        Ok(Self { child, pid, options: options.database(ROLE), directory, cache_bytes, stopped: false })
    }

    /// Returns how to connect to the archive's database.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Returns the process id of the server.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Tells whether the server still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Starts the server again if it ended, which `options` do not notice; tells whether it had. For a supervisor to
    /// call from time to time.
    pub async fn revive(&mut self) -> Result<bool, Error> {
        if self.child.try_wait().map_err(io_error("wait for postgres"))?.is_none() {
            return Ok(false);
        }
        tracing::error!("the archive's own Postgres ended and is started again");
        *self = Self::start(&self.directory.clone(), self.cache_bytes).await?;
        Ok(true)
    }

    /// Shuts the server down: open connections are ended, a checkpoint is written.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.stopped = true;
        process::signal(self.pid, Signal::INT);
        timeout(STOP_LONGEST, self.child.wait())
            .await
            .map_err(|_| cluster_error("postgres does not shut down, see postgres.log"))?
            .map_err(|source| Error::Io { doing: "wait for postgres", source })?;
        Ok(())
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        if !self.stopped && self.child.id().is_some() {
            process::signal(self.pid, Signal::INT);
        }
    }
}

fn prepare(directory: &Path) -> Result<PathBuf, Error> {
    std::fs::create_dir_all(directory).map_err(io_error("make the cluster's directory"))?;
    directory.canonicalize().map_err(io_error("find the cluster's directory"))
}

/// Removes what an initdb left that was killed, or whose caller was.
fn sweep(directory: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(directory).map_err(io_error("list the cluster's directory"))? {
        let entry = entry.map_err(io_error("list the cluster's directory"))?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::info!(%error, "an unfinished cluster is left for the next start to remove");
        }
    }
    Ok(())
}

/// Makes the cluster beside its place and renames it, so that a half-made one is never taken for a whole one.
async fn initialise(programs: &Programs, owner: &Owner, directory: &Path, cluster: &Path) -> Result<(), Error> {
    // A name of its own: the initdb of a process that was killed goes on for a while.
    let unfinished = directory.join(format!("{UNFINISHED}{}", Uuid::new_v4()));
    let mut command = Command::new(programs.path("initdb"));
    command
        .args(["--username", ROLE, "--encoding", "UTF8", "--locale", "C", "--data-checksums"])
        .args(["--auth-local", "peer", "--auth-host", "reject", "--pgdata"])
        .arg(&unfinished)
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    owner.run_as(&mut command);
    let output = command.output().await.map_err(io_error("run initdb"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().rfind(|line| line.contains("error")).unwrap_or("no reason given");
        return Err(cluster_error(format!("initdb failed: {line}")));
    }
    std::fs::rename(&unfinished, cluster).map_err(io_error("name the new cluster"))
}

/// Lets the cluster's owner and this process's user in as the archive's role, and nobody else.
fn access(owner: &Owner, cluster: &Path) -> Result<(), Error> {
    let hba = format!("local all {ROLE} peer map=filmroom\n");
    let mut users = vec![owner.name()?, owner::current_name()?];
    users.dedup();
    let mut ident = String::new();
    for user in users {
        ident.extend(["filmroom \"", &user, "\" ", ROLE, "\n"]);
    }
    for (name, text) in [("pg_hba.conf", hba), ("pg_ident.conf", ident)] {
        std::fs::write(cluster.join(name), text).map_err(io_error("write the cluster's access rules"))?;
    }
    Ok(())
}

fn spawn(
    programs: &Programs,
    owner: &Owner,
    (directory, cluster, socket): (&Path, &Path, &Path),
    cached: &[String],
) -> Result<Child, Error> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("postgres.log"))
        .map_err(io_error("open postgres.log"))?;
    if log.metadata().map_err(io_error("open postgres.log"))?.len() > LOG_BYTES_MAX {
        log.set_len(0).map_err(io_error("empty postgres.log"))?;
    }
    let also = log.try_clone().map_err(io_error("open postgres.log"))?;
    let mut command = Command::new(programs.path("postgres"));
    command.arg("-D").arg(cluster).arg("-k").arg(socket).args(["-p", &PORT.to_string()]);
    for setting in SETTINGS.into_iter().chain(cached.iter().map(String::as_str)) {
        command.args(["-c", setting]);
    }
    command.current_dir(directory).stdin(Stdio::null()).stdout(log).stderr(also);
    // A Ctrl-C at the terminal is for the archive, which stops Postgres last.
    command.process_group(0);
    owner.run_as(&mut command);
    command.spawn().map_err(io_error("run postgres"))
}

/// Durability first; then room for batches of some thousand rows; a log without values.
const SETTINGS: [&str; 15] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
    "max_wal_size=1GB",
    "wal_compression=on",
    "max_connections=100",
    "jit=off",
    "random_page_cost=1.5",
    "log_statement=none",
    "log_min_error_statement=panic",
    "log_min_duration_statement=-1",
    "log_error_verbosity=terse",
    "logging_collector=off",
];

/// Starts the server, more than once if it ends early: after a kill, the children of the one before hold its
/// memory until they have noticed.
async fn running(
    spawn: impl Fn() -> Result<Child, Error>,
    options: &PgConnectOptions,
    directory: &Path,
    cluster: &Path,
) -> Result<(Child, Pid), Error> {
    for attempt in 1..=START_ATTEMPTS {
        orphan::stop(cluster).await?; // it may have been about to write its pid file when it was looked for
        let mut child = spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid
            && ready(&mut child, pid, options).await?
        {
            return Ok((child, pid));
        }
        if child.id().is_some() {
            child.kill().await.map_err(io_error("end a postgres that is not needed"))?;
        }
        sleep(POLL * 10 * attempt).await;
    }
    let log = directory.join("postgres.log");
    Err(cluster_error(format!("postgres ends at once, see {}", log.display())))
}

/// Waits until the server answers, and makes the archive's database if it is not there; tells whether this is the server
/// that runs.
async fn ready(child: &mut Child, pid: Pid, options: &PgConnectOptions) -> Result<bool, Error> {
    loop {
        if child.try_wait().map_err(io_error("wait for postgres"))?.is_some() {
            return Ok(false);
        }
        match options.connect().await {
            Ok(mut connection) => {
                let ours = is_answered_by(pid, &mut connection).await;
                if ours {
                    make_database(&mut connection).await?;
                }
                return Ok(ours);
            }
            Err(sqlx::Error::Database(refused)) if refused.code().is_some_and(|code| code.starts_with("28")) => {
                return Err(Error::Statement(sqlx::Error::Database(refused)));
            }
            Err(_) => sleep(POLL).await, // not listening yet, or still replaying its log
        }
    }
}

/// Tells whether the server `pid` answers. The cluster's pid file cannot tell: a server that is about to end, because another
/// one holds the socket, has written its number there.
async fn is_answered_by(pid: Pid, connection: &mut sqlx::PgConnection) -> bool {
    let Ok(backend) = sqlx::query_scalar::<_, i32>("select pg_backend_pid()").fetch_one(connection).await else {
        return false; // it is the one that ends
    };
    let status = std::fs::read_to_string(format!("/proc/{backend}/status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.and_then(|parent| parent.trim().parse().ok()) == Some(pid.as_raw_nonzero().get())
}

async fn make_database(connection: &mut sqlx::PgConnection) -> Result<(), Error> {
    let there: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(ROLE)
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        sqlx::query("create database filmroom").execute(connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_server_that_is_about_to_end_is_not_taken_for_the_one_that_answers() {
        let kept = tempfile::tempdir().unwrap();
        fs::set_permissions(kept.path(), Permissions::from_mode(0o755)).unwrap();
        let mut running = EmbeddedPostgres::start(kept.path(), Some(32 << 20)).await.unwrap();
        let options = running.options();
        assert!(ready(&mut running.child, running.pid, &options).await.unwrap());
        // It runs on the cluster and its number is in the pid file, but the socket is another server's.
        let cluster = running.directory.join("cluster");
        let mut ending =
            Command::new("sh").args(["-c", "read line"]).arg(&cluster).stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(ending.id().unwrap()).unwrap()).unwrap();
        fs::write(cluster.join("postmaster.pid"), format!("{}\n", pid.as_raw_nonzero())).unwrap();
        assert_eq!(orphan::running(&cluster), Some(pid));
        assert!(!ready(&mut ending, pid, &options).await.unwrap());
        ending.kill().await.unwrap();
        running.stop().await.unwrap();
    }
}
