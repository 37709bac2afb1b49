//! Child processes in process groups of their own.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::process::pause;

/// How long an orderly stop may take: Orthanc writes its caches.
const STOP_WAIT_MAX: Duration = Duration::from_mins(2);
/// How long a start may take.
const START_WAIT_MAX: Duration = Duration::from_mins(2);
/// How often a process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A child process, or a process that a child started and left to us. Dropped, its group is killed.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    child: Option<Child>,
    stop: Signal,
}

impl Process {
    /// Starts a program in a process group of its own, with its output in `log`; `stop` ends it in order.
    pub fn start(command: &mut Command, log: &Path, stop: Signal) -> anyhow::Result<Self> {
        let out = File::options().create(true).append(true).open(log).context("open the log")?;
        let err = out.try_clone().context("open the log")?;
        let program = command.get_program().to_owned();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn();
        let child = child.with_context(|| format!("run {}", program.display()))?;
        Ok(Self { pid: i32::try_from(child.id())?, child: Some(child), stop })
    }

    /// Takes a process that a child of ours started; it is measured here and stopped by its parent.
    pub fn adopted(pid: i32) -> Self {
        Self { pid, child: None, stop: Signal::TERM }
    }

    /// Returns its number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Tells whether it runs. An adopted one is not looked at.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Waits until something answers at an address, or fails when the process ended or takes too long.
    pub fn wait_for(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.wait_until(|| TcpStream::connect(address).is_ok()).with_context(|| format!("wait for {address}"))
    }

    /// Waits until a condition holds, or fails when the process ended or takes too long.
    pub fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !ready() {
            if !self.is_running() {
                bail!("the process ended");
            }
            if begun.elapsed() > START_WAIT_MAX {
                bail!("the process is not ready after {START_WAIT_MAX:?}");
            }
            pause(LOOK_EVERY);
        }
        Ok(())
    }

    /// Stops it in order, or kills it if it does not stop.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.ask_to_stop()
    }

    /// Kills it alone with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let child = self.child.as_mut().context("kill: it is not ours")?;
        child.kill().context("kill a process")?;
        child.wait().context("kill a process")?;
        Ok(())
    }

    fn ask_to_stop(&mut self) -> anyhow::Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        kill_process(Pid::from_raw(self.pid).context("0 is not a process")?, self.stop)
            .context("ask a process to stop")?;
        let begun = Instant::now();
        while self.is_running() {
            if begun.elapsed() > STOP_WAIT_MAX {
                bail!("a process does not stop in {STOP_WAIT_MAX:?}");
            }
            pause(LOOK_EVERY);
        }
        Ok(())
    }
}

impl Drop for Process {
    /// Asks it to stop, for it may have children in groups of their own; what is left of its group is killed.
    fn drop(&mut self) {
        drop(self.ask_to_stop()); // what does not stop is killed
        let Some(child) = self.child.as_mut() else { return };
        if let Some(group) = Pid::from_raw(self.pid) {
            kill_process_group(group, Signal::KILL).ok(); // it may be gone already
        }
        drop(child.wait()); // its status does not matter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_stopped_in_order_and_with_their_children() {
        let directory = tempfile::TempDir::new().unwrap();
        let log = directory.path().join("log");
        let script = "trap 'echo stopped; exit' TERM; echo $$; sleep 1000 & wait";
        let mut process = Process::start(Command::new("sh").args(["-c", script]), &log, Signal::TERM).unwrap();
        let text = || std::fs::read_to_string(&log).unwrap();
        process.wait_until(|| text().contains('\n')).unwrap();
        let group = Pid::from_raw(process.pid()).unwrap();
        assert!(rustix::process::test_kill_process_group(group).is_ok());
        process.stop().unwrap();
        assert!(text().ends_with("stopped\n"), "{}", text());
        // A killed process takes a moment to die, and stays until init waited for it.
        let dead = || process_group(group.as_raw_nonzero().get()).iter().all(|stat| stat.contains(") Z "));
        let mut looks = (0..1000).inspect(|_| pause(LOOK_EVERY));
        assert!(looks.any(|_| dead()), "a child is left");
    }

    fn process_group(group: i32) -> Vec<String> {
        let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let stats = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        let of_group = |stat: &String| stat.rsplit_once(") ").unwrap().1.split(' ').nth(2) == Some(&group.to_string());
        stats.filter(of_group).collect()
    }

    #[test]
    fn a_process_that_ends_is_never_ready() {
        let directory = tempfile::TempDir::new().unwrap();
        let mut process =
            Process::start(&mut Command::new("true"), &directory.path().join("log"), Signal::TERM).unwrap();
        assert!(process.wait_until(|| false).is_err());
    }
}
