//! A copy of the journal in memory that misbehaves on demand: for tests, and for simulations that
//! drive the journal's own code through crashes and faults. What it does depends only on the seeds
//! it is given.
//!
//! A [`MemoryCopy`] outlives the journals that are opened on it, as a disk outlives a server. A
//! crash ends what an open journal can do with it: its files fail with EIO from then on, as if the
//! process were gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use uuid::Uuid;

use crate::directory::FREE_SEGMENTS_MAX;
use crate::fault::{Fault, Faults};
use crate::identity::Contents;
use crate::memory_file::MemoryFile;
use crate::random::Random;

/// A copy of the journal in memory. Clones are the same copy.
#[derive(Debug, Clone)]
pub struct MemoryCopy {
    name: PathBuf,
    faults: Arc<Faults>,
    state: Arc<Mutex<State>>,
}

/// What is in the copy.
#[derive(Debug, Default)]
struct State {
    now: Tree,
    /// The names that a crash does not lose.
    durable: Tree,
    /// What lies on the device while it is not mounted.
    device: Option<Tree>,
    /// Grows with each crash: what was opened in an earlier life fails.
    life: u64,
    locked: bool,
    vanished: bool,
}

/// The files of a copy.
#[derive(Debug, Clone, Default)]
struct Tree {
    note: Option<Vec<u8>>,
    adopt: bool,
    segments: BTreeMap<u64, MemoryFile>,
    free: Vec<MemoryFile>,
    large: BTreeMap<Uuid, MemoryFile>,
}

impl MemoryCopy {
    /// Returns an empty copy; the name appears in messages.
    pub fn new(name: &str) -> Self {
        Self { name: PathBuf::from(name), faults: Arc::default(), state: Arc::default() }
    }

    /// Returns the name.
    pub fn path(&self) -> &Path {
        &self.name
    }

    /// Has everything from now on go wrong in this way.
    pub fn inject(&self, fault: Fault) {
        self.faults.set(fault);
    }

    /// Has each fault begin after as many steps (writes, flushes, changes of names), counted from
    /// the one before.
    pub fn plan(&self, faults: impl IntoIterator<Item = (u64, Fault)>) {
        self.faults.plan(faults);
    }

    /// Stops the machine: what was not flushed is lost, or kept, sector by sector and name by name,
    /// as the seed decides. A journal that is open on the copy cannot read or write it any more,
    /// and its lock is gone.
    pub fn crash(&self, seed: u64) {
        let mut state = self.state();
        let chance = &mut Random::new(seed);
        let survived = state.durable.after_crash(&state.now, chance);
        state.now = survived.clone();
        state.durable = survived;
        state.end_life();
    }

    /// Returns another copy with the same bytes, unflushed ones included: an image to crash, or to
    /// put back later as a stale copy.
    #[must_use]
    pub fn duplicate(&self, name: &str) -> Self {
        let state = self.state();
        let files = &mut Vec::new();
        let now = state.now.duplicate(files);
        let durable = state.durable.duplicate(files);
        let copied = State { now, durable, ..State::default() };
        Self { name: PathBuf::from(name), faults: Arc::default(), state: Arc::new(Mutex::new(copied)) }
    }

    /// Takes the device away: everything fails with EIO until it returns.
    pub fn vanish(&self) {
        let mut state = self.state();
        state.vanished = true;
        state.end_life();
    }

    /// Brings the device back, as it was.
    pub fn come_back(&self) {
        self.state().vanished = false;
    }

    /// Leaves an empty directory where the device was mounted.
    pub fn unmount(&self) {
        let mut state = self.state();
        if state.device.is_none() {
            state.device = Some(std::mem::take(&mut state.now));
            state.durable = Tree::default();
        }
        state.end_life();
    }

    /// Mounts the device again; it hides what was written to the empty directory.
    pub fn mount(&self) {
        let mut state = self.state();
        if let Some(device) = state.device.take() {
            state.now = device.clone();
            state.durable = device;
        }
        state.end_life();
    }

