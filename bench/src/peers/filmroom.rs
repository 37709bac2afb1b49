//! Filmroom in its default configuration: only ports, title and destinations are set.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use rustix::process::Signal;

use super::{Base, Kind, Peer, Process, Programs, postgres};

/// Starts a server and waits until it says that it is ready.
pub fn start(programs: &Programs, directory: &Path) -> anyhow::Result<Peer> {
    let data = directory.join("data");
    fs::write(directory.join("filmroom.toml"), config(&data, &programs.destinations)).context("write the settings")?;
    let log = directory.join("log");
    let before = fs::read_to_string(&log).unwrap_or_default().len();
    let mut command = command(&programs.filmroom, directory)?;
    let mut server = Process::start(command.arg("serve"), &log, Signal::TERM)?;
    let mut found = None;
    server.wait_until(|| {
        let text = fs::read_to_string(&log).unwrap_or_default();
        found = text.get(before..).unwrap_or_default().lines().find_map(ready);
        found.is_some()
    })?;
    let (dicom, http) = found.context("wait for the server")?;
    let mut processes = vec![server];
    let postmaster = fs::read_to_string(data.join("postgres/cluster/postmaster.pid")).unwrap_or_default();
    processes.extend(postmaster.lines().next().and_then(|line| line.trim().parse().ok()).map(Process::adopted));
    Ok(Peer {
        kind: Kind::Filmroom,
        dicom: Some(dicom),
        ae: "FILMROOM".to_owned(),
        http: Some(Base { address: http, path: "/dicom-web".to_owned() }),
        data_dirs: vec![data],
        directory: directory.to_owned(),
        processes,
    })
}

/// Seals and codes all that a server has received (`filmroom pack --now`).
pub fn pack(programs: &Programs, peer: &Peer) -> anyhow::Result<()> {
    let output = command(&programs.filmroom, &peer.directory)?.args(["pack", "--now"]).output();
    let output = output.context("run filmroom pack")?;
    ensure!(output.status.success(), "filmroom pack: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Makes the index anew (`filmroom rebuild-index`); the server is stopped.
pub fn rebuild_index(programs: &Programs, directory: &Path) -> anyhow::Result<()> {
    let output = command(&programs.filmroom, directory)?.arg("rebuild-index").output();
    let output = output.context("run filmroom rebuild-index")?;
    ensure!(output.status.success(), "filmroom rebuild-index: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Bytes of the index on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexBytes {
    /// What grows with sealed series and containers.
    pub sealed: u64,
    /// All tables with their own indexes.
    pub whole: u64,
}

/// Asks the server's own Postgres how large the index is, after it gave back what deleted rows held.
pub fn index_bytes(peer: &Peer) -> anyhow::Result<IndexBytes> {
    let data = peer.data_dirs.first().context("ours has a data directory")?;
    let path = data.join("postgres/cluster/postmaster.pid");
    let text = fs::read_to_string(path).context("read postmaster.pid")?;
    let mut lines = text.lines().skip(3); // port and directory of the socket follow
    let (port, socket) = (lines.next().context("no port")?, lines.next().context("no socket")?);
    let psql = |statement: &str| -> anyhow::Result<String> {
        let program = postgres::programs().context("find psql: install the package postgresql")?.join("psql");
        let mut command = Command::new(program);
        command.args(["-qAtX", "-h", socket, "-p", port, "-U", "filmroom", "-d", "filmroom", "-c", statement]);
        let output = command.output().context("run psql")?;
        ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    psql("vacuum full")?;
    let sum =
        |of: &str| psql(&format!("select sum(pg_total_relation_size(relid))::bigint from pg_stat_user_tables {of}"));
    let sealed = sum("where relname in ('series_segment', 'container', 'shard')")?;
    Ok(IndexBytes { sealed: sealed.parse().context("read a size")?, whole: sum("")?.parse().context("read a size")? })
}

fn command(binary: &Path, directory: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::path::absolute(binary).context("find the binary")?);
    command.arg("--config").arg(directory.join("filmroom.toml")).current_dir(directory);
    Ok(command)
}

fn config(data: &Path, destinations: &[(String, u16)]) -> String {
    let mut text = format!("data = \"{}\"\n[dicom]\nlisten = \"127.0.0.1:0\"\n[dicom.destinations]\n", data.display());
    for (title, port) in destinations {
        writeln!(text, "{title} = \"127.0.0.1:{port}\"").expect("a string takes everything");
    }
    text.push_str("[http]\nlisten = \"127.0.0.1:0\"\n");
    text
}

/// Reads the line that says that the server is ready.
fn ready(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (dicom, http) = line.trim_end().strip_prefix("ready dicom=")?.split_once(" http=")?;
    Some((dicom.parse().ok()?, http.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_found() {
        let found = ready("ready dicom=127.0.0.1:1 http=127.0.0.1:2\n").unwrap();
        assert_eq!((found.0.port(), found.1.port()), (1, 2));
        assert_eq!(ready("INFO ready"), None);
    }

    #[test]
    fn destinations_are_set() {
        let text = config(Path::new("/d"), &[("SINK".to_owned(), 7)]);
        assert!(text.contains("[dicom.destinations]\nSINK = \"127.0.0.1:7\"\n[http]"), "{text}");
    }
}
