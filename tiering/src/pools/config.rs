//! What can be checked of a configuration without looking at a device.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::layout::UNIT_BYTES_LIMIT;
use crate::medium::memory::MemoryMedium;
use crate::medium::{DirectoryMedium, Medium};
use crate::options::StoreOptions;
use crate::shard::BLOCK_BYTES;
use crate::{CodeProfile, Error, PoolConfig};

/// Checks the largest unit.
pub(super) fn check_unit(unit: u32) -> Result<(), Error> {
    if unit == 0 || unit > UNIT_BYTES_LIMIT || !u64::from(unit).is_multiple_of(BLOCK_BYTES) {
        let reason = format!("unit of {unit} bytes is not a multiple of 64 KiB up to 64 MiB");
        return Err(Error::Config { reason });
    }
    Ok(())
}

/// Checks pools together and turns `file://` URLs into paths.
pub(super) fn check(configs: Vec<PoolConfig>) -> Result<Vec<PoolConfig>, Error> {
    let refuse = |reason: String| Err(Error::Config { reason });
    let mut names = HashSet::new();
    let mut paths = HashSet::new();
    let mut checked = Vec::new();
    for mut config in configs {
        CodeProfile::new(config.code.data_shards, config.code.parity_shards)?;
        config.devices = config.devices.iter().map(|path| plain(path)).collect::<Result<_, _>>()?;
        if !names.insert(config.name.clone()) {
            return refuse(format!("pool {} is there twice, give each pool its own name", config.name));
        }
        if let Some(path) = config.devices.iter().find(|path| !paths.insert((*path).clone())) {
            return refuse(format!("device {} is there twice, a device belongs to one pool", path.display()));
        }
        if config.devices.len() < usize::from(config.code.shards()) {
            let (name, code, devices) = (&config.name, config.code, config.devices.len());
            return refuse(format!("pool {name} has {devices} devices, code {code} needs {}", code.shards()));
        }
        checked.push(config);
    }
    Ok(checked)
}

/// Returns the medium that a device is configured with: one in memory if the options have it, else a directory.
pub(super) fn medium(path: &Path, options: &StoreOptions) -> Result<Medium, Error> {
    let memory = options.memory.iter().find(|memory| memory.label() == path).cloned();
    match memory {
        Some(memory) => Ok(Medium::Memory(memory)),
        None if path.to_str().is_some_and(|text| text.contains("://")) => {
            let reason = format!("device {} is not among the media in memory", path.display());
            Err(Error::Config { reason })
        }
        None => Ok(Medium::Directory(DirectoryMedium::new(path.to_owned()))),
    }
}

fn plain(path: &Path) -> Result<PathBuf, Error> {
    let Some((scheme, rest)) = path.to_str().and_then(|text| text.split_once("://")) else {
        return Ok(path.to_owned());
    };
    if scheme == "file" && rest.starts_with('/') {
        return Ok(PathBuf::from(rest));
    }
    if scheme == MemoryMedium::SCHEME {
        return Ok(path.to_owned());
    }
    let path = path.display();
    Err(Error::Config {
        reason: format!(
            "device {path} is not a local directory; object stores are not supported yet, use file:///path"
        ),
    })
}
