//! The page cache and the footprint of directories.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{Advice, fadvise};

/// What lies in directories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Footprint {
    /// Blocks on the disk.
    pub bytes: u64,
    /// Regular files.
    pub files: u64,
}

/// Writes everything out and drops the files of directories from the page cache; names and inodes stay cached.
pub fn drop_cached(directories: &[PathBuf]) -> anyhow::Result<()> {
    for directory in directories {
        let open = File::open(directory).with_context(|| format!("open {}", directory.display()))?;
        rustix::fs::syncfs(&open).context("write out the file system")?;
    }
    for path in files(directories) {
        if let Ok(file) = File::open(&path) {
            fadvise(&file, 0, None, Advice::DontNeed).with_context(|| format!("drop {}", path.display()))?;
        }
    }
    Ok(())
}

/// Measures directories. Files that go away meanwhile are not counted.
pub fn footprint(directories: &[PathBuf]) -> Footprint {
    let mut sum = Footprint::default();
    for path in files(directories) {
        sum.bytes += file_bytes(&path);
        sum.files += 1;
    }
    sum
}

/// Returns the bytes of a file's blocks; 0 when it is gone.
pub fn file_bytes(path: &Path) -> u64 {
    path.symlink_metadata().map_or(0, |meta| meta.blocks() * 512)
}

/// Lists the regular files below directories.
pub fn files(directories: &[PathBuf]) -> Vec<PathBuf> {
    let (mut open, mut found) = (directories.to_vec(), Vec::new());
    while let Some(directory) = open.pop() {
        for entry in entries(&directory) {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                Ok(_) | Err(_) => {}
            }
        }
    }
    found
}

fn entries(directory: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_measured_and_dropped() {
        let directory = tempfile::TempDir::new().unwrap();
        fs::create_dir(directory.path().join("a")).unwrap();
        fs::write(directory.path().join("a/b"), [1; 10_000]).unwrap();
        fs::write(directory.path().join("c"), []).unwrap();
        let directories = [directory.path().to_owned()];
        drop_cached(&directories).unwrap();
        let found = footprint(&directories);
        assert_eq!(found.files, 2);
        assert!(found.bytes >= 10_000, "{found:?}");
    }
}
