//! Receiving: A1 several associations, A2 one, A2n one with Nagle on, A3 processor time.

use crate::comparison::{Comparison, Figures, settle};
use crate::data::{Sample, slices};
use crate::load::dimse::{Store, Stored, Style, store};
use crate::measure::limits;
use crate::measure::times::number;
use crate::measure::usage::{Meter, children_cpu_seconds, reset_peak};
use crate::peers::{Kind, Peer, filmroom};
use crate::report::{Better, Outcome};

/// Peers with their index in SQLite.
const SQLITE: [Kind; 2] = [Kind::NewOrthancSqlite, Kind::OrthancSqlite];
/// Peers with their index in Postgres.
const POSTGRES: [Kind; 2] = [Kind::NewOrthancPostgres, Kind::OrthancPostgres];
/// Peers that receive.
const RECEIVERS: [Kind; 5] =
    [Kind::Filmroom, Kind::NewOrthancSqlite, Kind::NewOrthancPostgres, Kind::OrthancSqlite, Kind::Storescp];
/// Peers that receive from a sender that leaves Nagle on: some peers need 90 ms for an instance.
const PATIENT_RECEIVERS: [Kind; 3] = [Kind::Filmroom, Kind::NewOrthancSqlite, Kind::Storescp];
/// How often one association's p99 may be that of fdatasync alone.
const SYNCS_OF_P99: f64 = 5.0;

/// A1: 60 KB on four and on eight associations.
pub fn several_associations(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let samples = slices(1, comparison.sizes.slices.div_ceil(2));
    let peers = comparison.newcomers(&RECEIVERS)?;
    let four = rate(comparison, &peers, &samples, 4)?;
    let eight = rate(comparison, &peers, &samples, 8)?;
    Comparison::dismiss(peers)?;
    let best = |work: &str, rates: &Rates| {
        let note = format!("client {:.3} ms of CPU an instance", rates.client_ms);
        Outcome::new("A1", work, "inst/s", Better::More, &rates.per_second).note(note)
    };
    Ok(vec![
        best("C-STORE 60 KB, 4 associations", &four)
            .times_best(&SQLITE, 3.5, "SQLite")
            .times_best(&POSTGRES, 12.0, "Postgres"),
        best("C-STORE 60 KB, 8 associations", &eight).times_best(&[Kind::Storescp], 1.0, "storescp to files"),
    ])
}

/// A2: 60 KB on one association, and what the slowest in a hundred takes beside fdatasync alone.
pub fn one_association(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let samples = slices(1, comparison.sizes.slices);
    let peers = comparison.newcomers(&RECEIVERS)?;
    let (mut p99, mut syncs) = (Figures::default(), Figures::default());
    let per_second = Figures::take(comparison.runs, &peers, |peer, _| {
        if peer.kind == Kind::Filmroom {
            syncs.add(Kind::Filmroom, limits::fdatasync(&comparison.directory, 500)?.p99_ms);
        }
        let stored = send(comparison, peer, &samples, 1)?;
        p99.add(peer.kind, stored.times.p99_ms);
        Ok(stored.per_second)
    })?;
    Comparison::dismiss(peers)?;
    let sync = syncs.median(Kind::Filmroom).unwrap_or(0.0);
    let rate = Outcome::new("A2", "C-STORE 60 KB, 1 association", "inst/s", Better::More, &per_second);
    let slowest = Outcome::new("A2", "its p99", "ms", Better::Less, &p99);
    let met = slowest.ours.map(|ours| ours <= SYNCS_OF_P99 * sync);
    let times = slowest.ours.unwrap_or(0.0) / sync;
    Ok(vec![
        rate.times_best(&SQLITE, 2.5, "SQLite").times_best(&POSTGRES, 7.0, "Postgres"),
        slowest
            .judged("<= 5x the disk's fdatasync p99", met)
            .note(format!("fdatasync of 64 KiB in the same runs: p99 {sync:.2} ms; {times:.1}x")),
    ])
}

/// A2n: one association that leaves Nagle on and writes headers alone, as DCMTK does by default.
pub fn nagle(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let samples = slices(1, comparison.sizes.slices.div_ceil(10));
    let peers = comparison.newcomers(&PATIENT_RECEIVERS)?;
    let figures = Figures::take(comparison.runs, &peers, |peer, _| {
        let work = Store {
            address: peer.dicom()?,
            ae: &peer.ae,
            samples: &samples,
            salt: comparison.salt(1),
            ..Store::default()
        };
        Ok(store(&Store { style: Style::LikeDcmtk, ..work })?.per_second)
    })?;
    Comparison::dismiss(peers)?;
    let work = "C-STORE 60 KB, 1 association, Nagle on, as dcmsend";
    Ok(vec![Outcome::new("A2n", work, "inst/s", Better::More, &figures).bound(300.0)])
}

/// A3: processor seconds of all processes per 1,000 instances, until nothing is left to be done; packing apart.
pub fn processor_time(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let samples = slices(1, comparison.sizes.slices.div_ceil(2));
    let peers = comparison.newcomers(&RECEIVERS)?;
    let (mut packed, thousands) = (Figures::default(), number(samples.len()) * 4.0 / 1000.0);
    let received = Figures::take(comparison.runs, &peers, |peer, _| {
        reset_peak(*peer.pids().first().unwrap_or(&0))?;
        let meter = Meter::begin(peer.pids());
        send(comparison, peer, &samples, 4)?;
        settle(&[peer]);
        let used = meter.end()?.cpu_seconds;
        if peer.kind == Kind::Filmroom {
            let (meter, children) = (Meter::begin(peer.pids()), children_cpu_seconds());
            filmroom::pack(&comparison.programs, peer)?;
            let more = meter.end()?.cpu_seconds + children_cpu_seconds() - children;
            packed.add(Kind::Filmroom, (used + more) / thousands);
        }
        Ok(used / thousands)
    })?;
    Comparison::dismiss(peers)?;
    let outcome = |work: &str, figures: &Figures| Outcome::new("A3", work, "CPU-s/1,000", Better::Less, figures);
    Ok(vec![
        outcome("received and indexed, 4 associations", &received).bound(0.2),
        outcome("also packed and coded", &packed).bound(0.3),
    ])
}

/// Rates, and what sending them cost us.
struct Rates {
    per_second: Figures,
    client_ms: f64,
}

fn rate(comparison: &Comparison, peers: &[Peer], samples: &[Sample], associations: usize) -> anyhow::Result<Rates> {
    let (mut cpu, mut instances) = (0.0, 0.0);
    let per_second = Figures::take(comparison.runs, peers, |peer, _| {
        let stored = send(comparison, peer, samples, associations)?;
        cpu += stored.client_cpu_seconds;
        instances += number(stored.instances);
        Ok(stored.per_second)
    })?;
    Ok(Rates { per_second, client_ms: cpu * 1e3 / instances })
}

fn send(comparison: &Comparison, peer: &Peer, samples: &[Sample], associations: usize) -> anyhow::Result<Stored> {
    let salt = comparison.salt(u32::try_from(associations)?);
    store(&Store { address: peer.dicom()?, ae: &peer.ae, samples, associations, salt, ..Store::default() })
}
