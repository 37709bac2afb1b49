//! A7: the metadata of a sealed series.

use std::fs;

use anyhow::{Context, ensure};

use super::peer_or_skip::peer_or_skip;
use crate::comparison::{Comparison, Figures};
use crate::load::http::{Connection, Fetched, JSON, Request};
use crate::measure::pages::drop_cached;
use crate::measure::times::{Times, number};
use crate::peers::{Kind, Peer};
use crate::report::{Better, Outcome, progress};

/// Those that have metadata.
const ARCHIVES_AND_OURS: [Kind; 5] =
    [Kind::Filmroom, Kind::NewOrthancSqlite, Kind::NewOrthancPostgres, Kind::OrthancSqlite, Kind::OrthancPostgres];
/// Requests of a turn, from the page cache.
const WARM_REQUESTS: u32 = 10;

/// Measures row A7.
pub fn a7(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let (runs, holdings) = (comparison.runs, comparison.holdings());
    let study = holdings.large.first().context("A7 wants a large study")?;
    let series = study.series.first().context("A7 wants a series")?;
    let path = format!("/studies/{}/series/{}/metadata", study.study_instance_uid, series.series_instance_uid);
    let instances = series.sop_instance_uids.len();
    let mut asked = Vec::new();
    for peer in comparison.holders(&ARCHIVES_AND_OURS)? {
        asked.extend(peer_or_skip(peer, Asked::checked(peer, &path, instances))?);
    }
    let [mut cold, mut warm, mut reads] = [(); 3].map(|()| Figures::default());
    for run in 0..runs {
        progress(&format!("A7: run {} of {runs}", run + 1));
        for asked in &asked {
            let kind = asked.peer.kind;
            drop_cached(&asked.peer.data_dirs)?;
            let before = asked.reads()?;
            cold.add(kind, asked.timed()?.total.as_secs_f64() * 1e3);
            if kind == Kind::Filmroom {
                reads.add(kind, number(asked.reads()?.saturating_sub(before)));
            }
            let times: anyhow::Result<Vec<_>> = (0..WARM_REQUESTS).map(|_| Ok(asked.timed()?.total)).collect();
            warm.add(kind, Times::of(&mut times?).p50_ms);
        }
    }
    let outcome = |state: &str, figures: &Figures| {
        Outcome::new("A7", &format!("/metadata of {instances}, sealed, {state}"), "ms", Better::Less, figures)
            .bound(10.0)
    };
    let bytes = asked.iter().find(|asked| asked.peer.kind == Kind::Filmroom).map_or(0, |asked| asked.bytes);
    Ok(vec![
        outcome("cold", &cold),
        outcome("warm", &warm).note(format!("{bytes} bytes of JSON")),
        Outcome::new("A7", "reads of files by the server, cold", "reads", Better::Less, &reads)
            .bound(1.0)
            .note("read calls of the server's process, those for its clock and sockets apart"),
    ])
}

/// A peer whose answer was looked at once; from then on its length must agree.
struct Asked<'a> {
    peer: &'a Peer,
    path: String,
    bytes: u64,
}

impl<'a> Asked<'a> {
    fn checked(peer: &'a Peer, path: &str, instances: usize) -> anyhow::Result<Self> {
        let base = peer.http()?;
        let path = format!("{}{path}", base.path);
        let answer = Connection::open(base.address)?.whole(Request::get(&path, JSON))?;
        ensure!(answer.status == 200, "{path}: status {}", answer.status);
        let found: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).context("read metadata")?;
        ensure!(found.len() == instances, "{path}: {} instances, not {instances}", found.len());
        Ok(Self { peer, path, bytes: u64::try_from(answer.body.len())? })
    }

    fn timed(&self) -> anyhow::Result<Fetched> {
        let mut connection = Connection::open(self.peer.http()?.address)?;
        let fetched = connection.fetch(Request::get(&self.path, JSON))?;
        let (status, bytes) = (fetched.status, fetched.bytes);
        ensure!(
            status == 200 && bytes == self.bytes,
            "{}: status {status}, {bytes} bytes, not {}",
            self.path,
            self.bytes
        );
        Ok(fetched)
    }

    /// Returns how many read calls the server has made; sockets are read by others.
    fn reads(&self) -> anyhow::Result<u64> {
        let pid = self.peer.pids().first().copied().context("the server has no process")?;
        let text = fs::read_to_string(format!("/proc/{pid}/io")).context("read what the server has read")?;
        let calls = text.lines().find_map(|line| line.strip_prefix("syscr:"));
        calls.and_then(|calls| calls.trim().parse().ok()).context("read what the server has read")
    }
}
