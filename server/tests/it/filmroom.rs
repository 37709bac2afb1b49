//! The binary as scripts see it: a server in a directory of its own, and commands beside it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A data directory with a configuration that takes free ports.
#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
}

/// A server that has said that it is ready; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) dicom: String,
    pub(crate) http: String,
}

impl Place {
    /// Makes the directory; `more` is added to the configuration's top.
    pub(crate) fn new(more: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let config = format!(
            "data = \"{0}/data\"\n{more}\n[dicom]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [journal]\nsegment = \"8MiB\"\nsize_max = \"1GiB\"\n[pack]\nquiet = \"1h\"\ncontainer = \"4MiB\"\n",
            directory.path().display()
        );
        std::fs::write(directory.path().join("filmroom.toml"), config).unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns a command of the binary with this place's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_filmroom"));
        command.arg("--config").arg(self.path("filmroom.toml")).args(arguments).current_dir(self.directory.path());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a server and waits until it is ready.
    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Starts a server with more arguments and waits until it is ready.
    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Server {
        let mut child = self
            .command(&[&["serve"], arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let Some((dicom, http)) =
            line.trim_end().strip_prefix("ready dicom=").and_then(|rest| rest.split_once(" http="))
        else {
            let mut log = String::new();
            child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("no ready line but {line:?}; log:\n{log}");
        };
        Server { dicom: dicom.to_owned(), http: http.to_owned(), child: drained(child) }
    }

    /// Writes a generated study as files and returns their directory.
    pub(crate) fn files(&self, seed: u64, instances: u32) -> PathBuf {
        let directory = self.path(&format!("files-{seed}"));
        std::fs::create_dir_all(&directory).unwrap();
        let spec =
            testdata::StudySpec { seed, instances_per_series: instances, rows: 16, columns: 16, ..Default::default() };
        for instance in testdata::study(spec) {
            let path = directory.join(format!("{}.dcm", instance.instance_number));
            std::fs::write(path, testdata::part10(&instance)).unwrap();
        }
        directory
    }
}

impl Server {
    /// Sends a signal to the server.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Returns the server's memory that is in use, and the most that was, in KiB (Linux).
    pub(crate) fn memory_kib(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// Waits for the end and returns the exit code.
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Asks for a path and returns status line, header and body as text.
    pub(crate) fn get(&self, path: &str) -> String {
        self.get_with(path, "")
    }

    /// Asks for a path with more header lines, each with its CRLF.
    pub(crate) fn get_with(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n{headers}\r\n", self.http).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Reads the log away so that the server never waits for us.
fn drained(mut child: Child) -> Child {
    let mut log = child.stderr.take().unwrap();
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    child
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
