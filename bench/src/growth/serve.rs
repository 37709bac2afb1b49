//! The server over the filled archive.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// A running server. Dropped, it is stopped.
pub(super) struct Server {
    child: Option<Child>,
    /// Address of the DICOM service.
    pub(super) dicom: String,
    /// Address of the HTTP service.
    pub(super) http: String,
}

impl Server {
    /// Starts the server over `data` below the directory, with the defaults of `filmroom serve`, and waits for its
    /// ready line.
    pub(super) fn start(binary: &Path, directory: &Path) -> anyhow::Result<Self> {
        let config = format!(
            "data = \"{}\"\n[dicom]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n",
            directory.join("data").display()
        );
        let file = directory.join("filmroom.toml");
        fs::write(&file, config).context("write the configuration")?;
        let log = File::options().create(true).append(true).open(directory.join("log")).context("open the log")?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(file).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().context("start the server")?;
        let stdout = child.stdout.take().context("start the server")?;
        let mut server = Self { child: Some(child), dicom: String::new(), http: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("wait for the server")?;
        let addresses = line.trim_end().strip_prefix("ready dicom=").and_then(|rest| rest.split_once(" http="));
        let (dicom, http) = addresses.context("the server did not get ready, see its log")?;
        (server.dicom, server.http) = (dicom.to_owned(), http.to_owned());
        Ok(server)
    }

    /// Returns the process.
    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Kills it, and not its Postgres.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("kill the server: it is gone")?;
        child.kill().context("kill the server")?;
        child.wait().context("wait for the server")?;
        Ok(())
    }

    /// Stops it in order.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let child = self.child.take().context("stop the server: it is gone")?;
        stop(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            drop(stop(child)); // it may be gone already
        }
    }
}

fn stop(mut child: Child) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(child.id())?).context("0 is no process")?;
    kill_process(pid, Signal::TERM).context("stop the server")?;
    let status = child.wait().context("wait for the server")?;
    ensure!(status.success(), "the server did not stop in order: {status}");
    Ok(())
}
