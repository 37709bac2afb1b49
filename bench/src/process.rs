//! A server under trial: starts it, waits until it is ready, kills it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a start may take: recovery reads the journal, the embedded Postgres recovers, too.
const START_WAIT_MAX: Duration = Duration::from_mins(2);

/// How long an orderly stop may take.
const STOP_WAIT_MAX: Duration = Duration::from_mins(1);
/// How often a process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A directory with a configuration, and the binary that serves it.
#[derive(Debug, Clone)]
pub struct Place {
    binary: PathBuf,
    directory: PathBuf,
}

/// A server that is ready. Dropped, it is stopped, so that its Postgres ends with it.
#[derive(Debug)]
pub struct Server {
    /// Gone once it was told to end.
    child: Option<Child>,
    /// Address of the DICOM service.
    pub dicom: String,
    /// Address of the HTTP service.
    pub http: String,
}

impl Place {
    /// Writes a configuration that packs early and in small containers, so that kills fall into every step.
    pub fn new(binary: &Path, directory: &Path) -> anyhow::Result<Self> {
        let config = format!(
            "data = \"{}\"\n[dicom]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [journal]\nsegment = \"16MiB\"\nsize_max = \"4GiB\"\n\
             [pack]\nquiet = \"300ms\"\nwait_max = \"1s\"\ncontainer = \"8MiB\"\n",
            directory.join("data").display()
        );
        Self::with(binary, directory, &config)
    }

    /// Writes this configuration.
    pub fn with(binary: &Path, directory: &Path, config: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        fs::write(directory.join("filmroom.toml"), config).context("write the configuration")?;
        let binary = std::path::absolute(binary).context("find the binary")?;
        Ok(Self { binary, directory: directory.to_owned() })
    }

    /// Starts a server and waits until it says that it is ready. Its log is added to `log` in the directory.
    pub fn serve(&self) -> anyhow::Result<Server> {
        let log = File::options().create(true).append(true).open(self.log()).context("open the log")?;
        let mut command = self.command();
        let mut child = command.arg("serve").stdout(Stdio::piped()).stderr(log).spawn().context("start the server")?;
        let stdout = child.stdout.take().context("start the server")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line).map(|_| line);
            drop(sender.send(read)); // the receiver may have given up
        });
        let line = receiver.recv_timeout(START_WAIT_MAX);
        let line = line.map_err(|_| anyhow!("the server is not ready after {START_WAIT_MAX:?}"));
        match line.map(|line| line.ok().and_then(|line| addresses(&line))) {
            Ok(Some((dicom, http))) => Ok(Server { child: Some(child), dicom, http }),
            Ok(None) => bail!("the server did not get ready: see {}", self.log().display()),
            Err(error) => {
                child.kill().context("kill the server that hangs")?;
                Err(error)
            }
        }
    }

    /// Starts a server and kills it after a while, ready or not.
    pub fn serve_and_kill(&self, after: Duration) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.log()).context("open the log")?;
        let mut command = self.command();
        let child = command.arg("serve").stdout(Stdio::null()).stderr(log).spawn().context("start the server")?;
        pause(after);
        kill(child).context("kill the server that starts")
    }

    /// Runs `filmroom verify` and returns what it said if not everything is healthy.
    pub fn verify(&self) -> anyhow::Result<Option<String>> {
        let output = self.command().args(["verify", "--json"]).output().context("run filmroom verify")?;
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok((!output.status.success()).then(|| said.concat()))
    }

    /// Runs `filmroom pack --now` to its end.
    pub fn pack_all(&self) -> anyhow::Result<()> {
        let output = self.command().args(["pack", "--now"]).output().context("run filmroom pack")?;
        ensure!(output.status.success(), "filmroom pack: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Runs `filmroom pack --now`; killed when it should stop. It may fail: what it needs is killed meanwhile.
    pub fn pack(&self, stop: &AtomicBool) -> anyhow::Result<()> {
        let mut command = self.command();
        command.args(["pack", "--now"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().context("run filmroom pack")?;
        while child.try_wait().context("wait for filmroom pack")?.is_none() {
            if stop.load(Ordering::Relaxed) {
                return kill(child).context("kill filmroom pack");
            }
            pause(LOOK_EVERY);
        }
        Ok(())
    }

    /// Removes the directory.
    pub fn remove(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.directory).context("remove the data directory")
    }

    /// Returns the first process of the server's own Postgres.
    pub fn postmaster(&self) -> anyhow::Result<i32> {
        let path = self.directory.join("data/postgres/cluster/postmaster.pid");
        let text = fs::read_to_string(path).context("read postmaster.pid")?;
        text.lines().next().and_then(|line| line.trim().parse().ok()).context("read postmaster.pid")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(self.directory.join("filmroom.toml")).current_dir(&self.directory);
        command
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }
}

impl Server {
    /// Kills the server with SIGKILL and waits until it is gone. Its Postgres stays behind.
    pub fn kill(mut self) -> anyhow::Result<()> {
        let child = self.child.take().context("kill the server: it is gone")?;
        kill(child).context("kill the server")
    }

    /// Stops the server in order.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let child = self.child.take().context("stop the server: it is gone")?;
        stop(child)
    }

    /// Returns the process's number.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.child.as_ref().context("the server is gone")?.id())
    }

    /// Tells whether the server still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Kills the first process of its Postgres. One that is being started just now is missed: nothing happens then.
    pub fn kill_postgres(&self, place: &Place) -> anyhow::Result<()> {
        send(place.postmaster()?, Signal::KILL).context("kill Postgres")
    }

    /// Kills one of the processes of its Postgres that serve connections.
    pub fn kill_backend(&self, place: &Place, chosen: u64) -> anyhow::Result<()> {
        let backends = backends(place.postmaster()?)?;
        let count = u64::try_from(backends.len())?;
        ensure!(count > 0, "Postgres serves no connection");
        let one = usize::try_from(chosen % count)?;
        send(*backends.get(one).context("choose")?, Signal::KILL).context("kill a backend of Postgres")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            drop(stop(child)); // it may be gone already; there is nothing else to do about it
        }
    }
}

