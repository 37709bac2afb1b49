//! Which pools have held containers: remembered in `pools.json` of the data directory, because a pool whose disks are all
//! unmounted looks like one that was never used, and must not be made anew below its mount points.
//!
//! | key | value |
//! |---|---|
//! | `version` | 1 |
//! | `pools` | name and device directories of each pool that held a container |

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tiering::{PoolStatus, UsedPool};

use crate::Error;

const FILE_NAME: &str = "pools.json";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    pools: Vec<Pool>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pool {
    name: String,
    devices: Vec<PathBuf>,
}

/// Reads what is remembered. A file that cannot be read is an error: without it, nothing is safe to make.
pub(crate) fn read(data: &Path) -> Result<Vec<UsedPool>, Error> {
    let failed = |source| Error::Io {
        doing: "read pools.json of the data directory; if it is damaged, remove it after all devices are mounted",
        source,
    };
    let json = match fs::read(data.join(FILE_NAME)) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let content: Content = serde_json::from_slice(&json).map_err(|error| failed(error.into()))?;
    if content.version != VERSION {
        return Err(failed(io::Error::other(format!("it has version {}", content.version))));
    }
    Ok(content.pools.into_iter().map(|Pool { name, devices }| UsedPool { name, devices }).collect())
}

/// The pools that were used, as the data directory remembers them.
#[derive(Debug)]
pub(crate) struct UsedPools {
    data: PathBuf,
    known: Mutex<Vec<UsedPool>>,
}

impl UsedPools {
    /// Takes what [`read`] found in the data directory.
    pub(crate) fn new(data: PathBuf, known: Vec<UsedPool>) -> Self {
        Self { data, known: Mutex::new(known) }
    }

    /// Remembers the pools that have containers now, durably. Blocks.
    pub(crate) fn remember(&self, store: &tiering::Store) -> Result<(), Error> {
        let with_containers: BTreeSet<String> = store.containers().into_iter().map(|places| places.pool).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = used_now(&known, store.pools(), &with_containers);
        if now != *known {
            write(&self.data, &now)
                .map_err(|source| Error::Io { doing: "write pools.json of the data directory", source })?;
            *known = now;
        }
        Ok(())
    }
}

/// Returns the pools to remember: those known, with the devices that their pools have now, and those that have containers.
fn used_now(known: &[UsedPool], pools: Vec<PoolStatus>, with_containers: &BTreeSet<String>) -> Vec<UsedPool> {
    let mut now = known.to_vec();
    for pool in pools {
        let devices: Vec<PathBuf> =
            pool.devices.into_iter().filter(|device| device.id.is_some()).map(|device| device.path).collect();
        match now.iter_mut().find(|used| used.name == pool.name) {
            Some(used) => used.devices.extend(devices),
            None if with_containers.contains(&pool.name) => now.push(UsedPool { name: pool.name, devices }),
            None => {}
        }
    }
    for used in &mut now {
        used.devices.sort();
        used.devices.dedup();
    }
    now
}

fn write(data: &Path, pools: &[UsedPool]) -> io::Result<()> {
    let pools = pools.iter().map(|used| Pool { name: used.name.clone(), devices: used.devices.clone() }).collect();
    let json = serde_json::to_vec_pretty(&Content { version: VERSION, pools })?;
    disk::files::replace(&data.join(FILE_NAME), |file| file.write_all(&json))
}
