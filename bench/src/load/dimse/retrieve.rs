//! C-GET and C-MOVE of whole studies.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use super::find::identifier;
use crate::association::{Association, Builder, Kind, Options};
use crate::load::sink::success;

/// Study Root Query/Retrieve Information Model - GET.
const GET: Kind = ("1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.1.2");
/// Study Root Query/Retrieve Information Model - MOVE.
const MOVE: Kind = ("1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.1.2");
/// What C-GET may bring: CT, MR, CR.
const RECEIVED: [Kind; 3] = [
    ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"),
    ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1"),
    ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.1.2.1"),
];

/// What C-GET brought.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Got {
    /// Instances.
    pub instances: usize,
    /// Bytes of data sets.
    pub bytes: u64,
    /// Until the first instance was there.
    pub first_seconds: f64,
    /// Until the last answer.
    pub seconds: f64,
}

/// What C-MOVE did.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Moved {
    /// Completed sub-operations, as the last answer says.
    pub instances: usize,
    /// Until the last answer.
    pub seconds: f64,
}

/// Gets a study, and fails unless so many instances come.
pub fn c_get(address: SocketAddr, ae: &str, study_instance_uid: &str, instances: usize) -> anyhow::Result<Got> {
    let kinds = [&[GET], &RECEIVED[..]].concat();
    let options = Options { receive: true, like_dcmtk: false };
    let mut association = Association::open_with(&address.to_string(), ae, &kinds, options)?;
    let begun = Instant::now();
    request(&mut association, GET, 0x0010, study_instance_uid, None)?;
    let mut got = Got { instances: 0, bytes: 0, first_seconds: 0.0, seconds: 0.0 };
    loop {
        let message = association.receive().context("read C-GET-RSP")?.context("released in C-GET")?;
        match (message.command.us(0x0100), message.command.us(0x0900)) {
            (Some(0x0001), _) => {
                if got.instances == 0 {
                    got.first_seconds = begun.elapsed().as_secs_f64();
                }
                got.instances += 1;
                got.bytes += message.data_set_bytes;
                let answer = success(&message.command)?;
                association.send(message.context, &answer, [&[], &[]]).context("answer a sub-operation")?;
            }
            (Some(0x8010), Some(0xFF00)) => {}
            (Some(0x8010), Some(0)) => break,
            _ => bail!("C-GET was answered by {}", message.command.describe()),
        }
    }
    got.seconds = begun.elapsed().as_secs_f64();
    association.release()?;
    ensure!(got.instances == instances, "C-GET brought {} instances of {instances}", got.instances);
    Ok(got)
}

/// Has a study sent to a destination, and fails unless so many instances are completed.
pub fn c_move(
    address: SocketAddr,
    ae: &str,
    study_instance_uid: &str,
    destination: &str,
    instances: usize,
) -> anyhow::Result<Moved> {
    let mut association = Association::open(&address.to_string(), ae, &[MOVE])?;
    let begun = Instant::now();
    request(&mut association, MOVE, 0x0021, study_instance_uid, Some(destination))?;
    loop {
        let answer = association.receive().context("read C-MOVE-RSP")?.context("released in C-MOVE")?.command;
        match answer.us(0x0900) {
            Some(0xFF00) => {}
            Some(0) => {
                let seconds = begun.elapsed().as_secs_f64();
                association.release()?;
                let completed = answer.us(0x1021).map_or(0, usize::from);
                ensure!(completed == instances, "C-MOVE sent {completed} instances of {instances}");
                return Ok(Moved { instances: completed, seconds });
            }
            _ => bail!("C-MOVE was answered by {}", answer.describe()),
        }
    }
}

fn request(
    association: &mut Association,
    kind: Kind,
    field: u16,
    study_instance_uid: &str,
    destination: Option<&str>,
) -> anyhow::Result<()> {
    let (context, message_id) = (association.context(kind)?, association.next_message_id());
    let mut command = Builder::default().uid(0x0002, kind.0).us(0x0100, field).us(0x0110, message_id);
    if let Some(destination) = destination {
        command = command.ae(0x0600, destination);
    }
    let command = command.us(0x0700, 0).us(0x0800, 1).build();
    let identifier = identifier("STUDY", &[(0x0020_000D, study_instance_uid.to_owned())]);
    association.send(context, &command, [&identifier, &[]]).context("send the request")
}
