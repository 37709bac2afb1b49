//! A6 and C1: single frames and instances at random (WADO-RS).

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::peer_or_skip::peer_or_skip;
use crate::comparison::{Comparison, Figures};
use crate::data::{Holdings, Sample, slices};
use crate::load::dimse::{self, Store};
use crate::load::http::{Connection, DICOM, Load, OCTETS, Request, Target, random};
use crate::measure::times::number;
use crate::measure::usage::cpu_seconds;
use crate::peers::{Kind, Peer, nginx};
use crate::report::{Better, Outcome, progress};

/// Those that are asked.
const ARCHIVES_AND_OURS: [Kind; 5] =
    [Kind::Filmroom, Kind::NewOrthancSqlite, Kind::NewOrthancPostgres, Kind::OrthancSqlite, Kind::OrthancPostgres];
/// Connections of A6.
pub(super) const CONNECTIONS: usize = 16;
/// Connections of C1: a viewer that asks for everything at once.
const CONNECTIONS_OF_VIEWER: usize = 100;
/// Instances that are asked for, spread over the large studies.
const TARGETS_MAX: usize = 1_000;
/// Bytes of a frame: 176 by 174 pixels of 16 bits.
const FRAME_BYTES: usize = 176 * 174 * 2;
/// Seed of the study that is not sealed.
const UNSEALED_SEED: u64 = 2_000;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Frame,
    Instance,
}

/// Where one instance is found, as a path below the root of the service.
pub(super) type Place = String;

/// What a load came to.
#[derive(Default)]
pub(super) struct Measured {
    /// Requests a second.
    pub(super) rate: Figures,
    /// 99th percentile in milliseconds.
    p99: Figures,
    /// Processor time of the server a request, in microseconds.
    pub(super) cpu: Figures,
}

/// Measures row A6.
pub fn a6(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let places = spread(&comparison.holdings());
    let mut outcomes = Vec::new();
    for what in [What::Frame, What::Instance] {
        let measured = measure(comparison, what, &places, CONNECTIONS)?;
        let work = format!("{} at random, {CONNECTIONS} connections", what.name());
        outcomes.push(
            Outcome::new("A6", &work, "req/s", Better::More, &measured.rate)
                .times_best(&Kind::ARCHIVES, 15.0, "the best archive")
                .times_best(&[Kind::Nginx], 0.5, "nginx, a file each"),
        );
        outcomes.extend(measured.others("A6", &work));
    }
    outcomes.extend(unsealed(comparison)?);
    Ok(outcomes)
}

/// Measures row C1: the frames of one series, a hundred at once.
pub fn c1(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let holdings = comparison.holdings();
    let study = holdings.large.first().context("C1 wants a large study")?;
    let series = study.series.first().context("C1 wants a series")?;
    let place = |uid: &String| place(&study.study_instance_uid, &series.series_instance_uid, uid);
    let places: Vec<Place> = series.sop_instance_uids.iter().map(place).collect();
    let measured = measure(comparison, What::Frame, &places, CONNECTIONS_OF_VIEWER)?;
    let rate = &measured.rate;
    let work = format!("frames of one series of {}, {CONNECTIONS_OF_VIEWER} connections", places.len());
    let ratio = rate.median(Kind::Filmroom).zip(rate.median(Kind::Nginx)).map(|(ours, limit)| ours / limit);
    let fast = rate.median(Kind::Filmroom).map(|ours| ours >= 10_000.0 || ratio.is_some_and(|ratio| ratio >= 0.6));
    let outcome = Outcome::new("C1", &work, "req/s", Better::More, rate)
        .judged(">= 10,000 req/s or >= 0.6x nginx", fast)
        .note(ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}x nginx")));
    Ok(vec![outcome, measured.cpu("C1", &work)])
}

/// Measures frames of a study that was just received and is still in the journal.
fn unsealed(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let (runs, time) = (comparison.runs, Duration::from_secs(comparison.sizes.load_seconds));
    let samples = slices(UNSEALED_SEED, comparison.sizes.slices.min(u32::try_from(TARGETS_MAX)?));
    let newcomers = comparison.newcomers(&[Kind::Filmroom, Kind::Nginx])?;
    let [ours, others @ ..] = newcomers.as_slice() else { return Ok(Vec::new()) };
    dimse::store(&Store { address: ours.dicom()?, ae: &ours.ae, samples: &samples, ..Store::default() })?;
    let place = |sample: &Sample| {
        let instance = &sample.instance;
        place(&instance.study_instance_uid, &instance.series_instance_uid, &instance.sop_instance_uid)
    };
    let places: Vec<Place> = samples.iter().map(place).collect();
    let mut askers = vec![Asked::checked(ours, What::Frame, &places, others)?];
    askers.extend(
        others.iter().map(|peer| Asked::files(peer, What::Frame, places.len())).collect::<Result<Vec<_>, _>>()?,
    );
    let measured = take_turns("A6, unsealed", &askers, CONNECTIONS, runs, time)?;
    drop(askers);
    Comparison::dismiss(newcomers)?;
    let work = format!("frames not sealed yet, {CONNECTIONS} connections");
    let outcome = Outcome::new("A6", &work, "req/s", Better::More, &measured.rate);
    let mut outcomes = vec![outcome.times_best(&[Kind::Nginx], 0.5, "nginx, a file each")];
    outcomes.extend(measured.others("A6", &work));
    Ok(outcomes)
}