/// Waits.
pub fn pause(time: Duration) {
    let (sender, receiver) = mpsc::channel::<()>();
    receiver.recv_timeout(time).ok(); // nothing is ever sent
    drop(sender);
}

fn send(pid: i32, signal: Signal) -> anyhow::Result<()> {
    let pid = Pid::from_raw(pid).context("0 is not a process")?;
    match kill_process(pid, signal) {
        Err(rustix::io::Errno::SRCH) => Ok(()), // it ended by itself
        result => Ok(result?),
    }
}

fn kill(mut child: Child) -> anyhow::Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Asks a server to stop, and kills it if it does not.
fn stop(mut child: Child) -> anyhow::Result<()> {
    send(i32::try_from(child.id())?, Signal::TERM).context("stop the server")?;
    for _ in 0..STOP_WAIT_MAX.as_millis() / LOOK_EVERY.as_millis() {
        if let Some(status) = child.try_wait().context("wait for the server")? {
            ensure!(status.success(), "the server did not stop in order: {status}");
            return Ok(());
        }
        pause(LOOK_EVERY);
    }
    kill(child)?;
    bail!("the server does not stop in {STOP_WAIT_MAX:?}")
}

/// Returns the processes that serve connections of the archive's role to the archive's database.
fn backends(postmaster: i32) -> anyhow::Result<Vec<i32>> {
    let processes = fs::read_dir("/proc").context("list processes")?.filter_map(Result::ok);
    let backend = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent: i32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let command = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        (parent == postmaster && command.contains("filmroom filmroom")).then_some(pid)
    };
    let mut found: Vec<i32> = processes.filter_map(backend).collect();
    found.sort_unstable();
    Ok(found)
}

fn addresses(line: &str) -> Option<(String, String)> {
    let (dicom, http) = line.trim_end().strip_prefix("ready dicom=")?.split_once(" http=")?;
    Some((dicom.to_owned(), http.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_read() {
        let found = addresses("ready dicom=127.0.0.1:1 http=127.0.0.1:2\n");
        assert_eq!(found, Some(("127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned())));
        assert_eq!(addresses("ready\n"), None);
    }
}
