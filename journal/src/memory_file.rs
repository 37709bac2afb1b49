//! A file in memory that knows which of its bytes are durable.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::format::len64;
use crate::random::Random;

/// What a disk writes whole: a crash keeps all of a sector's last write, or nothing of it.
const SECTOR_BYTES: usize = 512;

/// A file in memory. Clones are the same file.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryFile(Arc<Mutex<Content>>);

#[derive(Debug, Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    /// What the sectors held that were written since the last flush.
    durable: BTreeMap<usize, Vec<u8>>,
}

impl MemoryFile {
    /// Returns a durable file of zeros.
    pub(crate) fn zeroed(bytes: u64) -> io::Result<Self> {
        let bytes = vec![0; to_usize(bytes)?];
        Ok(Self(Arc::new(Mutex::new(Content { bytes, durable: BTreeMap::new() }))))
    }

    /// Returns another file with the same content.
    pub(crate) fn duplicate(&self) -> Self {
        Self(Arc::new(Mutex::new(self.lock().clone())))
    }

    /// Tells whether both are the same file.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn len(&self) -> u64 {
        len64(self.lock().bytes.len())
    }

    /// Cuts or lengthens the file, at once durably, as a file system's own journal does.
    pub(crate) fn set_len(&self, bytes: u64) -> io::Result<()> {
        let bytes = to_usize(bytes)?;
        let mut content = self.lock();
        content.bytes.resize(bytes, 0);
        content.durable.retain(|sector, _| sector * SECTOR_BYTES < bytes);
        Ok(())
    }

    /// Writes bytes, which a crash may lose until [`MemoryFile::flush`].
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = to_usize(offset)?;
        let end = start.saturating_add(bytes.len());
        let mut content = self.lock();
        if content.bytes.len() < end {
            content.bytes.resize(end, 0);
        }
        if !bytes.is_empty() {
            for sector in start / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES {
                let held = content.sector(sector).to_vec();
                content.durable.entry(sector).or_insert(held);
            }
        }
        content.bytes.get_mut(start..end).unwrap_or_default().copy_from_slice(bytes);
        Ok(())
    }

    /// Makes what was written durable.
    pub(crate) fn flush(&self) {
        self.lock().durable.clear();
    }

    /// Reads until `out` is full or the file ends; returns the bytes read.
    pub(crate) fn read(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.lock();
        let held = content.bytes.get(to_usize(offset)?..).unwrap_or_default();
        let read = held.len().min(out.len());
        let (Some(out), Some(held)) = (out.get_mut(..read), held.get(..read)) else {
            return Ok(0);
        };
        out.copy_from_slice(held);
        Ok(read)
    }

    /// Changes bits of one byte, durably, without a write; `false` if the file is shorter.
    pub(crate) fn flip(&self, offset: u64, mask: u8) -> bool {
        let mut content = self.lock();
        let byte = to_usize(offset).ok().and_then(|at| content.bytes.get_mut(at));
        byte.map(|byte| *byte ^= mask).is_some()
    }

    /// Loses what was not flushed, sector by sector, or keeps it, by chance.
    pub(crate) fn crash(&self, chance: &mut Random) {
        let mut content = self.lock();
        for (sector, held) in std::mem::take(&mut content.durable) {
            let start = sector * SECTOR_BYTES;
            if chance.coin()
                && let Some(now) = content.bytes.get_mut(start..start + held.len())
            {
                now.copy_from_slice(&held);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn sector(&self, sector: usize) -> &[u8] {
        let start = sector * SECTOR_BYTES;
        let end = self.bytes.len().min(start + SECTOR_BYTES);
        self.bytes.get(start..end).unwrap_or_default()
    }
}

fn to_usize(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(file: &MemoryFile) -> Vec<u8> {
        let mut out = vec![0; usize::try_from(file.len()).unwrap()];
        file.read(&mut out, 0).unwrap();
        out
    }

    #[test]
    fn a_crash_keeps_what_was_flushed_and_whole_sectors_of_the_rest_by_chance() {
        let file = MemoryFile::zeroed(8 * 512).unwrap();
        file.write(&[1; 8 * 512], 0).unwrap();
        file.flush();
        file.write(&[2; 6 * 512], 512).unwrap();
        let (mut old, mut new) = (0, 0);
        for seed in 0..20 {
            let crashed = file.duplicate();
            crashed.crash(&mut Random::new(seed));
            let bytes = content(&crashed);
            assert!(bytes[..512] == [1; 512] && bytes[7 * 512..] == [1; 512]);
            for sector in bytes[512..7 * 512].chunks(512) {
                assert!(sector == [1; 512] || sector == [2; 512]);
                if sector[0] == 1 { old += 1 } else { new += 1 }
            }
            let again = file.duplicate();
            again.crash(&mut Random::new(seed));
            assert_eq!(content(&again), bytes, "the seed decides");
        }
        assert!(old > 20 && new > 20, "{old} {new}");
    }

    #[test]
    fn writes_lengthen_and_cuts_stay() {
        let file = MemoryFile::default();
        file.write(&[3; 700], 100).unwrap();
        assert_eq!(file.len(), 800);
        file.set_len(600).unwrap();
        file.crash(&mut Random::new(1));
        assert_eq!(file.len(), 600);
        assert!(file.flip(599, 1) && !file.flip(600, 1));
        assert_eq!(file.read(&mut [0; 10], 595).unwrap(), 5);
    }
}
