//! A10: how long a start takes, with many sealed instances and with a full journal after SIGKILL. D4: how fast an index is
//! made anew.

use std::time::Instant;

use anyhow::{Context, ensure};

use crate::comparison::{Comparison, Figures};
use crate::data::{bytes, slices, tiny_slices};
use crate::load::dimse::{self, Find, Query, Store, store};
use crate::measure::pages::{drop_cached, footprint};
use crate::measure::times::number;
use crate::peers::{self, Kind, Peer, Programs, filmroom};
use crate::report::{Better, Outcome, progress};

/// Associations that fill the server.
const ASSOCIATIONS: usize = 8;
/// Instances of each study that is sealed.
const STUDY_INSTANCES: u32 = 250;
/// Seconds that a start may take, with sealed instances and with a full journal.
const SECONDS_MAX: (f64, f64) = (2.0, 10.0);
/// Instances a second that a rebuilt index takes from tables of contents in the page cache.
const REBUILT_MIN: f64 = 1e6;

/// A10.
pub fn a10(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let [start, rebuild] = with_sealed_instances(comparison)?;
    Ok(vec![start, with_a_full_journal(comparison)?, rebuild])
}

fn with_sealed_instances(comparison: &mut Comparison) -> anyhow::Result<[Outcome; 2]> {
    let samples = tiny_slices(1, STUDY_INSTANCES.min(comparison.sizes.sealed_instances));
    let turn = number(samples.len() * ASSOCIATIONS);
    let copies = copies(number(comparison.sizes.sealed_instances) / turn);
    let mut peer = newcomer(comparison)?;
    progress(&format!("A10: sends {turn} x {copies} instances"));
    let stored = fill(comparison, &peer, &samples, copies)?;
    progress("A10: packs them");
    filmroom::pack(&comparison.programs, &peer)?;
    let mut figures = Figures::default();
    for _ in 0..comparison.runs {
        let (directory, data) = (peer.directory.clone(), peer.data_dirs.clone());
        peer.stop()?;
        drop_cached(&data)?;
        let (again, seconds) = start(&comparison.programs, &directory)?;
        peer = again;
        figures.add(Kind::Filmroom, seconds);
    }
    let mut rebuilt = Figures::default();
    for _ in 0..comparison.runs {
        let directory = peer.directory.clone();
        peer.stop()?;
        let begun = Instant::now();
        filmroom::rebuild_index(&comparison.programs, &directory)?;
        rebuilt.add(Kind::Filmroom, number(stored.instances) / begun.elapsed().as_secs_f64());
        (peer, _) = start(&comparison.programs, &directory)?;
    }
    check(&peer, &samples, &stored)?;
    Comparison::dismiss(vec![peer])?;
    let work = format!("start with {} sealed instances, cold", stored.instances);
    let started = Outcome::new("A10", &work, "s", Better::Less, &figures).bound(SECONDS_MAX.0);
    let work = format!("rebuild-index, {STUDY_INSTANCES} instances a study, start of Postgres included");
    let rebuilt = Outcome::new("D4", &work, "inst/s", Better::More, &rebuilt).bound(REBUILT_MIN);
    Ok([started, rebuilt])
}

fn with_a_full_journal(comparison: &mut Comparison) -> anyhow::Result<Outcome> {
    let samples = slices(1, comparison.sizes.slices.min(500));
    let turn = number(bytes(&samples)) * number(ASSOCIATIONS);
    let copies = copies(number(comparison.sizes.journal_bytes) / turn);
    let mut peer = newcomer(comparison)?;
    progress(&format!("A10: fills the journal, {copies} times {turn} bytes"));
    let stored = fill(comparison, &peer, &samples, copies)?;
    let (mut figures, mut journal) = (Figures::default(), 0);
    for _ in 0..comparison.runs {
        journal = footprint(&[peer.directory.join("data/journal")]).bytes;
        peer.kill()?;
        let directory = peer.directory.clone();
        drop(peer);
        let (again, seconds) = start(&comparison.programs, &directory)?;
        peer = again;
        figures.add(Kind::Filmroom, seconds);
        check(&peer, &samples, &stored)?;
    }
    Comparison::dismiss(vec![peer])?;
    let work = format!("start after SIGKILL, {} instances of 60 KB sent", stored.instances);
    let outcome = Outcome::new("A10", &work, "s", Better::Less, &figures).bound(SECONDS_MAX.1);
    Ok(outcome.note(format!("{} MB in the journal at the last kill; all studies found again", journal >> 20)))
}

/// What was sent.
struct Filled {
    instances: usize,
    first_salt: u32,
    studies: u32,
}

fn newcomer(comparison: &mut Comparison) -> anyhow::Result<Peer> {
    comparison.newcomers(&[Kind::Filmroom])?.pop().context("start ours")
}

fn fill(comparison: &Comparison, peer: &Peer, samples: &[crate::data::Sample], copies: u32) -> anyhow::Result<Filled> {
    let studies = copies * u32::try_from(ASSOCIATIONS)?;
    let salt = comparison.salt(studies);
    let work = Store { address: peer.dicom()?, ae: &peer.ae, samples, copies, salt, ..Store::default() };
    let stored = store(&Store { associations: ASSOCIATIONS, ..work })?;
    Ok(Filled { instances: stored.instances, first_salt: salt.unwrap_or(0), studies })
}

/// Starts ours in a directory that an earlier start left, and returns how long it took until it was ready.
fn start(programs: &Programs, directory: &std::path::Path) -> anyhow::Result<(Peer, f64)> {
    let begun = Instant::now();
    let peer = peers::start(Kind::Filmroom, programs, directory)?.context("start ours")?;
    Ok((peer, begun.elapsed().as_secs_f64()))
}

/// Fails unless studies from the beginning, the middle and the end are there in full.
fn check(peer: &Peer, samples: &[crate::data::Sample], filled: &Filled) -> anyhow::Result<()> {
    let sample = samples.first().context("nothing was sent")?;
    for salt in [0, filled.studies / 2, filled.studies - 1].map(|nth| filled.first_salt + nth) {
        let study = sample.study_instance_uid(salt);
        let keys = vec![(0x0020_000D, study.clone())];
        let query = Query { level: "STUDY", keys, matches: 1 };
        let (address, ae) = (peer.dicom()?, peer.ae.as_str());
        dimse::find(&Find { address, ae, queries: &[query], associations: 1, total: 1 })?;
        let got = dimse::c_get(address, ae, &study, samples.len())?;
        ensure!(got.bytes == bytes(samples), "{study} has {} bytes after the start", got.bytes);
    }
    Ok(())
}

/// Rounds a number of copies up, to one at least.
fn copies(exact: f64) -> u32 {
    (1..=u32::MAX / 2).find(|count| f64::from(*count) >= exact).unwrap_or(1)
}