    /// Tells whether there is nothing in it, not even `journal.json`.
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        state.now.note.is_none() && state.now.segments.is_empty() && state.now.large.is_empty()
    }

    /// Marks an empty copy as one that may be filled, as an operator does by the file
    /// `adopt-as-journal-copy`.
    pub fn allow_adoption(&self) {
        let mut state = self.state();
        state.now.adopt = true;
        state.durable.adopt = true;
    }

    /// Changes bits of one byte of a segment; `false` if there is no such byte.
    pub fn flip(&self, segment: u64, offset: u64, mask: u8) -> bool {
        self.state().now.segments.get(&segment).is_some_and(|file| file.flip(offset, mask))
    }

    /// Lets one bit rot, somewhere in the segments and large files; `false` if there is none.
    pub fn rot(&self, seed: u64) -> bool {
        let chance = &mut Random::new(seed);
        let state = self.state();
        let files: Vec<&MemoryFile> = state.now.segments.values().chain(state.now.large.values()).collect();
        let mut at = chance.below(files.iter().map(|file| file.len()).sum());
        for file in files {
            if at < file.len() {
                return file.flip(at, if chance.coin() { 1 } else { 0x80 });
            }
            at -= file.len();
        }
        false
    }

    pub(crate) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults)
    }

    /// Looks at the copy without changing it.
    pub(crate) fn look(&self) -> Contents {
        let state = self.state();
        match &state.now.note {
            _ if state.vanished => Contents::Unusable("the device is away".to_owned()),
            Some(note) => Contents::Note(note.clone()),
            None if !state.now.segments.is_empty() => {
                Contents::Unusable("it has segments but no journal.json".to_owned())
            }
            None => Contents::Empty { adopt: state.now.adopt },
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_life(&mut self) {
        self.life += 1;
        self.locked = false;
    }
}

impl Tree {
    /// Returns what a crash leaves of the durable names, `now` being the present ones.
    fn after_crash(&self, now: &Self, chance: &mut Random) -> Self {
        let mut left = self.clone();
        let ids: BTreeSet<&Uuid> = self.large.keys().chain(now.large.keys()).collect();
        left.large = ids
            .into_iter()
            .filter(|id| (self.large.contains_key(id) && now.large.contains_key(id)) || chance.coin())
            .filter_map(|id| Some((*id, now.large.get(id).or_else(|| self.large.get(id))?.clone())))
            .collect();
        for file in left.segments.values().chain(&left.free).chain(left.large.values()) {
            file.crash(chance);
        }
        left
    }

    /// Copies the files; `copied` knows which ones were copied before, and into what.
    fn duplicate(&self, copied: &mut Vec<(MemoryFile, MemoryFile)>) -> Self {
        let mut copy = |file: &MemoryFile| {
            if let Some((_, known)) = copied.iter().find(|(known, _)| known.is(file)) {
                return known.clone();
            }
            let new = file.duplicate();
            copied.push((file.clone(), new.clone()));
            new
        };
        Self {
            note: self.note.clone(),
            adopt: self.adopt,
            segments: self.segments.iter().map(|(&number, file)| (number, copy(file))).collect(),
            free: self.free.iter().map(&mut copy).collect(),
            large: self.large.iter().map(|(&id, file)| (id, copy(file))).collect(),
        }
    }
}

/// A copy in memory as an open journal uses it, until it is dropped, the copy crashes or its device
/// goes away.
#[derive(Debug)]
pub(crate) struct MemoryDisk(Life);

/// One life of a copy: from one crash to the next.
#[derive(Debug, Clone)]
struct Life {
    copy: MemoryCopy,
    number: u64,
}

/// An open file of a copy in memory.
#[derive(Debug)]
pub(crate) struct MemoryHandle {
    life: Life,
    file: MemoryFile,
}

impl MemoryHandle {
    /// Returns the file if it can still be used.
    pub(crate) fn file(&self) -> io::Result<&MemoryFile> {
        self.life.state().map(|_| &self.file)
    }
}

impl Life {
    /// Returns the state of the copy if this is still its life.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.copy.state();
        if state.life != self.number || state.vanished {
            return Err(Errno::IO.into());
        }
        Ok(state)
    }
}

impl Drop for MemoryDisk {
    fn drop(&mut self) {
        self.unlock();
    }
}

impl MemoryDisk {
    /// Takes the lock of a copy. `WouldBlock`: another journal has it.
    pub(crate) fn lock(copy: &MemoryCopy) -> io::Result<Self> {
        let mut state = copy.state();
        if state.vanished {
            return Err(Errno::IO.into());
        }
        if state.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locked = true;
        // Each owner has a life of its own: what a former one gives up late is not this one's lock.
        state.life += 1;
        Ok(Self(Life { copy: copy.clone(), number: state.life }))
    }

