//! A device: a directory that is one failure domain.

pub(crate) mod identity;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tracing::{error, warn};

use crate::shard::name::{self, CONTAINERS_DIRECTORY, TMP_SUFFIX};
use crate::{ContainerId, DeviceId, Error};
use identity::Found;

/// One device of a pool.
#[derive(Debug)]
pub(crate) struct Device {
    path: PathBuf,
    /// Set when the device was first readable.
    id: OnceLock<DeviceId>,
    online: AtomicBool,
    /// Errors since the last success.
    errors: AtomicU32,
    /// Bytes that containers being written will still take.
    reserved_bytes: AtomicU64,
}

impl Device {
    /// Returns a device that is offline until told otherwise.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            id: OnceLock::new(),
            online: AtomicBool::new(false),
            errors: AtomicU32::new(0),
            reserved_bytes: AtomicU64::new(0),
        }
    }

    /// Returns its directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its name, if it was ever readable.
    pub(crate) fn id(&self) -> Option<DeviceId> {
        self.id.get().copied()
    }

    /// Returns whether it is in use.
    pub(crate) fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire)
    }

    /// Takes it into use under this name; refused if it had another name before.
    pub(crate) fn set_online(&self, id: DeviceId) -> bool {
        let same = *self.id.get_or_init(|| id) == id;
        if same {
            self.errors.store(0, Ordering::Relaxed);
            self.online.store(true, Ordering::Release);
        }
        same
    }

    /// Takes it out of use until a probe finds it again; returns whether it was in use.
    pub(crate) fn set_offline(&self) -> bool {
        self.online.swap(false, Ordering::AcqRel)
    }

    /// Notes that the device answered.
    pub(crate) fn note_success(&self) {
        if self.errors.load(Ordering::Relaxed) > 0 {
            self.errors.store(0, Ordering::Relaxed);
        }
    }

    /// Notes an error of the system; many in a row take the device out of use.
    pub(crate) fn note_error(&self, source: &io::Error, errors_max: u32) {
        let errors = self.errors.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if errors >= errors_max && self.set_offline() {
            error!(device = %self.path.display(), %source, "device offline after errors");
        }
    }

    /// Takes the device out of use if its `device.json` cannot be read: what a vanished disk looks like.
    pub(crate) fn note_not_found(&self) {
        if !matches!(identity::inspect(&self.path), Found::Ready(_)) && self.set_offline() {
            error!(device = %self.path.display(), "device vanished");
        }
    }

    /// Returns total and free bytes of its file system, the free less what is promised to containers being written.
    pub(crate) fn space(&self) -> io::Result<(u64, u64)> {
        let space = rustix::fs::statvfs(&self.path)?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let reserved = self.reserved_bytes.load(Ordering::Relaxed);
        Ok((space.f_blocks.saturating_mul(space.f_frsize), free.saturating_sub(reserved)))
    }

    /// Promises bytes to a container being written.
    pub(crate) fn reserve(&self, bytes: u64) {
        self.reserved_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes a promise back.
    pub(crate) fn release(&self, bytes: u64) {
        self.reserved_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Lists the shards by their names, opening none; `sweep` removes what a crash left half written.
    ///
    /// Sweeping is only safe while nobody writes to the device.
    pub(crate) fn scan(&self, sweep: bool) -> Result<Vec<(ContainerId, u8)>, Error> {
        let mut shards = Vec::new();
        for directory in entries(&self.path.join(CONTAINERS_DIRECTORY))? {
            for file in entries(&directory)? {
                let Some(file_name) = file.file_name().and_then(|name| name.to_str()) else {
                    continue;
                };
                if let Some((container, shard)) = name::parse(file_name) {
                    if name::directory(&self.path, container) == directory {
                        shards.push((container, shard));
                    } else {
                        warn!(file = %file.display(), "shard in a directory of others");
                    }
                } else if sweep && file_name.ends_with(TMP_SUFFIX) {
                    fs::remove_file(&file).map_err(Error::io("remove leftover", &file))?;
                }
            }
        }
        Ok(shards)
    }
}

/// Lists a directory; one that is not there has no entries.
fn entries(path: &Path) -> Result<Vec<PathBuf>, Error> {
    match fs::read_dir(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(Error::io("list", path)(error)),
        Ok(listing) => listing
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(Error::io("list", path)),
    }
}
