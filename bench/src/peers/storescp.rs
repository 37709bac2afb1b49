//! DCMTK's storescp, a process per association: what receiving costs without durability and without an index.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use rustix::process::Signal;

use super::{Kind, Peer, Process, Programs, free_port, loopback, missing};

/// Starts one that writes files, or one that drops what it gets; `None` when it is not installed.
pub fn start(kind: Kind, programs: &Programs, directory: &Path) -> anyhow::Result<Option<Peer>> {
    if !programs.storescp.exists() {
        missing(kind, &programs.storescp, "install the package dcmtk");
        return Ok(None);
    }
    let data = directory.join("data");
    fs::create_dir_all(&data).context("create its directory")?;
    let mut command = Command::new(&programs.storescp);
    command.env("TCP_NODELAY", "1").args(["-aet", "PEER", "-pdu", "131072", "-dhl", "--fork"]);
    if kind == Kind::StorescpIgnore {
        command.arg("--ignore");
    } else {
        command.arg("-od").arg(&data).args(["+B", "+uf"]);
    }
    let address = loopback(free_port()?);
    command.arg(address.port().to_string());
    let mut server = Process::start(&mut command, &directory.join("log"), Signal::TERM)?;
    server.wait_for(address)?;
    Ok(Some(Peer {
        kind,
        dicom: Some(address),
        ae: "PEER".to_owned(),
        http: None,
        data_dirs: vec![data],
        directory: directory.to_owned(),
        processes: vec![server],
    }))
}
