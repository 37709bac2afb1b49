//! A directory as a medium: files below `containers/`, notes beside it.
//!
//! | path below the device | what |
//! |---|---|
//! | `containers/<last two hex digits of C>/<C>.<shard number, 3 digits>.fshard` | a shard of container C |
//! | the same with `.tmp` behind it | a staged shard; after a crash a leftover |
//! | `device.json` | the note that says which device this is |
//! | `tombstones.log` | the note of tombstones |

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut, Read, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt};
use std::path::{Path, PathBuf};

use disk::Direct;
use disk::files::{create_directories, publish, read_now, sync_directory, write_new};
use rustix::fs::{Advice, Mode, OFlags};
use rustix::io::Errno;
use tracing::warn;

use super::name::{Note, Presence, ShardName, Space};
use crate::ContainerId;

/// Directory of a device that holds its shards.
const CONTAINERS_DIRECTORY: &str = "containers";
/// End of the name of a file that is being written.
const TMP_SUFFIX: &str = ".tmp";

/// A directory that keeps shards and notes.
#[derive(Debug, Clone)]
pub struct DirectoryMedium {
    path: PathBuf,
}

/// A shard file that is open for reading.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    /// The same file beside the page cache.
    direct: Option<Direct>,
}

/// A shard file that is being written.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    direct: Direct,
}

