//! A11: what a stored instance costs on the disk: index, payload, files.

use std::path::PathBuf;

use anyhow::Context;

use crate::comparison::{Comparison, Figures, settle};
use crate::data::{bytes, slices};
use crate::load::dimse::{Store, store};
use crate::measure::pages::{Footprint, footprint};
use crate::measure::times::number;
use crate::peers::{Kind, Peer, filmroom};
use crate::report::{Better, Outcome, progress};

/// Large studies that fill a container: 18,000 slices of 60 KB.
const STUDIES: u32 = 18;
/// Directories of ours that do not hold sealed payload.
const NOT_PAYLOAD: [&str; 2] = ["journal", "postgres"];

/// A11: a container's worth of large studies, sealed.
pub fn a11(comparison: &mut Comparison) -> anyhow::Result<Vec<Outcome>> {
    let samples = slices(1, comparison.sizes.slices);
    let copies = if comparison.smoke { 1 } else { STUDIES.div_ceil(2) };
    let instances = number(samples.len()) * 2.0 * f64::from(copies);
    let payload = number(bytes(&samples)) * 2.0 * f64::from(copies);
    let peers = comparison.newcomers(&[Kind::Filmroom, Kind::NewOrthancSqlite])?;
    let [mut index, mut disk, mut files] = [(); 3].map(|()| Figures::default());
    let mut whole = 0.0;
    for peer in &peers {
        progress(&format!("A11: {} takes {instances} instances in", peer.kind));
        let salt = comparison.salt(2 * copies);
        let work = Store { address: peer.dicom()?, ae: &peer.ae, samples: &samples, copies, salt, ..Store::default() };
        store(&Store { associations: 2, ..work })?;
        let (of_index, of_payload) = if peer.kind == Kind::Filmroom {
            filmroom::pack(&comparison.programs, peer)?;
            let sizes = filmroom::index_bytes(peer)?;
            whole = number(sizes.whole) / instances;
            (sizes.sealed, footprint(&payload_dirs(peer)?))
        } else {
            settle(&[peer]);
            apart(peer)
        };
        index.add(peer.kind, number(of_index) / instances);
        disk.add(peer.kind, number(of_payload.bytes) / payload);
        files.add(peer.kind, number(of_payload.files) / instances * 1000.0);
    }
    Comparison::dismiss(peers)?;
    let outcome = |work: &str, unit, figures: &Figures| Outcome::new("A11", work, unit, Better::Less, figures);
    let note =
        format!("tables of sealed series and containers; {whole:.0} with all levels and statistics of the index");
    Ok(vec![
        outcome("index bytes per sealed instance", "bytes", &index).bound(40.0).note(note),
        outcome("disk bytes per payload byte, 4+2", "", &disk).bound(1.53),
        outcome("files per 1,000 instances", "", &files).bound(1.0).note(format!("{instances} instances")),
    ])
}

/// Returns the directories of a data directory that hold containers.
fn payload_dirs(peer: &Peer) -> anyhow::Result<Vec<PathBuf>> {
    let data = peer.data_dirs.first().context("ours has a data directory")?;
    let entries = std::fs::read_dir(data).context("list the data directory")?.filter_map(Result::ok);
    let payload = |name: &str| !NOT_PAYLOAD.contains(&name);
    Ok(entries.filter(|e| e.file_name().to_str().is_some_and(payload)).map(|e| e.path()).collect())
}

/// Tells Orthanc's index, the files `index*`, from its payload.
fn apart(peer: &Peer) -> (u64, Footprint) {
    let (mut index, mut payload) = (0, Footprint::default());
    for path in crate::measure::pages::files(&peer.data_dirs) {
        let bytes = crate::measure::pages::file_bytes(&path);
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("index")) {
            index += bytes;
        } else {
            payload.bytes += bytes;
            payload.files += 1;
        }
    }
    (index, payload)
}
