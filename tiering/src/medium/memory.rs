//! Memory as a medium that fails as it is told: it loses, tears, rots, goes back in time, is full, read-only or away.
//! Whatever chance decides follows from the seed. Slow and hung devices are the fault point's.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::name::{Note, Presence, ShardName, Space};

/// A handle on a disk in memory. Clones are the same handle; [`MemoryMedium::crash`] ends it and returns the next.
#[derive(Debug, Clone)]
pub struct MemoryMedium {
    label: Arc<PathBuf>,
    disk: Arc<Mutex<Disk>>,
    /// Number of the crash after which this handle began.
    life: u64,
}

/// All that a disk holds at one moment, to go back to.
#[derive(Debug, Clone)]
pub struct Snapshot(Content);

#[derive(Debug)]
struct Disk {
    content: Content,
    life: u64,
    chance: u64,
    away: bool,
    read_only: bool,
    capacity_bytes: u64,
    tear_next_append: bool,
}

#[derive(Debug, Clone, Default)]
struct Content {
    /// Whether it was made ready to hold something.
    prepared: bool,
    used: bool,
    notes: BTreeMap<Note, Vec<u8>>,
    staged: BTreeMap<ShardName, Written>,
    published: BTreeMap<ShardName, Written>,
    /// Published shards whose names a crash may take back.
    unflushed_names: BTreeSet<ShardName>,
}

#[derive(Debug, Clone, Default)]
struct Written {
    bytes: Vec<u8>,
    /// So many of them survive a crash for certain.
    flushed: usize,
}

/// A shard in memory that is open for reading.
#[derive(Debug)]
pub struct OpenBytes {
    medium: MemoryMedium,
    name: ShardName,
}

/// A shard in memory that is being written.
#[derive(Debug)]
pub struct StagedBytes {
    medium: MemoryMedium,
    name: ShardName,
}

impl MemoryMedium {
    /// What the URL of a device in memory begins with.
    pub(crate) const SCHEME: &str = "memory";

    /// Returns an empty disk, `memory://NAME` in the configuration of a pool.
    pub fn new(name: &str, capacity_bytes: u64, seed: u64) -> Self {
        let disk = Disk {
            content: Content::default(),
            life: 0,
            chance: seed,
            away: false,
            read_only: false,
            capacity_bytes,
            tear_next_append: false,
        };
        Self {
            label: Arc::new(PathBuf::from(format!("{}://{name}", Self::SCHEME))),
            disk: Arc::new(Mutex::new(disk)),
            life: 0,
        }
    }

    /// Cuts the power: this handle and its clones fail from now on, and what was not flushed is gone, torn or there, as the
    /// seed decides. Returns the handle of the next start.
    #[must_use]
    pub fn crash(&self) -> Self {
        let mut disk = self.disk();
        disk.life += 1;
        let life = disk.life;
        for name in std::mem::take(&mut disk.content.unflushed_names) {
            if disk.draw().is_multiple_of(2)
                && let Some(written) = disk.content.published.remove(&name)
            {
                disk.content.staged.insert(name, written);
            }
        }
        let staged: Vec<ShardName> = disk.content.staged.keys().copied().collect();
        for name in staged {
            let draw = disk.draw();
            let Some(written) = disk.content.staged.get_mut(&name) else { continue };
            written.tear(draw);
            if written.flushed == 0 && draw.is_multiple_of(3) {
                disk.content.staged.remove(&name);
            }
        }
        let published: Vec<ShardName> = disk.content.published.keys().copied().collect();
        for name in published {
            let draw = disk.draw();
            if let Some(written) = disk.content.published.get_mut(&name) {
                written.tear(draw);
            }
        }
        drop(disk);
        Self { label: Arc::clone(&self.label), disk: Arc::clone(&self.disk), life }
    }

    /// Takes the disk away, as a cable that is pulled does.
    pub fn vanish(&self) {
        self.disk().away = true;
    }

    /// Brings it back as it was.
    pub fn come_back(&self) {
        self.disk().away = false;
    }

