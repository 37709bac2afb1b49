//! Where a copy of the journal lies.

use std::path::{Path, PathBuf};

use crate::memory::MemoryCopy;

/// Where a copy of the journal lies.
#[derive(Debug, Clone)]
pub enum CopyPlace {
    /// A directory.
    Directory(PathBuf),
    /// Memory that misbehaves on demand, for tests and simulations.
    Memory(MemoryCopy),
}

impl CopyPlace {
    /// Returns the directory, or the name of the copy in memory, for messages.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(path) => path,
            Self::Memory(memory) => memory.path(),
        }
    }
}

impl From<PathBuf> for CopyPlace {
    fn from(path: PathBuf) -> Self {
        Self::Directory(path)
    }
}

impl From<MemoryCopy> for CopyPlace {
    fn from(copy: MemoryCopy) -> Self {
        Self::Memory(copy)
    }
}
