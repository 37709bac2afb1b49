//! C3: receiving by STOW-RS.

use crate::comparison::{Comparison, Figures};
use crate::data::slices;
use crate::load::dimse::{Store, store};
use crate::load::http;
use crate::measure::times::number;
use crate::peers::Kind;
use crate::report::{Better, Outcome};

/// Clients that send at a time.
const CLIENTS: u32 = 4;
/// Instances of a request.
const BATCH: usize = 50;
/// Peers that receive.
const RECEIVERS: [Kind; 4] = [Kind::Filmroom, Kind::NewOrthancSqlite, Kind::NewOrthancPostgres, Kind::OrthancSqlite];

/// C3: 50 instances a request, four clients; and our own C-STORE on four associations in the same runs.
pub fn c3(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let mut samples = slices(1, comparison.sizes.slices.div_ceil(4));
    let batch = BATCH.min(samples.len());
    samples.truncate(samples.len() / batch * batch); // every request is as long
    let peers = comparison.newcomers(&RECEIVERS)?;
    let mut by_dimse = Figures::default();
    let figures = Figures::take(comparison.runs, &peers, |peer, _| {
        if peer.kind == Kind::Filmroom {
            let work = Store { address: peer.dicom()?, ae: &peer.ae, samples: &samples, ..Store::default() };
            let stored = store(&Store { associations: 4, salt: comparison.salt(CLIENTS), ..work })?;
            by_dimse.add(Kind::Filmroom, stored.per_second);
        }
        let first = comparison.salt(CLIENTS).unwrap_or(0);
        let client = |number: u32| {
            let files: Vec<Vec<u8>> = samples.iter().map(|sample| sample.file(first + number)).collect();
            files.chunks(batch).map(|batch| http::store_body(batch.iter().map(Vec::as_slice))).collect()
        };
        let clients: Vec<Vec<Vec<u8>>> = (0..CLIENTS).map(client).collect();
        let base = peer.http()?;
        let filed = http::store(base.address, &format!("{}/studies", base.path), &clients, batch)?;
        Ok(number(filed.instances) / filed.seconds)
    })?;
    Comparison::dismiss(peers)?;
    let own = by_dimse.median(Kind::Filmroom).unwrap_or(0.0);
    let outcome = Outcome::new("C3", "STOW-RS 60 KB, 50 a request, 4 clients", "inst/s", Better::More, &figures);
    let met = outcome.ours.map(|ours| ours >= 0.8 * own);
    let share = outcome.ours.unwrap_or(0.0) / own;
    Ok(vec![
        outcome
            .times_best(&[Kind::NewOrthancSqlite, Kind::OrthancSqlite], 3.0, "SQLite")
            .times_best(&[Kind::NewOrthancPostgres], 12.0, "Postgres")
            .judged(">= 0.8x our C-STORE", met)
            .note(format!("our C-STORE on 4 associations: {own:.0} inst/s; {share:.2}x")),
    ])
}