    /// Makes every write fail, or lets writes work again.
    pub fn set_read_only(&self, read_only: bool) {
        self.disk().read_only = read_only;
    }

    /// Changes its size; with less than is written it is full.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.disk().capacity_bytes = capacity_bytes;
    }

    /// Loses a shard without a trace; returns whether it had it.
    pub fn lose(&self, name: ShardName) -> bool {
        self.disk().content.published.remove(&name).is_some()
    }

    /// Flips one bit of a shard, which one the seed decides; returns the offset of the byte.
    pub fn rot(&self, name: ShardName) -> Option<u64> {
        let mut disk = self.disk();
        let draw = disk.draw();
        let written = disk.content.published.get_mut(&name)?;
        let at = draw % u64::try_from(written.bytes.len()).ok().filter(|bytes| *bytes > 0)?;
        *written.bytes.get_mut(usize::try_from(at).ok()?)? ^= 1 << (draw >> 61);
        Some(at)
    }

    /// Writes the bytes of one shard under the name of another, as a misdirected write does; returns whether there were any.
    pub fn misdirect(&self, from: ShardName, to: ShardName) -> bool {
        let mut disk = self.disk();
        let written = disk.content.published.get(&from).cloned();
        written.is_some_and(|written| disk.content.published.insert(to, written).is_some())
    }

    /// Lets the next append to a note fail half-way.
    pub fn tear_next_append(&self) {
        self.disk().tear_next_append = true;
    }

    /// Remembers all that is on the disk now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.disk().content.clone())
    }

    /// Goes back to what was on the disk then, as a disk that was put aside and comes back does.
    pub fn go_back(&self, to: &Snapshot) {
        self.disk().content = to.0.clone();
    }

    /// Returns the names of staged shards.
    pub fn staged(&self) -> Vec<ShardName> {
        self.disk().content.staged.keys().copied().collect()
    }

    /// Returns its URL.
    pub fn label(&self) -> &Path {
        &self.label
    }

    pub(super) fn presence(&self) -> io::Result<Presence> {
        let disk = self.disk();
        if disk.life != self.life {
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(match &disk.content {
            _ if disk.away => Presence::Absent,
            content if content.used => Presence::Used,
            _ => Presence::Empty,
        })
    }

    pub(super) fn space(&self) -> io::Result<Space> {
        let disk = self.readable()?;
        let free_bytes = disk.capacity_bytes.saturating_sub(disk.content.bytes());
        Ok(Space { total_bytes: disk.capacity_bytes, free_bytes })
    }

    pub(super) fn prepare(&self) -> io::Result<()> {
        self.writable()?.content.prepared = true;
        Ok(())
    }

    pub(super) fn list(&self, sweep: bool, mut go_on: impl FnMut() -> io::Result<()>) -> io::Result<Vec<ShardName>> {
        go_on()?; // before the lock: it may wait
        let mut disk = if sweep { self.writable()? } else { self.readable()? };
        if sweep {
            disk.content.staged.clear();
        }
        Ok(disk.content.published.keys().copied().collect())
    }

    pub(super) fn open(&self, name: ShardName) -> io::Result<OpenBytes> {
        let disk = self.readable()?;
        disk.content.published.get(&name).ok_or(io::ErrorKind::NotFound)?;
        Ok(OpenBytes { medium: self.clone(), name })
    }

    pub(super) fn stage(&self, name: ShardName) -> io::Result<StagedBytes> {
        let mut disk = self.writable()?;
        if !disk.content.prepared {
            return Err(io::ErrorKind::NotFound.into());
        }
        if disk.content.staged.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.content.staged.insert(name, Written::default());
        disk.content.used = true;
        Ok(StagedBytes { medium: self.clone(), name })
    }

    pub(super) fn publish(&self, name: ShardName) -> io::Result<()> {
        let mut disk = self.writable()?;
        if disk.content.staged.contains_key(&name) && disk.content.published.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let written = disk.content.staged.remove(&name).ok_or(io::ErrorKind::NotFound)?;
        disk.content.published.insert(name, written);
        disk.content.unflushed_names.insert(name);
        Ok(())
    }

    pub(super) fn flush_name(&self, name: ShardName) -> io::Result<()> {
        self.writable()?.content.unflushed_names.remove(&name);
        Ok(())
    }

    pub(super) fn remove(&self, name: ShardName) -> io::Result<()> {
        let mut disk = self.writable()?;
        disk.content.published.remove(&name);
        disk.content.unflushed_names.remove(&name);
        Ok(())
    }

    pub(super) fn discard(&self, name: ShardName) -> io::Result<()> {
        self.writable()?.content.staged.remove(&name);
        Ok(())
    }

    pub(super) fn read_note(&self, note: Note, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let disk = self.readable()?;
        let Some(bytes) = disk.content.notes.get(&note) else { return Ok(None) };
        if u64::try_from(bytes.len()).is_ok_and(|bytes| bytes <= bytes_max) {
            Ok(Some(bytes.clone()))
        } else {
            Err(io::ErrorKind::FileTooLarge.into())
        }
    }

    pub(super) fn create_note(&self, note: Note, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.writable_for(bytes.len())?;
        if disk.content.notes.contains_key(&note) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.content.notes.insert(note, bytes.to_vec());
        Ok(())
    }

    pub(super) fn append_note(&self, note: Note, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.writable_for(bytes.len())?;
        let torn = std::mem::take(&mut disk.tear_next_append);
        let draw = usize::try_from(disk.draw() >> 33).unwrap_or_default();
        let kept = if torn { draw.checked_rem(bytes.len()).unwrap_or_default() } else { bytes.len() };
        disk.content.notes.entry(note).or_default().extend(bytes.iter().take(kept));
        if torn { Err(io::Error::other("the append was torn")) } else { Ok(()) }
    }

    /// Locks; a panic elsewhere leaves the disk whole, since every change is one step.
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readable(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk();
        if disk.life != self.life {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if disk.away { Err(io::ErrorKind::NotFound.into()) } else { Ok(disk) }
    }

    fn writable(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.readable()?;
        if disk.read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(disk) }
    }

    fn writable_for(&self, bytes: usize) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.writable()?;
        let after = disk.content.bytes().saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if after > disk.capacity_bytes { Err(io::ErrorKind::StorageFull.into()) } else { Ok(disk) }
    }
}

