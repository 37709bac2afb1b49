//! A4: most memory that the server process holds while eight associations send.

use crate::comparison::{Comparison, Figures};
use crate::data::{radiographs, slices};
use crate::load::dimse::{Store, store};
use crate::measure::times::number;
use crate::measure::usage::{Meter, reset_peak};
use crate::peers::Kind;
use crate::report::{Better, Outcome};

/// Associations that send.
const ASSOCIATIONS: usize = 8;
/// Megabytes that are aimed at.
const MEGABYTES_MAX: f64 = 256.0;
/// Radiographs that each association sends among the slices.
const RADIOGRAPHS: u32 = 4;

/// A4: slices alone, and mixed with radiographs of 15 MB.
pub fn a4(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let small = slices(1, comparison.sizes.slices.div_ceil(4));
    let mixed = {
        let large = radiographs(2, if comparison.smoke { 1 } else { RADIOGRAPHS });
        let share = small.len() / large.len();
        let mut mixed = small.clone();
        for (number, one) in large.into_iter().enumerate() {
            mixed.insert((number * (share + 1)).min(mixed.len()), one);
        }
        mixed
    };
    let mut outcomes = Vec::new();
    for (work, samples) in [("8 associations, 60 KB", small), ("8 associations, 60 KB and 15 MB mixed", mixed)] {
        let peers = comparison.newcomers(&[Kind::Filmroom, Kind::NewOrthancSqlite, Kind::OrthancSqlite])?;
        let figures = Figures::take(comparison.runs, &peers, |peer, _| {
            reset_peak(*peer.pids().first().unwrap_or(&0))?;
            let meter = Meter::begin(peer.pids());
            let salt = comparison.salt(8);
            let work = Store { address: peer.dicom()?, ae: &peer.ae, samples: &samples, salt, ..Store::default() };
            store(&Store { associations: ASSOCIATIONS, ..work })?;
            Ok(number(meter.end()?.server_bytes_max) / 1e6)
        })?;
        Comparison::dismiss(peers)?;
        let outcome = Outcome::new("A4", work, "MB", Better::Less, &figures).bound(MEGABYTES_MAX);
        outcomes.push(outcome.note("peak RSS of the server process (VmHWM)"));
    }
    Ok(outcomes)
}
