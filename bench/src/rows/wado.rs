//! A5 and C2: whole studies (WADO-RS).

use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::peer_or_skip::peer_or_skip;
use crate::comparison::{Comparison, Figures};
use crate::data::{Holdings, Study};
use crate::load::http::{Connection, DICOM, Fetched, Request};
use crate::measure::pages::drop_cached;
use crate::measure::times::number;
use crate::measure::usage::cpu_seconds;
use crate::peers::{Kind, Peer, nginx};
use crate::report::{Better, Outcome, progress};

/// Those that have whole studies.
const ARCHIVES_AND_OURS: [Kind; 5] =
    [Kind::Filmroom, Kind::NewOrthancSqlite, Kind::NewOrthancPostgres, Kind::OrthancSqlite, Kind::OrthancPostgres];
/// Clients of C2, each with a study of its own.
const CLIENTS: usize = 8;
/// nginx's file with the bytes of our answer.
const FILE: &str = "study";

/// Measures row A5: one client retrieves a study, its files dropped from the page cache, then again.
pub fn a5(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let (runs, holdings) = (comparison.runs, comparison.holdings());
    let study = holdings.large.first().context("A5 wants a large study")?;
    let files = comparison.newcomers(&[Kind::Nginx])?;
    let holders = comparison.holders(&ARCHIVES_AND_OURS)?;
    let mut pulls = Vec::new();
    for peer in &holders {
        pulls.extend(peer_or_skip(peer, Pull::checked(peer, study, &files))?);
    }
    for peer in &files {
        let bytes = fs::metadata(nginx::files(peer).join(FILE)).context("find our answer as a file")?.len();
        pulls.push(Pull { peer, path: format!("/{FILE}"), bytes });
    }
    let [mut cold, mut warm, mut cold_first, mut warm_first, mut cpu] = [(); 5].map(|()| Figures::default());
    for run in 0..runs {
        progress(&format!("A5: run {} of {runs}", run + 1));
        for pull in &pulls {
            let kind = pull.peer.kind;
            drop_cached(&pull.peer.data_dirs)?;
            let before = cpu_seconds(&pull.peer.pids());
            let fetched = pull.timed()?;
            cold.add(kind, fetched.total.as_secs_f64());
            cold_first.add(kind, millis(fetched.first_byte));
            let fetched = pull.timed()?;
            warm.add(kind, fetched.total.as_secs_f64());
            warm_first.add(kind, millis(fetched.first_byte));
            cpu.add(kind, (cpu_seconds(&pull.peer.pids()) - before) * 1e3 / 2.0);
        }
    }
    drop(pulls);
    Comparison::dismiss(files)?;
    let slices = study.instances();
    let outcome = |state: &str, figures: &Figures, factor| {
        Outcome::new("A5", &format!("WADO-RS study of {slices}, {state}"), "s", Better::Less, figures)
            .times_best(&Kind::ARCHIVES, factor, "the best archive")
            .times_best(&[Kind::Nginx], 0.5, "nginx, one file")
    };
    let first = |state: &str, figures: &Figures| {
        Outcome::new("A5", &format!("its first byte, {state}"), "ms", Better::Less, figures).bound(10.0)
    };
    Ok(vec![
        outcome("cold", &cold, 2.0),
        outcome("warm", &warm, 1.3),
        first("cold", &cold_first),
        first("warm", &warm_first),
        Outcome::new("A5", "its processor time of the server, mean of cold and warm", "ms", Better::Less, &cpu),
    ])
}

/// Measures row C2: eight clients retrieve a study each at the same time, from the page cache.
pub fn c2(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let (runs, holdings) = (comparison.runs, comparison.holdings());
    let holders = comparison.holders(&ARCHIVES_AND_OURS)?;
    let mut peers = Vec::new();
    for peer in &holders {
        peers.extend(peer_or_skip(peer, all(peer, &holdings))?);
    }
    let mut figures = Figures::default();
    for run in 0..runs {
        progress(&format!("C2: run {} of {runs}", run + 1));
        for pulls in &peers {
            let (begun, kind) = (Instant::now(), pulls.first().context("C2 wants large studies")?.peer.kind);
            at_once(pulls)?;
            let bytes: u64 = pulls.iter().map(|pull| pull.bytes).sum();
            figures.add(kind, number(bytes) / begun.elapsed().as_secs_f64() / 1e6);
        }
    }
    let work =
        format!("{} clients, a study of {} each, warm", CLIENTS.min(holdings.large.len()), arena_slices(&holdings));
    let outcome = Outcome::new("C2", &work, "MB/s", Better::More, &figures);
    Ok(vec![outcome.times_best(&Kind::ARCHIVES, 1.2, "the best archive")])
}

fn all<'a>(peer: &'a Peer, holdings: &Holdings) -> anyhow::Result<Vec<Pull<'a>>> {
    holdings.large.iter().take(CLIENTS).map(|study| Pull::checked(peer, study, &[])).collect()
}

fn arena_slices(holdings: &Holdings) -> usize {
    holdings.large.first().map_or(0, Study::instances)
}

/// Runs pulls at the same time; all connections are open before the first asks.
fn at_once(pulls: &[Pull<'_>]) -> anyhow::Result<()> {
    let barrier = &Barrier::new(pulls.len());
    let outcomes: Vec<anyhow::Result<Fetched>> = thread::scope(|scope| {
        let client = |pull| scope.spawn(move || Pull::timed_after(pull, barrier));
        let running: Vec<_> = pulls.iter().map(client).collect();
        running.into_iter().map(|one| one.join().expect("a client does not panic")).collect()
    });
    outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))
}

/// An answer that was read once and found right; every other time it must be as long.
pub(super) struct Pull<'a> {
    peer: &'a Peer,
    path: String,
    bytes: u64,
}

impl<'a> Pull<'a> {
    /// Retrieves a study and counts its instances; gives `files` the answer to send.
    pub(super) fn checked(peer: &'a Peer, study: &Study, files: &[Peer]) -> anyhow::Result<Self> {
        let base = peer.http()?;
        let path = format!("{}/studies/{}", base.path, study.study_instance_uid);
        let answer = Connection::open(base.address)?.whole(Request::get(&path, DICOM))?;
        ensure!(answer.status == 200, "{path}: status {}", answer.status);
        let parts = answer.parts().context("take the study apart")?;
        let (instances, expected) = (parts.len(), study.instances());
        ensure!(instances == expected, "{path}: {instances} instances, not {expected}");
        let bytes: u64 = parts.iter().map(|part| u64::try_from(part.len()).unwrap_or(0)).sum();
        ensure!(bytes >= study.bytes, "{path}: {bytes} bytes of files, data sets alone have {}", study.bytes);
        if peer.kind == Kind::Filmroom {
            for server in files {
                fs::write(nginx::files(server).join(FILE), &answer.body).context("write our answer as a file")?;
            }
        }
        Ok(Self { peer, path, bytes: u64::try_from(answer.body.len())? })
    }

    pub(super) fn timed(&self) -> anyhow::Result<Fetched> {
        self.timed_after(&Barrier::new(1))
    }

    fn timed_after(&self, barrier: &Barrier) -> anyhow::Result<Fetched> {
        let connection = self.peer.http().and_then(|base| Connection::open(base.address));
        barrier.wait(); // also without a connection: others wait for it
        let fetched = connection?.fetch(Request::get(&self.path, DICOM))?;
        let (status, bytes) = (fetched.status, fetched.bytes);
        ensure!(
            status == 200 && bytes == self.bytes,
            "{}: status {status}, {bytes} bytes, not {}",
            self.path,
            self.bytes
        );
        Ok(fetched)
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
