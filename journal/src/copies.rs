//! Before recovery: checks the options, decides what each directory is and takes the locks.

use std::io;
use std::path::Path;

use super::directory::Disk;
use super::identity::{self, Role, Verdict};
use super::record::{HEAD_BYTES_MAX, len64};
use super::{Error, JournalOptions};

/// Length of the file system's blocks that a segment is made of.
const BLOCK_BYTES: u64 = 4096;

/// Tells whether the options can be met.
pub(super) fn check(options: &JournalOptions) -> Result<(), Error> {
    let record_bytes_max = options.inline_bytes_max.saturating_add(len64(HEAD_BYTES_MAX) + 8);
    let reason = if options.copies_required == 0 || options.copies_required > options.copies.len() {
        "the copies required must be at least one and at most the copies configured"
    } else if !options.segment_bytes.is_multiple_of(BLOCK_BYTES) || options.segment_bytes < record_bytes_max {
        "a segment must be a multiple of 4096 bytes and longer than the longest payload in memory"
    } else if options.bytes_max / 2 < options.segment_bytes {
        "the limit must be at least two segments"
    } else if options.queue_bytes_max == 0 {
        "the queue must hold at least one byte"
    } else {
        return Ok(());
    };
    Err(Error::Options { reason })
}

/// Decides what each directory is, takes the locks, and decides again now that nobody else can change them.
pub(super) fn lock_copies(options: &JournalOptions) -> Result<(Vec<Disk>, Verdict), Error> {
    let look_at_all = || {
        let found = options.copies.iter().map(|path| Ok((path.clone(), identity::look(path)?)));
        found.collect::<Result<Vec<_>, Error>>()
    };
    let verdict = identity::judge(look_at_all()?, options.segment_bytes)?;
    let mut disks = Vec::new();
    for (path, role) in options.copies.iter().zip(&verdict.roles) {
        disks.push(match role {
            Role::Current | Role::Behind => lock_copy(path)?,
            Role::Absent(_) => Disk::absent(path),
        });
    }
    let Verdict { identity, mut roles } = identity::judge(look_at_all()?, options.segment_bytes)?;
    for (disk, role) in disks.iter().zip(&mut roles) {
        if !disk.is_healthy() && !matches!(role, Role::Absent(_)) {
            *role = Role::Absent("it cannot be opened".to_owned());
        }
        if let Role::Absent(reason) = role {
            tracing::error!(path = %disk.path().display(), %reason, "journal copy not used");
        }
    }
    Ok((disks, Verdict { identity, roles }))
}

fn lock_copy(path: &Path) -> Result<Disk, Error> {
    match Disk::lock(path) {
        Ok(disk) => Ok(disk),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Error::Locked { path: path.to_owned() }),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "journal copy cannot be opened");
            Ok(Disk::absent(path))
        }
    }
}
