//! Promise 10: memory is bounded by configuration, not by the size of instances and studies or the number of peers.
//!
//! A server gets a study that is packed and an index of many small ones. Then many associations send a long instance
//! each, many HTTP clients read the study slowly, and short questions are asked meanwhile; then slow clients ask for
//! everything. What the kernel calls the most resident bytes of the server's process is compared with a limit.

mod clients;
mod data;
mod process;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use serde::Serialize;

use crate::process::{Place, Server, pause};
use data::Long;

pub use clients::{Probe, Sent};

/// Seeds of the studies: the packed one, the long instances, the index, those stored meanwhile.
const SEEDS: [u64; 4] = [1, 1_000, 1_000_000, 100_000_000];
/// Associations that fill the index.
const FILLERS: u64 = 4;
/// How fast one client reads a search's answer, and how long another rests after each match of C-FIND.
const SLOW_SEARCH: (u64, Duration) = (1 << 20, Duration::from_millis(2));

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary to try.
    pub binary: PathBuf,
    /// Where the server's data, configuration and log go.
    pub directory: PathBuf,
    /// Associations that send a long instance each, at once.
    pub associations: u32,
    /// Length of such an instance.
    pub instance_bytes: u64,
    /// Clients that read the study slowly.
    pub pullers: u32,
    /// Length of the study.
    pub study_bytes: u64,
    /// Length of its instances.
    pub study_instance_bytes: u64,
    /// How fast each of them reads.
    pub pull_bytes_per_second: u64,
    /// Small studies in the index.
    pub studies: u64,
    /// Clients that ask for all of them, by QIDO-RS and by C-FIND.
    pub searchers: u32,
    /// Limit of the journal.
    pub journal_bytes: u64,
    /// Resident bytes that the server may have.
    pub resident_bytes_max: u64,
    /// A short question that waits longer for its answer was starved.
    pub answer_wait_max: Duration,
    /// How long the slow clients read at least.
    pub at_least: Duration,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Resident bytes before the work, with the index filled and the study packed.
    pub resident_before: u64,
    /// Most resident bytes while the study came in and was packed.
    pub resident_most_packing: u64,
    /// Most resident bytes while instances came in and the study was read.
    pub resident_most_load: u64,
    /// Most resident bytes while everything was searched for.
    pub resident_most_search: u64,
    /// What became of the long instances.
    pub sent: Sent,
    /// How long that took.
    pub sent_ms: u128,
    /// Bytes that the slowest and the fastest reader got.
    pub pulled_bytes: (u64, u64),
    /// Short questions meanwhile.
    pub probes: Vec<Probe>,
    /// Bytes of the slow searches' answers, and matches of C-FIND.
    pub searched: (u64, u64),
    /// What is wrong.
    pub failures: Vec<String>,
}

/// Runs the trial once.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let place = place(options)?;
    let server = place.serve()?;
    let pid = server.pid()?;
    let study = prepare(options, &place, &server)?;
    let (resident_before, resident_most_packing) = process::resident(pid)?;
    process::mark(pid)?;
    let load = load(options, &server, &study)?;
    let (_, resident_most_load) = process::resident(pid)?;
    process::mark(pid)?;
    let searched = search(options, &server)?;
    let (_, resident_most_search) = process::resident(pid)?;
    server.stop()?;
    let mut report = Report {
        resident_before,
        resident_most_packing,
        resident_most_load,
        resident_most_search,
        sent: load.sent,
        sent_ms: load.sent_after.as_millis(),
        pulled_bytes: load.pulled_bytes,
        probes: load.probes,
        searched,
        failures: load.failures,
    };
    report.judge(options);
    Ok(report)
}

impl Report {
    /// Returns the most resident bytes of all.
    pub fn resident_most(&self) -> u64 {
        self.resident_most_packing.max(self.resident_most_load).max(self.resident_most_search)
    }

    fn judge(&mut self, options: &Options) {
        let mut failures = std::mem::take(&mut self.failures);
        if self.resident_most() > options.resident_bytes_max {
            failures.push(format!("{} bytes resident of at most {}", self.resident_most(), options.resident_bytes_max));
        }
        let all_fit = u64::from(options.associations) * options.instance_bytes < options.journal_bytes / 2;
        if self.sent.stored == 0 || (all_fit && self.sent.no_room > 0) {
            failures.push(format!("instances refused for want of room: {}", self.sent.no_room));
        }
        if self.pulled_bytes.0 == 0 {
            failures.push("a reader of the study got nothing".to_owned());
        }
        for probe in &self.probes {
            let late = probe.most_ms > options.answer_wait_max.as_millis();
            let failed = probe.failures.first().filter(|_| all_fit || probe.what != clients::STORE);
            failures.extend(failed.map(|failure| format!("{}: {failure}", probe.what)));
            failures.extend(late.then(|| format!("{} waited {} ms", probe.what, probe.most_ms)));
        }
        if self.searched.1 < options.studies * u64::from(options.searchers) {
            failures.push(format!("C-FIND found {} studies", self.searched.1));
        }
        self.failures = failures;
    }
}

