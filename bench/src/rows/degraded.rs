//! D1: reading while two devices are away, beside the same reading while all are there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::frames::{Asked, CONNECTIONS, What, spread, take_turns};
use super::wado::Pull;
use crate::comparison::{Comparison, Figures, settle};
use crate::load::http::{Connection, Request};
use crate::measure::pages::{drop_cached, file_bytes, files};
use crate::measure::usage::cpu_seconds;
use crate::peers::{Kind, Peer};
use crate::process::pause;
use crate::report::{Better, Outcome, progress};

/// Devices that are taken away: as many as the code 4+2 replaces.
const AWAY: [&str; 2] = [".000.fshard", ".001.fshard"];
/// How long the server may take to notice; it probes every 5 s.
const NOTICE_MAX: Duration = Duration::from_secs(30);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What one state of the devices came to.
#[derive(Default)]
struct Measured {
    cold: Figures,
    warm: Figures,
    study_cpu: Figures,
    rate: Figures,
    frame_cpu: Figures,
}

/// Measures row D1: a study and frames at random, healthy and with the devices of two data shards away, run by run.
pub fn d1(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let (runs, time) = (comparison.runs, Duration::from_secs(comparison.sizes.load_seconds));
    let holdings = comparison.holdings();
    let study = holdings.large.first().context("D1 wants a large study")?;
    let places = spread(&holdings);
    let [peer] = comparison.holders(&[Kind::Filmroom])?[..] else { return Ok(Vec::new()) };
    let pull = Pull::checked(peer, study, &[])?;
    let asked = [Asked::checked(peer, What::Frame, &places, &[])?];
    let (mut healthy, mut degraded) = (Measured::default(), Measured::default());
    for run in 0..runs {
        progress(&format!("D1: run {} of {runs}", run + 1));
        healthy.add(peer, &pull, &asked, time)?;
        let away = Away::take(peer)?;
        let measured = degraded.add(peer, &pull, &asked, time);
        away.bring_back(peer)?;
        measured?;
    }
    let outcome = |work: &str, unit, better, of: fn(&Measured) -> &Figures| {
        let (now, before) = (of(&degraded), of(&healthy).median(Kind::Filmroom));
        let times = now.median(Kind::Filmroom).zip(before).map(|(now, before)| match better {
            Better::More => now / before,
            Better::Less => before / now,
        });
        let note = before.zip(times).map_or_else(String::new, |(b, t)| format!("healthy {b:.4}: {t:.2}x"));
        (Outcome::new("D1", work, unit, better, now).note(note), times.map(|times| times >= 0.5))
    };
    let judged = |(outcome, met): (Outcome, Option<bool>)| outcome.judged(">= 0.5x healthy", met);
    let study = format!("two devices away: WADO-RS study of {}", study.instances());
    let frames = format!("two devices away: frames at random, {CONNECTIONS} connections");
    Ok(vec![
        judged(outcome(&format!("{study}, cold"), "s", Better::Less, |m| &m.cold)),
        judged(outcome(&format!("{study}, warm"), "s", Better::Less, |m| &m.warm)),
        outcome(&format!("{study}: server's processor time, warm"), "ms", Better::Less, |m| &m.study_cpu).0,
        judged(outcome(&frames, "req/s", Better::More, |m| &m.rate)),
        outcome(&format!("{frames}: server's processor time"), "us/req", Better::Less, |m| &m.frame_cpu).0,
    ])
}

impl Measured {
    fn add(&mut self, peer: &Peer, pull: &Pull<'_>, asked: &[Asked], time: Duration) -> anyhow::Result<()> {
        settle(&[peer]);
        drop_cached(&peer.data_dirs)?;
        self.cold.add(peer.kind, pull.timed()?.total.as_secs_f64());
        pull.timed()?; // opens what a first read opens
        let before = cpu_seconds(&peer.pids());
        let begun = Instant::now();
        let times = 8_u32; // clocks of processes tick every 10 ms
        for _ in 0..times {
            pull.timed()?;
        }
        self.warm.add(peer.kind, begun.elapsed().as_secs_f64() / f64::from(times));
        self.study_cpu.add(peer.kind, (cpu_seconds(&peer.pids()) - before) * 1e3 / f64::from(times));
        let frames = take_turns("D1", asked, CONNECTIONS, 1, time)?;
        self.rate.add(peer.kind, frames.rate.median(peer.kind).context("no rate")?);
        self.frame_cpu.add(peer.kind, frames.cpu.median(peer.kind).context("no processor time")?);
        Ok(())
    }
}

/// Devices whose directories are renamed for a while.
struct Away(Vec<(PathBuf, PathBuf)>);

impl Away {
    /// Takes the devices of the first data shards of the largest container away and waits until the server notices.
    fn take(peer: &Peer) -> anyhow::Result<Self> {
        let shards = files(&peer.data_dirs);
        let of = |path: &&PathBuf, end: &str| path.to_str().is_some_and(|path| path.ends_with(end));
        let largest = shards.iter().filter(|path| of(path, AWAY[0])).max_by_key(|path| file_bytes(path));
        let largest = largest.and_then(|path| path.to_str()).context("find a container")?;
        let name = Path::new(largest).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.trim_end_matches(AWAY[0]).to_owned();
        let mut away = Self(Vec::new());
        for end in AWAY {
            let shard = shards.iter().find(|path| of(path, &format!("{name}{end}"))).context("find a shard")?;
            // DEVICE/containers/xx/FILE
            let device = shard.ancestors().nth(3).context("find a device")?.to_owned();
            let aside = device.with_extension("away");
            fs::rename(&device, &aside).context("move a device aside")?;
            away.0.push((device, aside));
        }
        wait_for(peer, 4)?;
        Ok(away)
    }

    /// Brings them back and waits until the server notices.
    fn bring_back(self, peer: &Peer) -> anyhow::Result<()> {
        for (device, aside) in &self.0 {
            fs::rename(aside, device).context("move a device back")?;
        }
        wait_for(peer, 6)
    }
}

/// Waits until so many devices are in use.
fn wait_for(peer: &Peer, online: u32) -> anyhow::Result<()> {
    let line = format!("filmroom_state{{kind=\"devices_online\"}} {online}");
    let begun = Instant::now();
    loop {
        let answer = Connection::open(peer.http()?.address)?.whole(Request::get("/metrics", "*/*"))?;
        if String::from_utf8_lossy(&answer.body).contains(&line) {
            return Ok(());
        }
        ensure!(begun.elapsed() < NOTICE_MAX, "the server does not notice that {online} devices are there");
        pause(ASK_EVERY);
    }
}
