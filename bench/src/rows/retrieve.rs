//! Retrieving by DIMSE: A9 C-GET, B1 C-MOVE to a good sink, B2 C-MOVE to one that delays its acknowledgements.

use std::process::Command;
use std::slice::from_ref;

use anyhow::{Context, ensure};
use rustix::process::Signal;

use crate::comparison::{Comparison, Figures};
use crate::data::Study;
use crate::load::dimse;
use crate::measure::pages::drop_cached;
use crate::measure::times::number;
use crate::peers::{Kind, Peer, Process, loopback, missing};
use crate::report::{Better, Outcome};

/// Ours and all archives.
const RETRIEVED_FROM: [Kind; 5] =
    [Kind::Filmroom, Kind::NewOrthancSqlite, Kind::NewOrthancPostgres, Kind::OrthancSqlite, Kind::OrthancPostgres];
/// Instances a second that peers reach with a sink that delays its acknowledgements: one each 44 ms.
const DELAYED_PER_SECOND: f64 = 22.0;

/// A9: a study by C-GET, with the page cache dropped and warm.
pub fn c_get(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let study = study(comparison)?;
    let runs = comparison.runs;
    let holders = comparison.holders(&RETRIEVED_FROM)?;
    let get = |peer: &Peer| dimse::c_get(peer.dicom()?, &peer.ae, &study.study_instance_uid, study.instances());
    let (mut warm, mut first) = (Figures::default(), Figures::default());
    let cold = Figures::take(runs, &holders, |peer, _| {
        drop_cached(&peer.data_dirs)?;
        let cold = get(peer)?;
        let again = get(peer)?;
        ensure!(again.bytes == cold.bytes, "C-GET brought {} bytes, then {}", cold.bytes, again.bytes);
        warm.add(peer.kind, again.seconds);
        first.add(peer.kind, again.first_seconds * 1e3);
        Ok(cold.seconds)
    })?;
    let work = |state: &str| format!("C-GET of {} x 60 KB, {state}", study.instances());
    let outcome = |state: &str, figures: &Figures| {
        Outcome::new("A9", &work(state), "s", Better::Less, figures).times_best(&Kind::ARCHIVES, 1.5, "the best")
    };
    let first = first.median(Kind::Filmroom).unwrap_or(0.0);
    Ok(vec![outcome("cold", &cold), outcome("warm", &warm).note(format!("first instance after {first:.1} ms"))])
}

/// B1: a study by C-MOVE to our own sink, which acknowledges at once.
pub fn c_move(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let study = study(comparison)?;
    comparison.holders(&RETRIEVED_FROM)?; // filled before the sink is borrowed
    let expected = (u64::try_from(study.instances())?, study.bytes);
    let figures = comparison.take_holders(&RETRIEVED_FROM, |comparison, peer, _| {
        comparison.sink.take();
        let moved = dimse::c_move(peer.dicom()?, &peer.ae, &study.study_instance_uid, "SINK", study.instances())?;
        let (instances, bytes) = comparison.sink.take();
        ensure!(instances == expected.0, "{instances} instances arrived instead of {}", expected.0);
        ensure!(bytes.abs_diff(expected.1) < expected.1 / 100, "{bytes} bytes arrived instead of {}", expected.1);
        Ok(moved.seconds)
    })?;
    let work = format!("C-MOVE of {} x 60 KB to a good sink, warm", study.instances());
    Ok(vec![Outcome::new("B1", &work, "s", Better::Less, &figures).times_best(&Kind::ARCHIVES, 1.5, "the best")])
}

/// B2: a study by C-MOVE to DCMTK's storescp as distributions start it.
pub fn c_move_to_a_slow_sink(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let study = study(comparison)?;
    let program = comparison.programs.storescp.clone();
    if !program.exists() {
        missing(Kind::Storescp, &program, "install the package dcmtk");
        return Ok(Vec::new());
    }
    let directory = comparison.directory.join("slow-sink");
    std::fs::create_dir_all(&directory).context("create the sink's directory")?;
    let mut command = Command::new(program);
    command.env_remove("TCP_NODELAY").args(["-aet", "SLOWSINK", "-dhl", "--ignore"]);
    command.arg(comparison.slow_sink_port.to_string()).current_dir(&directory);
    let mut sink = Process::start(&mut command, &directory.join("log"), Signal::TERM)?;
    sink.wait_for(loopback(comparison.slow_sink_port))?;
    let ours = from_ref(&Kind::Filmroom);
    let figures = comparison.take_holders(ours, |_, peer, _| {
        let moved = dimse::c_move(peer.dicom()?, &peer.ae, &study.study_instance_uid, "SLOWSINK", study.instances())?;
        Ok(number(moved.instances) / moved.seconds)
    })?;
    sink.stop()?;
    let outcome = Outcome::new("B2", "C-MOVE to storescp, Nagle and delayed ACK", "inst/s", Better::More, &figures);
    Ok(vec![outcome.bound(100.0 * DELAYED_PER_SECOND).note("peers reach 22 inst/s, an instance each 44 ms")])
}

fn study(comparison: &mut Comparison) -> anyhow::Result<Study> {
    comparison.holdings().large.first().cloned().context("there is no large study")
}
