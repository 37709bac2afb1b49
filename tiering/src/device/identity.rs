//! `device.json`: which device a medium is, so that a swapped, copied or unmounted disk is noticed.
//!
//! | key | value |
//! |---|---|
//! | `format` | `filmroom-device` |
//! | `version` | 1 |
//! | `device` | UUID of the device, given on first use |
//! | `pool` | name of its pool |
//! | `code` | code profile of the pool, for example `4+2` |

use std::io;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::medium::Medium;
use crate::medium::name::{Note, Presence};
use crate::{DeviceId, Error, PoolConfig};

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

/// What a configured medium holds.
#[derive(Debug)]
pub(crate) enum Found {
    /// A device.
    Ready(Identity),
    /// A medium that was never a device.
    Empty,
    /// No medium is there.
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

/// Looks at a medium without changing it.
pub(crate) fn inspect(medium: &Medium) -> Found {
    match medium.read_note(Note::Identity, BYTES_MAX) {
        Ok(Some(json)) => match parse(&json) {
            Ok(identity) => Found::Ready(identity),
            Err(reason) => Found::Unreadable(reason),
        },
        Ok(None) => without_identity(medium),
        Err(error) if error.kind() == io::ErrorKind::NotFound => without_identity(medium),
        Err(error) => Found::Unreadable(format!("device.json cannot be read: {error}")),
    }
}

/// Makes a medium a device of the pool.
pub(crate) fn create(medium: &Medium, id: DeviceId, pool: &PoolConfig) -> Result<(), Error> {
    let identity = Identity {
        format: FORMAT.to_owned(),
        version: VERSION,
        device: id.0,
        pool: pool.name.clone(),
        code: pool.code.to_string(),
    };
    let mut json = serde_json::to_vec_pretty(&identity).expect("strings and numbers always serialize");
    json.push(b'\n');
    medium.prepare().map_err(Error::io("create directory", medium.label()))?;
    medium.create_note(Note::Identity, &json).map_err(Error::io("write", medium.label()))
}

fn parse(json: &[u8]) -> Result<Identity, String> {
    let identity = serde_json::from_slice::<Identity>(json)
        .map_err(|error| format!("device.json is damaged: {error}; restore it, its shards are not touched"))?;
    if identity.format != FORMAT || identity.version != VERSION {
        return Err(format!("device.json has format {} version {}", identity.format, identity.version));
    }
    Ok(identity)
}

fn without_identity(medium: &Medium) -> Found {
    match medium.presence() {
        Ok(Presence::Absent) => Found::Absent,
        Ok(Presence::Empty) => Found::Empty,
        Ok(Presence::Used) => {
            Found::Unreadable("it has shards but no device.json; restore it from a backup".to_owned())
        }
        Err(error) => Found::Unreadable(error.to_string()),
    }
}
