//! A8: searches (QIDO-RS and C-FIND) of some thousand studies. How they grow is another program's row.

use anyhow::{Context, ensure};

use super::peer_or_skip::peer_or_skip;
use crate::comparison::{Comparison, Figures};
use crate::data::{Holdings, Study};
use crate::load::dimse::{self, Find, Query};
use crate::load::http::{Connection, JSON, Request};
use crate::measure::times::{Times, number};
use crate::peers::{Kind, Peer};
use crate::report::{Better, Outcome, progress};

/// Those that can be searched.
const ARCHIVES_AND_OURS: [Kind; 5] =
    [Kind::Filmroom, Kind::NewOrthancSqlite, Kind::NewOrthancPostgres, Kind::OrthancSqlite, Kind::OrthancPostgres];
/// Searches of a turn.
const SEARCHES_MAX: usize = 200;
/// Matches of a page.
const PAGE: usize = 50;
/// A name that is written in GB18030 in the data sets, and as it is asked for.
const IDEOGRAPH: (&str, &str) = ("王", "%E7%8E%8B");
/// Patient ID (0010,0020).
const PATIENT_ID: u32 = 0x0010_0020;
/// Study Instance UID (0020,000D).
const STUDY_INSTANCE_UID: u32 = 0x0020_000D;

/// A search and how many matches are right.
struct Search {
    query: String,
    matches: usize,
}

/// Measures row A8.
pub fn a8(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let holdings = comparison.holdings();
    let studies: Vec<&Study> = holdings.large.iter().chain(&holdings.small).collect();
    let count = studies.len();
    let step = count.div_ceil(SEARCHES_MAX).max(1);
    let chosen: Vec<&Study> = studies.iter().copied().step_by(step).collect();
    let by_id = |study: &&Study| Search { query: format!("PatientID={}", study.patient_id), matches: 1 };
    let page = |at: usize| Search { query: format!("limit={PAGE}&offset={at}"), matches: PAGE.min(count - at) };
    let ids: Vec<Search> = chosen.iter().map(by_id).collect();
    let pages: Vec<Search> = (0..count).step_by(PAGE).map(page).collect();
    let (id_p50, id_p99) = timed(comparison, "PatientID", &ids)?;
    let (page_p50, page_p99) = timed(comparison, "pages", &pages)?;
    let found = named(comparison, &holdings)?;
    let expected = number(ideographs(&holdings));
    let (find_p50, find_p99) = c_find(comparison, &chosen)?;
    let p99 =
        |figures: &Figures| figures.median(Kind::Filmroom).map_or_else(String::new, |ms| format!("p99 {ms:.2} ms"));
    let outcome = |work: &str, p50: &Figures, slowest: &Figures| {
        Outcome::new("A8", &format!("{work}, {count} studies: p50"), "ms", Better::Less, p50).note(p99(slowest))
    };
    Ok(vec![
        outcome("QIDO-RS PatientID", &id_p50, &id_p99).times_best(&Kind::ARCHIVES, 4.0, "the best archive"),
        outcome("QIDO-RS page of 50", &page_p50, &page_p99).times_best(&Kind::ARCHIVES, 5.0, "the best archive"),
        Outcome::new("A8", &format!("*{}* finds, of {expected}", IDEOGRAPH.0), "studies", Better::More, &found)
            .judged("all of them", found.median(Kind::Filmroom).map(|ours| (ours - expected).abs() < 0.5)),
        outcome("C-FIND PatientID", &find_p50, &find_p99),
    ])
}

/// Times searches one after the other; a wrong number of matches gives no figure.
fn timed(comparison: &mut Comparison, name: &str, searches: &[Search]) -> anyhow::Result<(Figures, Figures)> {
    turns(comparison, name, |peer| {
        let mut connection = Connection::open(peer.http()?.address)?;
        let mut times = Vec::with_capacity(searches.len());
        for search in searches {
            let (found, time) = matches(peer, &mut connection, &search.query)?;
            ensure!(found == search.matches, "{}: {found} matches, not {}", search.query, search.matches);
            times.push(time);
        }
        let times = Times::of(&mut times);
        Ok((times.p50_ms, times.p99_ms))
    })
}

/// Looks up studies by C-FIND.
fn c_find(comparison: &mut Comparison, studies: &[&Study]) -> anyhow::Result<(Figures, Figures)> {
    let query = |study: &&Study| Query {
        level: "STUDY",
        keys: vec![(PATIENT_ID, study.patient_id.clone()), (STUDY_INSTANCE_UID, String::new())],
        matches: 1,
    };
    let queries: Vec<Query> = studies.iter().map(query).collect();
    turns(comparison, "C-FIND", |peer| {
        let work =
            Find { address: peer.dicom()?, ae: &peer.ae, queries: &queries, associations: 1, total: queries.len() };
        let found = dimse::find(&work)?;
        Ok((found.times.p50_ms, found.times.p99_ms))
    })
}

/// Counts what each peer finds by an ideograph; that this is wrong with some is what is shown.
fn named(comparison: &mut Comparison, holdings: &Holdings) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    for peer in comparison.holders(&ARCHIVES_AND_OURS)? {
        let query = format!("PatientName=*{}*", IDEOGRAPH.1);
        let counted = Connection::open(peer.http()?.address).and_then(|mut open| matches(peer, &mut open, &query));
        if let Some((found, _)) = peer_or_skip(peer, counted)? {
            let right = peer.kind != Kind::Filmroom || found == ideographs(holdings);
            ensure!(right, "*{}* finds {found} studies, not {}", IDEOGRAPH.0, ideographs(holdings));
            figures.add(peer.kind, number(found));
        }
    }
    Ok(figures)
}

fn ideographs(holdings: &Holdings) -> usize {
    holdings.large.iter().chain(&holdings.small).filter(|study| study.patient_name.contains(IDEOGRAPH.0)).count()
}

/// Lets peers take turns at something with a median and a 99th percentile in milliseconds.
fn turns(
    comparison: &mut Comparison,
    name: &str,
    turn: impl Fn(&Peer) -> anyhow::Result<(f64, f64)>,
) -> anyhow::Result<(Figures, Figures)> {
    let runs = comparison.runs;
    let (mut p50, mut p99) = (Figures::default(), Figures::default());
    let mut peers = comparison.holders(&ARCHIVES_AND_OURS)?;
    for run in 0..runs {
        progress(&format!("A8, {name}: run {} of {runs}", run + 1));
        let mut left = Vec::new();
        for peer in peers {
            if let Some((middle, slow)) = peer_or_skip(peer, turn(peer))? {
                p50.add(peer.kind, middle);
                p99.add(peer.kind, slow);
                left.push(peer);
            }
        }
        peers = left;
    }
    Ok((p50, p99))
}

/// Searches for studies; returns how many there are and how long the answer took.
fn matches(peer: &Peer, connection: &mut Connection, query: &str) -> anyhow::Result<(usize, std::time::Duration)> {
    let path = format!("{}/studies?{query}", peer.http()?.path);
    let mut body = Vec::new();
    let fetched = connection.send(Request::get(&path, JSON), &mut |bytes| body.extend_from_slice(bytes))?;
    let found = match fetched.status {
        200 => serde_json::from_slice::<Vec<serde_json::Value>>(&body).context("read matches")?.len(),
        204 => 0,
        status => anyhow::bail!("{path}: status {status}"),
    };
    Ok((found, fetched.total))
}
