//! A first look: a server of its own, a generated study sent to it, packed, found and retrieved over the network.

mod fetch;
mod tour;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

use crate::cli::Common;
use crate::config::{Config, Log, LogLevel};
use crate::demo::tour::Tour;
use crate::lifecycle::{Running, StopSignals};
use crate::{logging, output};

/// Where the demonstration's data goes unless told otherwise: never where real data is.
const DATA: &str = "./filmroom-data-demo";

/// Runs the tour; stays up after it until a signal comes, unless `once`.
pub(crate) async fn run(common: &Common, once: bool) -> anyhow::Result<()> {
    let place = place(common)?;
    let config = config(common, place.as_ref().map(Place::path))?;
    logging::start(&Log { level: LogLevel::Error, ..config.log.clone() })?;
    let mut signals = StopSignals::listen()?;
    let begun = Instant::now();
    say(common, format!("Starting a server on {}", config.data.display()))?;
    let mut running = tokio::select! {
        running = Running::start(&config) => running?,
        name = signals.next() => anyhow::bail!("stopped by {name} before the server was up"),
    };
    let result = tokio::select! {
        result = look(common, once, &config, &running, begun) => result,
        name = signals.next() => Err(anyhow::anyhow!("stopped by {name}")),
    };
    let result = match result {
        Ok(()) if !once => {
            say(common, "The server stays up until you press Ctrl-C.".to_owned())?;
            running.until_signal(&mut signals).await
        }
        result => result,
    };
    running.stop().await;
    if let Some(Place::Passing(path)) = &place {
        fs::remove_dir_all(path).with_context(|| format!("remove {}", path.display()))?;
    }
    result
}

async fn look(common: &Common, once: bool, config: &Config, running: &Running, begun: Instant) -> anyhow::Result<()> {
    let dicom = running.dicom.first().context("the server has no DICOM address")?;
    let http = running.http.first().context("the server has no HTTP address")?;
    let title = &config.dicom.ae_title.first().context("the server has no AE title")?.0;
    let seconds = begun.elapsed().as_secs_f64();
    say(common, format!("  up in {seconds:.1} s: DICOM {title} at {dicom}, DICOMweb at http://{http}/dicomweb"))?;
    let seed = archive::Clock::system().now().as_second().unsigned_abs();
    let tour = Tour::new(*dicom, *http, title.clone(), seed);
    let packed = steps(common, config, running, &tour).await?;
    if common.json {
        return output::json(&serde_json::json!({
            "study_instance_uid": tour.study_instance_uid(),
            "instances": tour.instances(),
            "packed": packed,
            "dicom": dicom,
            "http": http,
        }));
    }
    if once {
        return Ok(());
    }
    output::line("Look for yourself:")?;
    output::line(format!("  curl http://{http}/dicomweb/studies"))?;
    output::line(format!("  curl http://{http}/metrics"))
}

/// Sends, finds, packs and retrieves; returns how many instances were packed.
async fn steps(common: &Common, config: &Config, running: &Running, tour: &Tour) -> anyhow::Result<u64> {
    let sent = tour.send().await.context("send the study")?;
    say(common, format!("Sent a generated CT study by C-STORE: {sent}"))?;
    let found = tour.find().await.context("find the study")?;
    say(common, format!("  found at once: {found}"))?;
    tour.retrieve().await.context("retrieve the study from the journal")?;
    let progress = archive::Progress::new(|_, _| ());
    let packed = running.archive.pack_now(progress).await.context("pack the study")?;
    let pool = config.pool.first().context("the server has no pool")?;
    let (devices, parity) = (pool.devices.len(), pool.code.parity_shards);
    let code = pool.code;
    say(
        common,
        format!(
            "Packed {packed} instances into containers over {devices} devices, code {code}: any {parity} may be lost"
        ),
    )?;
    let retrieved = tour.retrieve().await.context("retrieve the study from containers")?;
    say(common, format!("Retrieved it, every byte compared: {retrieved}"))?;
    Ok(packed)
}

/// Tells a person; with `--json` only the result counts.
fn say(common: &Common, text: String) -> anyhow::Result<()> {
    if common.json { Ok(()) } else { output::line(text) }
}

/// Where the data goes unless the command line says so.
#[derive(Debug)]
enum Place {
    /// In the working directory, and there it stays.
    Here(PathBuf),
    /// In a directory that is removed at the end.
    Passing(PathBuf),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Here(path) | Self::Passing(path) => path,
        }
    }
}

/// Chooses the place. Postgres refuses to run as root, so root's server starts it as another user. That user must be
/// able to reach the data, and below root's home, where a first clone often lies, no other user can.
fn place(common: &Common) -> anyhow::Result<Option<Place>> {
    if common.data.is_some() || common.config.is_some() {
        return Ok(None);
    }
    let here = std::env::current_dir().context("find the working directory")?;
    if !rustix::process::geteuid().is_root() || others_reach(&here) {
        return Ok(Some(Place::Here(PathBuf::from(DATA))));
    }
    let path = std::env::temp_dir().join(format!("filmroom-data-demo-{}", std::process::id()));
    let made = fs::create_dir(&path).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o711)));
    made.with_context(|| format!("make {}", path.display()))?;
    Ok(Some(Place::Passing(path)))
}

/// Tells whether other users may pass through a directory and all above it.
fn others_reach(directory: &Path) -> bool {
    directory.ancestors().all(|above| fs::metadata(above).is_ok_and(|found| found.permissions().mode() & 0o001 != 0))
}

/// Returns the configuration: the demonstration's own data, and free ports where the default ones are taken.
fn config(common: &Common, place: Option<&Path>) -> anyhow::Result<Config> {
    let mut config = Config::load(common.config.as_deref(), common.data.as_deref().or(place))?;
    for address in config.dicom.listen.iter_mut().chain(&mut config.http.listen) {
        *address = free(*address);
    }
    Ok(config)
}

/// Returns the address, or the same with port 0 when something listens there.
fn free(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Ok(_) => address,
        Err(_) => SocketAddr::new(address.ip(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_directory_is_not_reached_by_others() {
        let above = tempfile::tempdir().unwrap();
        let within = above.path().join("within");
        fs::create_dir(&within).unwrap();
        for (mode, reached) in [(0o711, true), (0o700, false)] {
            fs::set_permissions(above.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(others_reach(&within), reached);
        }
    }

    #[test]
    fn a_taken_port_is_replaced_by_any() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(free(address).port(), 0);
        drop(taken);
        assert_eq!(free(address), address);
    }
}
