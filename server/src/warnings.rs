//! Warnings about configurations that work but protect less than they seem to.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::Config;

/// Returns one sentence for each thing to know before the data counts. The directories must exist by now.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    for pool in &config.pool {
        let parity = pool.code.parity_shards;
        if parity == 0 {
            found.push(format!("pool {} has no parity: a lost or damaged device loses instances", pool.name));
        } else if disks(pool.devices.iter().map(|device| device.0.as_path())) < pool.devices.len() {
            found.push(format!(
                "devices of pool {} share a file system: this protects against rot and lost files, not against the loss of a disk",
                pool.name
            ));
        }
    }
    let copies = &config.journal.copies;
    if disks(copies.iter().map(std::path::PathBuf::as_path)) < 2 {
        found.push("all journal copies lie on one file system: its loss loses what is not packed yet".to_owned());
    }
    let services = [("DICOM", &config.dicom.listen), ("HTTP", &config.http.listen)];
    for (service, addresses) in services {
        if addresses.iter().any(|address| !address.ip().is_loopback()) {
            found.push(format!("{service} listens beyond loopback: there is no TLS and no login yet"));
        }
    }
    found
}

/// Counts the file systems that paths lie on; one that cannot be asked counts as one of its own.
fn disks<'a>(paths: impl Iterator<Item = &'a Path>) -> usize {
    let mut devices = BTreeSet::new();
    let mut unknown = 0;
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) => {
                devices.insert(metadata.dev());
            }
            Err(_) => unknown += 1,
        }
    }
    devices.len() + unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_start_is_warned_about() {
        let data = tempfile::tempdir().unwrap();
        let config = Config::load(None, Some(data.path())).unwrap();
        for path in config.journal.copies.iter().chain(config.pool[0].devices.iter().map(|device| &device.0)) {
            fs::create_dir_all(path).unwrap();
        }
        let found = warnings(&config);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("share a file system") && found[1].contains("journal"));
    }

    #[test]
    fn listening_to_the_network_is_warned_about() {
        let mut config = Config::load(None, Some(Path::new("/nowhere"))).unwrap();
        config.http.listen = vec!["0.0.0.0:0".parse().unwrap()];
        assert!(warnings(&config).iter().any(|text| text.starts_with("HTTP listens beyond loopback")));
    }
}