/// The defaults, but for addresses and the journal's limit.
fn place(options: &Options) -> anyhow::Result<Place> {
    let config = format!(
        "data = \"{}\"\n[dicom]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [journal]\nsize_max = \"{}MiB\"\n",
        options.directory.join("data").display(),
        options.journal_bytes >> 20
    );
    Place::with(&options.binary, &options.directory, &config)
}

/// Stores the study and the small ones, and packs the study; returns its path.
fn prepare(options: &Options, place: &Place, server: &Server) -> anyhow::Result<String> {
    let [packed, _, index, _] = SEEDS;
    let instances = u32::try_from(options.study_bytes / options.study_instance_bytes.max(1))?.max(1);
    let study = Long::study(packed + 1, instances, options.study_instance_bytes)?;
    clients::send_studies(&server.dicom, packed..packed + 1)?;
    for long in &study {
        ensure!(clients::send(&server.dicom, long)?.stored == 1, "the journal has no room for the study");
    }
    place.pack_all()?;
    let each = options.studies / FILLERS;
    all((0..FILLERS).map(|filler| {
        let seeds = index + filler * each..index + (filler + 1) * each;
        move || clients::send_studies(&server.dicom, seeds)
    }))?;
    let first = study.first().context("a study has instances")?;
    Ok(format!("/dicomweb/studies/{}", first.instance.study_instance_uid))
}

struct Load {
    sent: Sent,
    sent_after: Duration,
    pulled_bytes: (u64, u64),
    probes: Vec<Probe>,
    failures: Vec<String>,
}

/// Sends, reads and asks at the same time.
fn load(options: &Options, server: &Server, study: &str) -> anyhow::Result<Load> {
    let [packed, long, _, meanwhile] = SEEDS;
    let (stop, begun) = (AtomicBool::new(false), Instant::now());
    let taken: Vec<AtomicU64> = (0..options.pullers).map(|_| AtomicU64::new(0)).collect();
    let instances: Vec<Long> = (0..options.associations)
        .flat_map(|number| Long::study(long + u64::from(number), 1, options.instance_bytes))
        .flatten()
        .collect();
    thread::scope(|scope| {
        let pullers: Vec<_> = taken
            .iter()
            .map(|taken| {
                scope.spawn(|| clients::sip((&server.http, study), options.pull_bytes_per_second, &stop, taken))
            })
            .collect();
        let probes = scope.spawn(|| clients::probe(&server.dicom, &server.http, packed, meanwhile, &stop));
        let sends: Vec<_> = instances.iter().map(|long| scope.spawn(|| clients::send(&server.dicom, long))).collect();
        let mut failures = Vec::new();
        let mut sent = Sent::default();
        for one in sends.into_iter().map(joined) {
            match one {
                Ok(one) => {
                    sent.stored += one.stored;
                    sent.no_room += one.no_room;
                }
                Err(error) => failures.push(format!("send: {error:#}")),
            }
        }
        let sent_after = begun.elapsed();
        pause(options.at_least.saturating_sub(sent_after));
        stop.store(true, Ordering::Relaxed);
        failures.extend(pullers.into_iter().filter_map(|puller| joined(puller).err()).map(|e| format!("read: {e:#}")));
        let taken = taken.iter().map(|taken| taken.load(Ordering::Relaxed));
        let pulled_bytes = (taken.clone().min().unwrap_or_default(), taken.max().unwrap_or_default());
        Ok(Load { sent, sent_after, pulled_bytes, probes: joined(probes)?, failures })
    })
}

/// Asks for everything, all searchers at once; returns bytes by QIDO-RS and matches by C-FIND.
fn search(options: &Options, server: &Server) -> anyhow::Result<(u64, u64)> {
    let (never, taken) = (AtomicBool::new(false), AtomicU64::new(0));
    let found = AtomicU64::new(0);
    let (rate, rest) = SLOW_SEARCH;
    thread::scope(|scope| {
        let mut searchers = Vec::new();
        for _ in 0..options.searchers {
            searchers.push(scope.spawn(|| {
                let own = AtomicU64::new(0);
                clients::sip((&server.http, "/dicomweb/studies?limit=5000&includefield=all"), rate, &never, &own)?;
                taken.fetch_add(own.into_inner(), Ordering::Relaxed);
                Ok(())
            }));
            searchers.push(scope.spawn(|| {
                found.fetch_add(clients::find_slowly(&server.dicom, rest)?, Ordering::Relaxed);
                Ok(())
            }));
        }
        searchers.into_iter().try_for_each(joined)
    })?;
    Ok((taken.into_inner(), found.into_inner()))
}

/// Runs all at once; returns the first error.
fn all<W: FnOnce() -> anyhow::Result<()> + Send>(works: impl Iterator<Item = W>) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let running: Vec<_> = works.map(|work| scope.spawn(work)).collect();
        running.into_iter().try_for_each(joined)
    })
}

fn joined<T>(running: ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    running.join().map_err(|_| anyhow!("a client panicked"))?
}

/// Returns the free bytes of the disk that a directory is on.
pub fn free_bytes(directory: &Path) -> anyhow::Result<u64> {
    let disk = rustix::fs::statvfs(directory).context("ask the disk for its room")?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