impl Disk {
    /// Draws the next number (SplitMix64).
    fn draw(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Content {
    fn bytes(&self) -> u64 {
        let shards = self.staged.values().chain(self.published.values()).map(|written| written.bytes.len());
        let bytes = shards.chain(self.notes.values().map(Vec::len)).fold(0, usize::saturating_add);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl Written {
    /// Keeps what was flushed, and of the rest as much as `draw` says.
    fn tear(&mut self, draw: u64) {
        let unflushed = self.bytes.len().saturating_sub(self.flushed);
        let kept = usize::try_from(draw >> 33).unwrap_or_default() % unflushed.saturating_add(1);
        self.bytes.truncate(self.flushed.saturating_add(kept));
        self.flushed = self.bytes.len();
    }
}

impl OpenBytes {
    pub(super) fn bytes(&self) -> io::Result<u64> {
        self.with(|bytes| Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
    }

    pub(super) fn read(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|bytes| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let range = bytes.get(start..).and_then(|rest| rest.get(..out.len()));
            out.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn with<T>(&self, read: impl FnOnce(&[u8]) -> io::Result<T>) -> io::Result<T> {
        let disk = self.medium.readable()?;
        read(&disk.content.published.get(&self.name).ok_or(io::ErrorKind::NotFound)?.bytes)
    }
}

impl StagedBytes {
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.medium.writable_for(bytes.len())?;
        let written = disk.content.staged.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = start.saturating_add(bytes.len());
        if written.bytes.len() < end {
            written.bytes.resize(end, 0);
        }
        written.flushed = written.flushed.min(start);
        written.bytes.get_mut(start..end).ok_or(io::ErrorKind::FileTooLarge)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut disk = self.medium.writable()?;
        let written = disk.content.staged.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        written.flushed = written.bytes.len();
        Ok(())
    }
}
