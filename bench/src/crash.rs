//! Kill -9: whatever was acknowledged before is served afterwards, byte for byte, once.
//!
//! A round has a seed of its own, one more than the round before, and can be run again alone. In it, senders store generated studies over several associations; at a moment that the seed decides on the server,
//! its Postgres or both are killed; when the server works again every acknowledged instance is fetched by WADO-RS and
//! compared with what was sent, instances are sent again as if their acknowledgements were lost, QIDO-RS is asked for
//! duplicates and counts, `filmroom verify` for damage. The data directory lives for several rounds; after its last
//! one the server is killed once more and everything in it is compared.

mod chance;
mod compare;
mod round;
mod send;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use testdata::{Charset, Encoding, StudySpec};

use round::Trial;

pub use compare::Compared;

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Victim {
    /// The server, which is then started again.
    Server,
    /// A process of the server's own Postgres: the server goes on and starts it again by itself.
    Postgres,
    /// The one, the other, or one shortly after the other.
    Both,
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary to try.
    pub binary: PathBuf,
    /// Where the server's data, configuration and log go.
    pub directory: PathBuf,
    /// How often to kill.
    pub rounds: u32,
    /// Seed of the first round; each further round has the next. It decides on data and moments.
    pub seed: u64,
    /// Associations that send at a time.
    pub associations: u32,
    /// The kill comes between these.
    pub kill_after: (Duration, Duration),
    /// What is killed.
    pub victim: Victim,
    /// After so many rounds a new data directory is begun.
    pub fresh_every: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            binary: PathBuf::from("target/release/filmroom"),
            directory: PathBuf::new(),
            rounds: 10,
            seed: 1,
            associations: 4,
            kill_after: (Duration::from_millis(30), Duration::from_millis(1200)),
            victim: Victim::Server,
            fresh_every: 10,
        }
    }
}

/// What is killed in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Killed {
    /// The server.
    Server,
    /// The first process of Postgres.
    Postmaster,
    /// A process of Postgres that serves a connection: Postgres restarts itself.
    Backend,
    /// The first process of Postgres, and the server while it starts it again.
    PostmasterThenServer,
}

/// What goes on when the kill comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum During {
    /// Instances come in; what is quiet is packed.
    Ingest,
    /// Instances come in, and `filmroom pack --now` runs again and again.
    IngestAndPack,
    /// Nothing comes in any more, `filmroom pack --now` has begun.
    Pack,
    /// As `Ingest`, and the server is killed twice more while it starts.
    Start,
}

/// What one round found.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// Seed of this round: what a failure needs to be seen again.
    pub seed: u64,
    /// Number in its data directory, from 1: together with the rounds before it, it is run again by beginning with
    /// seed - round + 1.
    pub round: u32,
    /// What was killed.
    pub killed: Killed,
    /// What went on then.
    pub during: During,
    /// When it was killed.
    pub killed_after_ms: u128,
    /// How long it took until searches were answered again.
    pub recovered_after_ms: u128,
    /// Instances acknowledged in this round.
    pub acknowledged: usize,
    /// Longest wait for an acknowledgement in this round.
    pub longest_wait_ms: u128,
    /// Instances refused in this round, with the status. None may be.
    pub refused: Vec<String>,
    /// Associations that broke although the server was not killed. None may.
    pub broken: Vec<String>,
    /// Instances sent again afterwards.
    pub resent: usize,
    /// Those of them that were refused. None may be.
    pub resent_refused: Vec<String>,
    /// What the comparisons found.
    #[serde(flatten)]
    pub compared: Compared,
    /// What `filmroom verify` said if it was not satisfied.
    pub unverified: Option<String>,
}

/// A seed, and what its round found, or why it could not be run.
pub type Found = (u64, anyhow::Result<Round>);

/// Seeds of studies, and the numbers of their instances in the order of generation.
pub(crate) type Studies = BTreeMap<u64, BTreeSet<usize>>;

impl Round {
    /// Whether nothing was lost, changed, doubled, refused or damaged.
    pub fn is_clean(&self) -> bool {
        let none = [&self.refused, &self.broken, &self.resent_refused].iter().all(|list| list.is_empty());
        none && self.unverified.is_none() && self.compared.is_clean()
    }
}

/// Returns the rounds, each run when it is asked for. After an error the next begins in a new data directory.
pub fn run(options: &Options) -> impl Iterator<Item = Found> {
    let mut trial = Trial::new(options);
    let seeds = options.seed..options.seed + u64::from(options.rounds);
    let last = seeds.end.saturating_sub(1);
    seeds.map(move |seed| (seed, trial.round(seed, seed == last).with_context(|| format!("seed {seed}"))))
}

/// Runs the rounds, with several servers at a time, and reports each when it is done.
///
/// The rounds that share a data directory run on one server, one after the other.
pub fn run_parallel(options: &Options, servers: usize, mut report: impl FnMut(Found)) {
    let each = options.fresh_every;
    let groups = (0..options.rounds).step_by(usize::try_from(each).unwrap_or(usize::MAX)).map(|done| Options {
        seed: options.seed + u64::from(done),
        rounds: each.min(options.rounds - done),
        ..options.clone()
    });
    let groups = Mutex::new(groups);
    let (sender, found) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..servers {
            let (sender, groups) = (sender.clone(), &groups);
            let next = || groups.lock().unwrap_or_else(PoisonError::into_inner).next();
            scope.spawn(move || {
                while let Some(group) = next() {
                    run(&group).for_each(|round| drop(sender.send(round))); // it is received until all have ended
                }
            });
        }
        drop(sender);
        found.into_iter().for_each(&mut report);
    });
}

/// Returns the study of a seed: sizes and encodings change with it. Every eighth has instances of more than 1 MiB.
pub(crate) fn spec(seed: u64) -> StudySpec {
    let (series, instances_per_series, side) = match seed % 8 {
        5 => (1, 4, 800),
        even if even % 2 == 0 => (2, 12, 172),
        _ => (2, 12, 64),
    };
    StudySpec {
        seed,
        series,
        instances_per_series,
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