/// Measures ours, the archives and nginx with files of our answers.
fn measure(comparison: &mut Comparison, what: What, places: &[Place], connections: usize) -> anyhow::Result<Measured> {
    let (runs, time) = (comparison.runs, Duration::from_secs(comparison.sizes.load_seconds));
    let files = comparison.newcomers(&[Kind::Nginx])?;
    let mut askers = Vec::new();
    for peer in comparison.holders(&ARCHIVES_AND_OURS)? {
        askers.extend(peer_or_skip(peer, Asked::checked(peer, what, places, &files))?);
    }
    for peer in &files {
        askers.push(Asked::files(peer, what, places.len())?);
    }
    let figures = take_turns(what.name(), &askers, connections, runs, time);
    drop(askers);
    Comparison::dismiss(files)?;
    figures
}

pub(super) fn take_turns(
    name: &str,
    askers: &[Asked],
    connections: usize,
    runs: u32,
    time: Duration,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    for run in 0..runs {
        progress(&format!("{name}, {connections} connections: run {} of {runs}", run + 1));
        for asked in askers {
            let Asked { kind, pids, address, accept, targets } = asked;
            let seed = 0x9E37_79B9 + u64::from(run);
            let load = Load { address: *address, accept, targets, connections, time, seed };
            let before = cpu_seconds(pids);
            let rates = random(&load).with_context(|| format!("ask {kind}"))?;
            measured.cpu.add(*kind, (cpu_seconds(pids) - before) * 1e6 / number(rates.requests));
            measured.rate.add(*kind, rates.per_second);
            measured.p99.add(*kind, rates.times.p99_ms);
        }
    }
    Ok(measured)
}

impl Measured {
    /// Returns what stands beside the rate.
    fn others(&self, row: &'static str, work: &str) -> [Outcome; 2] {
        let p99 = Outcome::new(row, &format!("{work}: p99"), "ms", Better::Less, &self.p99).bound(10.0);
        [p99, self.cpu(row, work)]
    }

    /// Returns the processor time, which says more than the rate while the machine has other work.
    fn cpu(&self, row: &'static str, work: &str) -> Outcome {
        Outcome::new(row, &format!("{work}: server's processor time"), "us/req", Better::Less, &self.cpu)
    }
}

/// A peer whose answers were each looked at once; from then on their lengths must agree.
pub(super) struct Asked {
    kind: Kind,
    pids: Vec<i32>,
    address: SocketAddr,
    accept: &'static str,
    targets: Vec<Target>,
}

impl Asked {
    /// Asks for everything once and looks at it; gives `files` our answers to send.
    pub(super) fn checked(peer: &Peer, what: What, places: &[Place], files: &[Peer]) -> anyhow::Result<Self> {
        let base = peer.http()?;
        let mut connection = Connection::open(base.address)?;
        let mut targets = Vec::with_capacity(places.len());
        for (number, place) in places.iter().enumerate() {
            let path = format!("{}{place}{}", base.path, what.suffix());
            let answer = connection.whole(Request::get(&path, what.accept()))?;
            ensure!(answer.status == 200, "{path}: status {}", answer.status);
            let lengths: Vec<usize> = answer.parts().context(path.clone())?.iter().map(|part| part.len()).collect();
            ensure!(what.is_right(&lengths), "{path}: parts of {lengths:?} bytes");
            if peer.kind == Kind::Filmroom {
                for server in files {
                    fs::write(nginx::files(server).join(file(what, number)), &answer.body).context("write a file")?;
                }
            }
            targets.push(Target { path, bytes: u64::try_from(answer.body.len())? });
        }
        Ok(Self { kind: peer.kind, pids: peer.pids(), address: base.address, accept: what.accept(), targets })
    }

    /// Takes the files that nginx was given.
    fn files(peer: &Peer, what: What, count: usize) -> anyhow::Result<Self> {
        let target = |number| {
            let name = file(what, number);
            let bytes = fs::metadata(nginx::files(peer).join(&name)).context("find a file")?.len();
            Ok(Target { path: format!("/{name}"), bytes })
        };
        let targets: anyhow::Result<_> = (0..count).map(target).collect();
        Ok(Self {
            kind: peer.kind,
            pids: peer.pids(),
            address: peer.http()?.address,
            accept: what.accept(),
            targets: targets?,
        })
    }
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Frame => "frames",
            Self::Instance => "instances",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Frame => "/frames/1",
            Self::Instance => "",
        }
    }

    fn accept(self) -> &'static str {
        match self {
            Self::Frame => OCTETS,
            Self::Instance => DICOM,
        }
    }

    fn is_right(self, parts: &[usize]) -> bool {
        match (self, parts) {
            (Self::Frame, [bytes]) => *bytes == FRAME_BYTES,
            (Self::Instance, [bytes]) => *bytes > FRAME_BYTES,
            (Self::Frame | Self::Instance, _) => false,
        }
    }
}

/// Chooses instances of all large studies.
pub(super) fn spread(holdings: &Holdings) -> Vec<Place> {
    let mut all = Vec::new();
    for study in &holdings.large {
        for series in &study.series {
            let place = |uid: &String| place(&study.study_instance_uid, &series.series_instance_uid, uid);
            all.extend(series.sop_instance_uids.iter().map(place));
        }
    }
    let step = all.len().div_ceil(TARGETS_MAX).max(1);
    all.into_iter().step_by(step).collect()
}

fn place(study: &str, series: &str, instance: &str) -> Place {
    format!("/studies/{study}/series/{series}/instances/{instance}")
}

fn file(what: What, number: usize) -> String {
    format!("{}-{number}", what.name())
}