    /// Releases the lock; a second time does nothing. Files that are open can be read until the
    /// next owner comes.
    pub(crate) fn unlock(&self) {
        if let Ok(mut state) = self.alive() {
            state.locked = false;
        }
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        self.0.state()
    }

    fn handle(&self, file: &MemoryFile) -> MemoryHandle {
        MemoryHandle { life: self.0.clone(), file: file.clone() }
    }

    pub(crate) fn write_note(&self, note: &[u8]) -> io::Result<()> {
        let mut state = self.alive()?;
        state.now.note = Some(note.to_vec());
        state.durable.note = Some(note.to_vec());
        Ok(())
    }

    pub(crate) fn remove_adopt_mark(&self) -> io::Result<()> {
        let mut state = self.alive()?;
        state.now.adopt = false;
        state.durable.adopt = false;
        Ok(())
    }

    pub(crate) fn create_segment(&self, number: u64, bytes: u64) -> io::Result<(MemoryHandle, bool)> {
        let mut state = self.alive()?;
        if state.now.segments.contains_key(&number) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let free = state.now.free.pop();
        let ready = free.is_some();
        let file = free.map_or_else(|| MemoryFile::zeroed(bytes), Ok)?;
        state.now.segments.insert(number, file.clone());
        state.sync_segments();
        Ok((self.handle(&file), ready))
    }

    pub(crate) fn has_free(&self) -> bool {
        self.alive().is_ok_and(|state| !state.now.free.is_empty())
    }

    pub(crate) fn prepare(&self, bytes: u64, wait: &dyn Fn(u64) -> bool) -> io::Result<()> {
        let file = MemoryFile::zeroed(bytes)?;
        if wait(bytes) {
            self.alive()?.now.free.push(file);
        }
        Ok(())
    }

    pub(crate) fn open_segment(&self, number: u64) -> io::Result<MemoryHandle> {
        let file = self.alive()?.now.segments.get(&number).cloned();
        Ok(self.handle(&file.ok_or(io::ErrorKind::NotFound)?))
    }

    pub(crate) fn segments(&self) -> io::Result<Vec<u64>> {
        Ok(self.alive()?.now.segments.keys().copied().collect())
    }

    pub(crate) fn recycle(&self, number: u64, bytes: u64, keep: bool) -> io::Result<()> {
        let mut state = self.alive()?;
        if let Some(file) = state.now.segments.remove(&number) {
            if keep && file.len() == bytes && state.now.free.len() < FREE_SEGMENTS_MAX {
                state.now.free.push(file);
            }
            state.sync_segments();
        }
        Ok(())
    }

    pub(crate) fn trim_free(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.alive()?;
        state.now.free.retain(|file| file.len() == bytes);
        state.now.free.truncate(FREE_SEGMENTS_MAX);
        Ok(())
    }

    pub(crate) fn create_large(&self, id: Uuid) -> io::Result<MemoryHandle> {
        let mut state = self.alive()?;
        if state.now.large.contains_key(&id) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = MemoryFile::default();
        state.now.large.insert(id, file.clone());
        Ok(self.handle(&file))
    }

    pub(crate) fn open_large(&self, id: Uuid) -> io::Result<MemoryHandle> {
        let file = self.alive()?.now.large.get(&id).cloned();
        Ok(self.handle(&file.ok_or(io::ErrorKind::NotFound)?))
    }

    pub(crate) fn sync_large_names(&self) -> io::Result<()> {
        let mut state = self.alive()?;
        let large = state.now.large.clone();
        state.durable.large = large;
        Ok(())
    }

    pub(crate) fn remove_large(&self, id: Uuid) -> io::Result<()> {
        self.alive()?.now.large.remove(&id);
        Ok(())
    }

    pub(crate) fn large_files(&self) -> io::Result<Vec<(Uuid, u64)>> {
        Ok(self.alive()?.now.large.iter().map(|(&id, file)| (id, file.len())).collect())
    }
}

impl State {
    /// Makes the names of segments and free segments durable.
    fn sync_segments(&mut self) {
        self.durable.segments = self.now.segments.clone();
        self.durable.free = self.now.free.clone();
    }
}
