//! A server under trial: started, waited for, killed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

/// How long a start may take: recovery reads the journal, the embedded Postgres recovers, too.
const START_WAIT_MAX: Duration = Duration::from_mins(2);

/// A directory with a configuration, and the binary that serves it.
#[derive(Debug, Clone)]
pub struct Place {
    binary: PathBuf,
    directory: PathBuf,
}

/// A server that is ready. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    child: Child,
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
            drop(sender.send(read)); // nobody waits any more
        });
        let line = receiver.recv_timeout(START_WAIT_MAX);
        let line = line.map_err(|_| anyhow!("the server is not ready after {START_WAIT_MAX:?}"));
        match line.map(|line| line.ok().and_then(|line| addresses(&line))) {
            Ok(Some((dicom, http))) => Ok(Server { child, dicom, http }),
            Ok(None) => bail!("the server did not get ready: see {}", self.log().display()),
            Err(error) => {
                child.kill().context("kill the server that hangs")?;
                Err(error)
            }
        }
    }

    /// Runs `filmroom verify` and tells whether everything is healthy.
    pub fn verify(&self) -> anyhow::Result<bool> {
        let output = self.command().arg("verify").output().context("run filmroom verify")?;
        let mut log = fs::read(self.log()).unwrap_or_default();
        if !output.status.success() {
            log.extend_from_slice(&output.stdout);
            log.extend_from_slice(&output.stderr);
            fs::write(self.log(), log).context("write the log")?;
        }
        Ok(output.status.success())
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
    /// Kills the server with SIGKILL and waits until it is gone.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill the server")?;
        self.child.wait().context("wait for the killed server")?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already; there is nothing else to do about it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
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
