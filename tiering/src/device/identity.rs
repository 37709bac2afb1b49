//! `device.json`: which device a directory is, so that a swapped, copied or unmounted disk is noticed.
//!
//! | key | value |
//! |---|---|
//! | `format` | `filmroom-device` |
//! | `version` | 1 |
//! | `device` | UUID of the device, given on first use |
//! | `pool` | name of its pool |
//! | `code` | code profile of the pool, for example `4+2` |

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::shard::name::CONTAINERS_DIRECTORY;
use crate::{DeviceId, Error, PoolConfig};
use disk::files::{create_directories, write_new};

const FILE_NAME: &str = "device.json";
const FORMAT: &str = "filmroom-device";
const VERSION: u32 = 1;
const BYTES_MAX: u64 = 64 * 1024;

/// Content of `device.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    format: String,
    version: u32,
    device: Uuid,
    pool: String,
    code: String,
}

/// What a configured directory holds.
#[derive(Debug)]
pub(crate) enum Found {
    /// A device.
    Ready(Identity),
    /// A directory that was never a device.
    Empty,
    /// Nothing.
    Absent,
    /// Something that cannot be read as a device, and why.
    Unreadable(String),
}

impl Identity {
    /// Returns the device's name.
    pub(crate) fn id(&self) -> DeviceId {
        DeviceId(self.device)
    }

    /// Returns why this is not a device of the pool.
    pub(crate) fn refusal(&self, pool: &PoolConfig) -> Option<String> {
        if self.pool != pool.name {
            return Some(format!(
                "it belongs to pool {}, not {}; correct the path, or empty the directory if its shards are not needed",
                self.pool, pool.name
            ));
        }
        (self.code != pool.code.to_string()).then(|| {
            format!(
                "pool {} was made with code {}, not {}; keep the code and add another pool",
                pool.name, self.code, pool.code
            )
        })
    }
}

/// Looks at a directory without changing it.
pub(crate) fn inspect(path: &Path) -> Found {
    match read(&path.join(FILE_NAME)) {
        Ok(Ok(identity)) => Found::Ready(identity),
        Ok(Err(reason)) => Found::Unreadable(reason),
        Err(error) if error.kind() == io::ErrorKind::NotFound => without_identity(path),
        Err(error) => Found::Unreadable(format!("device.json cannot be read: {error}")),
    }
}

/// Makes a directory a device of the pool.
pub(crate) fn create(path: &Path, pool: &PoolConfig) -> Result<DeviceId, Error> {
    let id = DeviceId::new();
    let identity = Identity {
        format: FORMAT.to_owned(),
        version: VERSION,
        device: id.0,
        pool: pool.name.clone(),
        code: pool.code.to_string(),
    };
    let mut json = serde_json::to_vec_pretty(&identity).expect("strings and numbers always serialize");
    json.push(b'\n');
    let (containers, file) = (path.join(CONTAINERS_DIRECTORY), path.join(FILE_NAME));
    create_directories(&containers).map_err(Error::io("create directory", &containers))?;
    write_new(&file, &json).map_err(Error::io("write", &file))?;
    Ok(id)
}

fn read(path: &Path) -> io::Result<Result<Identity, String>> {
    let mut json = Vec::new();
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut json)?;
    let identity = match serde_json::from_slice::<Identity>(&json) {
        Ok(identity) => identity,
        Err(error) => {
            return Ok(Err(format!("device.json is damaged: {error}; restore it, its shards are not touched")));
        }
    };
    if identity.format != FORMAT || identity.version != VERSION {
        return Ok(Err(format!("device.json has format {} version {}", identity.format, identity.version)));
    }
    Ok(Ok(identity))
}

fn without_identity(path: &Path) -> Found {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Absent,
        Err(error) => Found::Unreadable(error.to_string()),
        Ok(metadata) if !metadata.is_dir() => Found::Unreadable("it is not a directory".to_owned()),
        Ok(_) => match fs::read_dir(path.join(CONTAINERS_DIRECTORY)).map(|mut entries| entries.next().is_some()) {
            Ok(true) => Found::Unreadable("it has shards but no device.json; restore it from a backup".to_owned()),
            Ok(false) => Found::Empty,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Empty,
            Err(error) => Found::Unreadable(error.to_string()),
        },
    }
}
