//! Kill -9: whatever was acknowledged before is served afterwards, byte for byte, once.
//!
//! A round has a seed of its own, one more than the round before, and can be run again alone. In it, senders store
//! generated studies over several associations; at a moment that the seed decides on, the server, its Postgres or both
//! are killed. When the server works again, every acknowledged instance is fetched by WADO-RS and compared with what
//! was sent, instances are sent again as if their acknowledgements were lost, QIDO-RS is asked for duplicates and
//! counts, and `filmroom verify` for damage. The data directory lives for several rounds; after its last one the
//! server is killed once more and everything in it is compared.

mod chance;
mod compare;
mod found;
mod options;
mod round;
mod send;
mod studies;

use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use anyhow::Context;

use round::Trial;

pub use compare::Compared;
pub use found::Round;
pub use options::{During, Killed, Options, Victim};

/// A seed, and what its round found, or why it could not be run.
pub type Found = (u64, anyhow::Result<Round>);

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
