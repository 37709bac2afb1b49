//! Kill -9: whatever was acknowledged before is served afterwards, byte for byte, once.
//!
//! A round: senders store generated studies over several associations; at a moment that the seed decides on the server
//! is killed; it is started again; every acknowledged instance is fetched by WADO-RS and compared with what was sent,
//! QIDO-RS is asked for duplicates, `filmroom verify` for damage. After the last round everything is compared again.

mod compare;
mod send;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use testdata::{Charset, Encoding, StudySpec};

use crate::process::Place;

pub use compare::Compared;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary to try.
    pub binary: PathBuf,
    /// Where the server's data, configuration and log go.
    pub directory: PathBuf,
    /// How often to kill.
    pub rounds: u32,
    /// Decides on data and moments.
    pub seed: u64,
    /// Associations that send at a time.
    pub associations: u32,
    /// The kill comes between these.
    pub kill_after: (Duration, Duration),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            binary: PathBuf::from("target/release/filmroom"),
            directory: PathBuf::new(),
            rounds: 10,
            seed: 1,
            associations: 4,
            kill_after: (Duration::from_millis(100), Duration::from_secs(4)),
        }
    }
}

/// What one round found.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// Number from 1; one more than asked for: the comparison of everything at the end.
    pub round: u32,
    /// Seed of the run: what a failure needs to be seen again.
    pub seed: u64,
    /// When the server was killed.
    pub killed_after_ms: u128,
    /// How long it took to be ready again.
    pub ready_after_ms: u128,
    /// Instances acknowledged in this round.
    pub acknowledged: usize,
    /// Instances refused in this round.
    pub refused: usize,
    /// What the comparison found.
    #[serde(flatten)]
    pub compared: Compared,
    /// Whether `filmroom verify` found everything healthy.
    pub verified: bool,
}

/// Acknowledged instances: seed of the study, and the numbers of its instances in the order of generation.
pub(crate) type Acknowledged = BTreeMap<u64, Vec<usize>>;

impl Round {
    /// Whether nothing was lost, changed, doubled or damaged.
    pub fn is_clean(&self) -> bool {
        self.verified && self.compared.is_clean()
    }
}

/// Returns the rounds, each run when it is asked for, then the comparison of everything.
pub fn run(options: &Options) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Round>>> {
    let place = Place::new(&options.binary, &options.directory)?;
    let options = options.clone();
    let mut everything = Acknowledged::new();
    Ok((1..=options.rounds + 1).map(move |round| {
        let found = if round > options.rounds {
            last(&place, &options, round, &everything)
        } else {
            one(&place, &options, round, &mut everything)
        };
        found.with_context(|| format!("round {round} with seed {}", options.seed))
    }))
}

fn one(place: &Place, options: &Options, round: u32, everything: &mut Acknowledged) -> anyhow::Result<Round> {
    let server = place.serve()?;
    let moment = moment(options, round);
    let (stop, stopped) = mpsc::channel();
    let first_seed = options.seed.wrapping_mul(1_000_000).wrapping_add(u64::from(round) * 10_000);
    let address = server.dicom.clone();
    let associations = options.associations;
    let sending = std::thread::spawn(move || {
        let sent = send::send(&address, first_seed, associations);
        stop.send(()).ok(); // the killer may have been faster
        sent
    });
    // All senders ending by themselves before the moment is fine: then the kill comes a little sooner.
    stopped.recv_timeout(moment).ok();
    server.kill()?;
    let sent = sending.join().map_err(|_| anyhow::anyhow!("a sender panicked"))?;
    let begun = Instant::now();
    let server = place.serve()?;
    let ready_after_ms = begun.elapsed().as_millis();
    let compared = compare::compare(&server.http, &sent.acknowledged)?;
    let verified = place.verify()?;
    server.kill()?;
    let acknowledged = sent.acknowledged.values().map(Vec::len).sum();
    everything.extend(sent.acknowledged);
    Ok(Round {
        round,
        seed: options.seed,
        killed_after_ms: moment.as_millis(),
        ready_after_ms,
        acknowledged,
        refused: sent.refused,
        compared,
        verified,
    })
}

fn last(place: &Place, options: &Options, round: u32, everything: &Acknowledged) -> anyhow::Result<Round> {
    let begun = Instant::now();
    let server = place.serve()?;
    let ready_after_ms = begun.elapsed().as_millis();
    let compared = compare::compare(&server.http, everything)?;
    let verified = place.verify()?;
    Ok(Round {
        round,
        seed: options.seed,
        killed_after_ms: 0,
        ready_after_ms,
        acknowledged: 0,
        refused: 0,
        compared,
        verified,
    })
}

/// Returns when to kill in this round.
fn moment(options: &Options, round: u32) -> Duration {
    let (from, to) = options.kill_after;
    let mut mixed = options.seed ^ (u64::from(round) << 32);
    for _ in 0..3 {
        mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    }
    let part = u32::try_from(mixed >> 44).expect("20 bits");
    from + to.saturating_sub(from) * part / (1 << 20)
}

/// Returns the study of a seed: sizes and encodings change with it.
pub(crate) fn spec(seed: u64) -> StudySpec {
    let side = if seed.is_multiple_of(2) { 172 } else { 64 };
    StudySpec {
        seed,
        series: 2,
        instances_per_series: 20,
        rows: side,
        columns: side,
        charset: if seed.is_multiple_of(5) { Charset::Utf8 } else { Charset::Ascii },
        encoding: match seed % 3 {
            0 => Encoding::ExplicitLittleEndian,
            1 => Encoding::ImplicitLittleEndian,
            _ => Encoding::RleLossless,
        },
        ..StudySpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_differ_and_stay_within_their_bounds() {
        let options = Options::default();
        let moments: Vec<_> = (1..100).map(|round| moment(&options, round)).collect();
        assert!(moments.iter().all(|moment| (options.kill_after.0..=options.kill_after.1).contains(moment)));
        assert!(moments.iter().max() > moments.iter().min().map(|least| *least * 5).as_ref());
    }
}
