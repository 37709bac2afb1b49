//! nginx, which sends files as they lie on the disk: what a read could at best be.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use rustix::process::Signal;

use super::{Base, Kind, Peer, Process, Programs, free_port, loopback, missing};

/// Directories for what it would spool; it makes them at its start although it never needs them.
const SPOOLS: [&str; 5] = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

/// Starts it; `None` when it is not installed.
pub fn start(programs: &Programs, directory: &Path) -> anyhow::Result<Option<Peer>> {
    if !installed(&programs.nginx)? {
        missing(Kind::Nginx, &programs.nginx, "install the package nginx-light");
        return Ok(None);
    }
    let directory = std::path::absolute(directory).context("find the directory")?;
    let address = loopback(free_port()?);
    let files = directory.join("files");
    fs::create_dir_all(&files).context("make a directory for the files")?;
    fs::write(directory.join("nginx.conf"), config(&directory, address)).context("write the settings")?;
    let log = directory.join("log");
    let mut command = Command::new(&programs.nginx);
    command.args(["-e", "stderr", "-p"]).arg(&directory).arg("-c").arg(directory.join("nginx.conf"));
    let mut server = Process::start(&mut command, &log, Signal::TERM)?;
    server.wait_for(address)?;
    Ok(Some(Peer {
        kind: Kind::Nginx,
        dicom: None,
        ae: String::new(),
        http: Some(Base { address, path: String::new() }),
        data_dirs: vec![files],
        directory,
        processes: vec![server],
    }))
}

/// Returns where the files are that it sends: a file `a` as `/a`.
pub fn files(peer: &Peer) -> PathBuf {
    peer.directory.join("files")
}

fn installed(program: &Path) -> anyhow::Result<bool> {
    match Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) => Ok(status.success()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("run {}", program.display())),
    }
}

/// One worker a core of the smallest machine that is measured on; files by `sendfile`, connections kept for ever.
fn config(directory: &Path, address: SocketAddr) -> String {
    let directory = directory.display();
    let mut text = String::from("daemon off;\nworker_processes 2;\nerror_log stderr;\n");
    if rustix::process::geteuid().is_root() {
        text.push_str("user root;\n"); // the files belong to the user that measures
    }
    writeln!(text, "pid \"{directory}/pid\";\nevents {{ worker_connections 1024; }}\nhttp {{")
        .expect("a string takes everything");
    text.push_str("access_log off;\nsendfile on;\ntcp_nopush on;\ntcp_nodelay on;\n");
    text.push_str(
        "keepalive_requests 1000000000;\nopen_file_cache max=20000;\ndefault_type application/octet-stream;\n",
    );
    for spool in SPOOLS {
        writeln!(text, "{spool}_temp_path \"{directory}/{spool}\";").expect("a string takes everything");
    }
    writeln!(text, "server {{ listen {address}; root \"{directory}/files\"; }}\n}}")
        .expect("a string takes everything");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_told_apart() {
        assert!(!installed(Path::new("/no/such/nginx")).unwrap());
        assert!(installed(Path::new("/bin/true")).unwrap());
    }

    #[test]
    fn everything_stays_in_its_directory() {
        let text = config(Path::new("/d"), loopback(7));
        assert!(text.contains("listen 127.0.0.1:7; root \"/d/files\""), "{text}");
        let own = |line: &&str| line.contains("_path") || line.starts_with("pid");
        assert!(text.lines().filter(own).all(|line| line.contains("\"/d/")), "{text}");
    }
}
