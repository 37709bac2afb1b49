//! A comparison of peers: each starts when a row first needs it, gets the same holdings, and takes its turn in every run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::data::Holdings;
use crate::load::sink::Sink;
use crate::measure::times::median;
use crate::measure::usage::cpu_seconds;
use crate::peers::{self, Kind, Peer, Programs};
use crate::process::pause;
use crate::report::progress;
use crate::sizes::Sizes;

/// How long peers may take to become idle.
const SETTLE_WAIT_MAX: Duration = Duration::from_secs(20);
/// How often they are looked at; clocks of processes tick every 10 ms.
const SETTLE_LOOK_EVERY: Duration = Duration::from_millis(400);
/// Share of a core that idle peers may use together.
const IDLE_SHARE: f64 = 0.08;

/// The peers and what they hold.
#[derive(Debug)]
pub struct Comparison {
    /// Programs of the peers.
    pub programs: Programs,
    /// Where they keep their data.
    pub directory: PathBuf,
    /// Turns of each peer.
    pub runs: u32,
    /// How large everything is.
    pub sizes: Sizes,
    /// A quick smoke test: ours, storescp and nginx only, verdicts are not judged.
    pub smoke: bool,
    /// Where archives of row A8g lie to be used again; without, they are made anew and removed.
    pub growth_directory: Option<PathBuf>,
    /// The destination `SINK` that all peers know.
    pub sink: Sink,
    /// The port of the destination `SLOWSINK` that all peers know; nothing listens there until a row starts something.
    pub slow_sink_port: u16,
    holders: BTreeMap<Kind, Option<Peer>>,
    holdings: Option<Arc<Holdings>>,
    /// The next salt of identifiers.
    salts: AtomicU32,
    /// Distinguishes the directories of peers that were started for one row.
    starts: u32,
}

/// Figures of each peer, one a run.
#[derive(Debug, Clone, Default)]
pub struct Figures(BTreeMap<Kind, Vec<f64>>);

/// Waits until peers have no work left from earlier turns, or for a while at most.
pub fn settle(peers: &[&Peer]) {
    settle_processes(&peers.iter().flat_map(|peer| peer.pids()).collect::<Vec<_>>());
}

/// Waits as [`settle`] does for processes and their children.
pub fn settle_processes(pids: &[i32]) {
    let begun = Instant::now();
    let mut before = cpu_seconds(pids);
    while begun.elapsed() < SETTLE_WAIT_MAX {
        pause(SETTLE_LOOK_EVERY);
        let now = cpu_seconds(pids);
        if now - before <= IDLE_SHARE * SETTLE_LOOK_EVERY.as_secs_f64() {
            return;
        }
        before = now;
    }
}

impl Comparison {
    /// Opens the sink; no peer runs yet.
    pub fn open(
        mut programs: Programs,
        directory: &Path,
        runs: u32,
        sizes: Sizes,
        smoke: bool,
    ) -> anyhow::Result<Self> {
        let sink = Sink::open()?;
        let slow_sink_port = peers::free_port()?;
        programs.destinations =
            vec![("SINK".to_owned(), sink.address().port()), ("SLOWSINK".to_owned(), slow_sink_port)];
        Ok(Self {
            programs,
            directory: directory.to_owned(),
            runs,
            sizes,
            smoke,
            growth_directory: None,
            sink,
            slow_sink_port,
            holders: BTreeMap::new(),
            holdings: None,
            salts: AtomicU32::new(1),
            starts: 0,
        })
    }

    /// Returns what every holder holds.
    pub fn holdings(&mut self) -> Arc<Holdings> {
        Arc::clone(self.holdings.get_or_insert_with(|| Arc::new(Holdings::plan(&self.sizes))))
    }

    /// Starts these peers and gives them the holdings, unless that was done before, and returns those that there are.
    /// Ours has all of it sealed.
    pub fn holders(&mut self, kinds: &[Kind]) -> anyhow::Result<Vec<&Peer>> {
        let wanted = self.wanted(kinds);
        let holdings = self.holdings();
        for kind in &wanted {
            if !self.holders.contains_key(kind) {
                let holder = self.holder(*kind, &holdings).with_context(|| format!("fill {kind}"))?;
                self.holders.insert(*kind, holder);
            }
        }
        Ok(wanted.iter().filter_map(|kind| self.holders.get(kind)?.as_ref()).collect())
    }