impl DirectoryMedium {
    /// Returns the medium of a directory, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns its directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn presence(&self) -> io::Result<Presence> {
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Presence::Absent),
            Err(error) => return Err(error),
            Ok(metadata) if !metadata.is_dir() => {
                return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory"));
            }
            Ok(_) => {}
        }
        match fs::read_dir(self.path.join(CONTAINERS_DIRECTORY)).map(|mut entries| entries.next().is_some()) {
            Ok(true) => Ok(Presence::Used),
            Ok(false) => Ok(Presence::Empty),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Presence::Empty),
            Err(error) => Err(error),
        }
    }

    /// Returns the number of its file system.
    pub(super) fn failure_domain(&self) -> Option<u64> {
        fs::metadata(&self.path).ok().map(|metadata| metadata.dev())
    }

    pub(super) fn space(&self) -> io::Result<Space> {
        let space = rustix::fs::statvfs(&self.path)?;
        Ok(Space {
            total_bytes: space.f_blocks.saturating_mul(space.f_frsize),
            free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        })
    }

    pub(super) fn prepare(&self) -> io::Result<()> {
        create_directories(&self.path.join(CONTAINERS_DIRECTORY))
    }

    pub(super) fn list(&self, sweep: bool, mut go_on: impl FnMut() -> io::Result<()>) -> io::Result<Vec<ShardName>> {
        let mut shards = Vec::new();
        for directory in entries(&self.path.join(CONTAINERS_DIRECTORY))? {
            go_on()?;
            for file in entries(&directory)? {
                go_on()?;
                let Some(file_name) = file.file_name().and_then(|name| name.to_str()) else {
                    continue;
                };
                if let Some(name) = parse(file_name) {
                    if self.directory_of(name.container) == directory {
                        shards.push(name);
                    } else {
                        warn!(file = %file.display(), "shard in a directory of others");
                    }
                } else if sweep && file_name.ends_with(TMP_SUFFIX) {
                    fs::remove_file(&file)?;
                }
            }
        }
        Ok(shards)
    }

    pub(super) fn open(&self, name: ShardName) -> io::Result<OpenFile> {
        Ok(OpenFile { file: open_unnoticed(&self.path_of(name))?, direct: None })
    }

    pub(super) fn open_uncached(&self, name: ShardName) -> io::Result<OpenFile> {
        let path = self.path_of(name);
        Ok(OpenFile { file: open_unnoticed(&path)?, direct: Some(Direct::reader(&path)) })
    }

    pub(super) fn stage(&self, name: ShardName) -> io::Result<StagedFile> {
        self.make_directory(name.container)?;
        let path = self.staged_path_of(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(StagedFile { file, direct: Direct::writer(&path) })
    }

    pub(super) fn publish(&self, name: ShardName) -> io::Result<()> {
        publish(&self.staged_path_of(name), &self.path_of(name))
    }

    pub(super) fn flush_name(&self, name: ShardName) -> io::Result<()> {
        sync_directory(&self.directory_of(name.container))
    }

    pub(super) fn remove(&self, name: ShardName) -> io::Result<()> {
        match fs::remove_file(self.path_of(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        self.flush_name(name)
    }

    pub(super) fn discard(&self, name: ShardName) -> io::Result<()> {
        match fs::remove_file(self.staged_path_of(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    pub(super) fn read_note(&self, note: Note, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match File::open(self.note_path(note)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(file) => file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?,
        };
        if u64::try_from(bytes.len()).is_ok_and(|bytes| bytes <= bytes_max) {
            Ok(Some(bytes))
        } else {
            Err(io::ErrorKind::FileTooLarge.into())
        }
    }

    pub(super) fn create_note(&self, note: Note, bytes: &[u8]) -> io::Result<()> {
        write_new(&self.note_path(note), bytes)
    }

    pub(super) fn append_note(&self, note: Note, bytes: &[u8]) -> io::Result<()> {
        let path = self.note_path(note);
        let new = !path.exists();
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        if new { sync_directory(&self.path) } else { Ok(()) }
    }

    /// Makes the directory of a container's shards, but never the device's: a disk that is not mounted must not be written to
    /// its mount point.
    fn make_directory(&self, container: ContainerId) -> io::Result<()> {
        match fs::create_dir(self.directory_of(container)) {
            Ok(()) => sync_directory(&self.path.join(CONTAINERS_DIRECTORY)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the directory of a container's shards: 256 of them keep directories short.
    fn directory_of(&self, container: ContainerId) -> PathBuf {
        let [.., last] = *container.0.as_bytes();
        self.path.join(CONTAINERS_DIRECTORY).join(format!("{last:02x}"))
    }

    fn path_of(&self, name: ShardName) -> PathBuf {
        self.directory_of(name.container).join(format!("{}.{:03}.fshard", name.container, name.shard))
    }

    fn staged_path_of(&self, name: ShardName) -> PathBuf {
        self.directory_of(name.container).join(format!("{}.{:03}.fshard{TMP_SUFFIX}", name.container, name.shard))
    }

    fn note_path(&self, note: Note) -> PathBuf {
        self.path.join(match note {
            Note::Identity => "device.json",
            Note::Tombstones => "tombstones.log",
        })
    }
}

impl OpenFile {
    pub(super) fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub(super) fn read(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    pub(super) fn read_now(&self, out: &mut [u8], offset: u64) -> bool {
        read_now(&self.file, &mut [IoSliceMut::new(out)], offset)
    }

    pub(super) fn read_uncached(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.direct {
            Some(direct) => direct.read(&self.file, out, offset),
            None => self.file.read_exact_at(out, offset),
        }
    }

    pub(super) fn forget_cached(&self) {
        // It is advice: a file system that cannot take it is read all the same.
        rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed).ok();
    }
}

impl StagedFile {
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    pub(super) fn write_uncached(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.direct.write(&self.file, bytes, offset)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Reads container and shard number from a file name; `None` if it is not the name of a shard.
fn parse(name: &str) -> Option<ShardName> {
    let (container, shard) = name.strip_suffix(".fshard")?.split_once('.')?;
    let number = shard.parse().ok()?;
    let container: ContainerId = container.parse().ok()?;
    (name == format!("{container}.{number:03}.fshard")).then_some(ShardName::new(container, number))
}

/// Opens a file for reading that never has the time of its last access written: that could wait for the device.
fn open_unnoticed(path: &Path) -> io::Result<File> {
    match rustix::fs::open(path, OFlags::RDONLY | OFlags::NOATIME | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::PERM) => File::open(path), // another user's file, as after a restore
        other => Ok(File::from(other?)),
    }
}

/// Lists a directory; one that is not there has no entries.
fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(listing) => listing.map(|entry| entry.map(|entry| entry.path())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        let id: ContainerId = "01927e6c-1111-7abc-8def-0123456789ab".parse().unwrap();
        let path = DirectoryMedium::new("/d".into()).path_of(ShardName::new(id, 7));
        assert_eq!(path, Path::new("/d/containers/ab/01927e6c-1111-7abc-8def-0123456789ab.007.fshard"));
        assert_eq!(parse(path.file_name().unwrap().to_str().unwrap()), Some(ShardName::new(id, 7)));
        for name in [
            "x.007.fshard",
            "01927e6c-1111-7abc-8def-0123456789ab.7.fshard",
            "01927e6c-1111-7abc-8def-0123456789ab.007.fshard.tmp",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