    /// Lets holders take turns.
    pub fn take_holders(
        &mut self,
        kinds: &[Kind],
        mut turn: impl FnMut(&Self, &Peer, u32) -> anyhow::Result<f64>,
    ) -> anyhow::Result<Figures> {
        self.holders(kinds)?;
        let wanted = self.wanted(kinds);
        let holders: Vec<&Peer> = wanted.iter().filter_map(|kind| self.holders.get(kind)?.as_ref()).collect();
        Figures::take(self.runs, &holders, |peer, run| turn(self, peer, run))
    }

    /// Returns a salt that was not used before, the first of so many.
    pub fn salt(&self, count: u32) -> Option<u32> {
        Some(self.salts.fetch_add(count, Ordering::Relaxed))
    }

    /// Starts these peers with nothing in them, for one row. [`Self::dismiss`] them in the end.
    pub fn newcomers(&mut self, kinds: &[Kind]) -> anyhow::Result<Vec<Peer>> {
        let mut peers = Vec::new();
        for kind in self.wanted(kinds) {
            self.starts += 1;
            let directory = self.directory.join(format!("{kind}-{}", self.starts));
            peers.extend(peers::start(kind, &self.programs, &directory)?);
        }
        Ok(peers)
    }

    /// Stops peers and removes their data.
    pub fn dismiss(peers: Vec<Peer>) -> anyhow::Result<()> {
        for peer in peers {
            let directory = peer.directory.clone();
            peer.stop()?;
            std::fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
        }
        Ok(())
    }

    /// Leaves out what a smoke test does not start.
    fn wanted(&self, kinds: &[Kind]) -> Vec<Kind> {
        let quick = |kind: &Kind| matches!(kind, Kind::Filmroom | Kind::Storescp | Kind::StorescpIgnore | Kind::Nginx);
        kinds.iter().copied().filter(|kind| !self.smoke || quick(kind)).collect()
    }

    fn holder(&self, kind: Kind, holdings: &Holdings) -> anyhow::Result<Option<Peer>> {
        let Some(peer) = peers::start(kind, &self.programs, &self.directory.join(kind.to_string()))? else {
            return Ok(None);
        };
        progress(&format!("{kind}: takes {} instances in", holdings.instances()));
        holdings.send(peer.dicom()?, &peer.ae)?;
        if kind == Kind::Filmroom {
            crate::peers::filmroom::pack(&self.programs, &peer)?;
        }
        Ok(Some(peer))
    }
}

impl Figures {
    /// Lets peers take turns, run by run, each when all of them are idle, and keeps a figure of each turn. What goes
    /// wrong with ours is an error; another peer gets no figure and no more turns, and why is said.
    pub fn take<P: std::borrow::Borrow<Peer>>(
        runs: u32,
        peers: &[P],
        mut turn: impl FnMut(&Peer, u32) -> anyhow::Result<f64>,
    ) -> anyhow::Result<Self> {
        let mut figures = Self::default();
        let mut left: Vec<&Peer> = peers.iter().map(std::borrow::Borrow::borrow).collect();
        for run in 0..runs {
            for peer in left.clone() {
                settle(&left);
                match turn(peer, run) {
                    Ok(figure) => figures.add(peer.kind, figure),
                    Err(error) if peer.kind == Kind::Filmroom => return Err(error.context(format!("run {}", run + 1))),
                    Err(error) => {
                        progress(&format!("{}: no figure: {error:#}", peer.kind));
                        figures.0.remove(&peer.kind);
                        left.retain(|other| other.kind != peer.kind);
                    }
                }
            }
        }
        Ok(figures)
    }

    /// Adds the figure of a run.
    pub fn add(&mut self, kind: Kind, figure: f64) {
        self.0.entry(kind).or_default().push(figure);
    }

    /// Returns the median of a peer's runs.
    pub fn median(&self, kind: Kind) -> Option<f64> {
        self.0.get(&kind).and_then(|figures| median(figures))
    }

    /// Returns the peers that have figures.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.0.keys().copied()
    }

    /// Returns the runs of a peer.
    pub fn runs(&self, kind: Kind) -> &[f64] {
        self.0.get(&kind).map_or(&[], Vec::as_slice)
    }
}
