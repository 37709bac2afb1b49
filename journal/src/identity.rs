//! `journal.json`: which journal a directory is a copy of, and whether it has missed something.
//!
//! Each time the set of copies in use changes (at a start, and when a copy is given up) the copies that go on get a new
//! *epoch id* at the end of their list, before anything is acknowledged without the others. So of two copies one
//! is current if it knows the last id of the other; the other has missed something, but holds nothing acknowledged that
//! the first has not. If neither knows the other's last id, each was used without the other: nobody but the
//! operator can say which one counts, and the journal does not open.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Error;

/// Version of the files in a copy.
pub(super) const FORMAT: u32 = 1;
/// Changes that are remembered: a copy that missed more must be filled anew.
const CHANGES_MAX: usize = 256;
/// A file of this name in an empty directory says that it may become a copy of an existing journal.
pub(super) const ADOPT_FILE: &str = "adopt-as-journal-copy";

/// Contents of `journal.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    /// Version of the format.
    pub(super) format: u32,
    /// Id of the journal.
    pub(super) journal: Uuid,
    /// Bytes of a segment; an LSN has no meaning without it.
    pub(super) segment_bytes: u64,
    /// How often the set of copies changed.
    pub(super) changes: u64,
    /// The last changes, oldest first.
    pub(super) change_ids: Vec<Uuid>,
}

impl Identity {
    /// Returns the identity of a new journal.
    pub(super) fn new(segment_bytes: u64) -> Self {
        Self { format: FORMAT, journal: Uuid::new_v4(), segment_bytes, changes: 0, change_ids: Vec::new() }
    }

    /// Adds a change of the set of copies.
    pub(super) fn change(&mut self) {
        self.changes += 1;
        self.change_ids.push(Uuid::new_v4());
        let excess = self.change_ids.len().saturating_sub(CHANGES_MAX);
        self.change_ids.drain(..excess);
    }

    /// Tells whether this copy has seen everything that `other` has seen.
    fn knows(&self, other: &Self) -> bool {
        other.change_ids.last().is_none_or(|last| self.change_ids.contains(last))
    }
}

/// What lies in a configured directory.
#[derive(Debug)]
pub(super) enum Found {
    /// A copy.
    Copy(Identity),
    /// Nothing; `adopt` if the operator wants it filled.
    Empty { adopt: bool },
    /// Something that cannot be used, with the reason.
    Unusable(String),
}

/// Looks at a directory without changing it.
pub(super) fn look(path: &Path) -> Result<Found, Error> {
    match fs::read(path.join("journal.json")) {
        Ok(bytes) => match serde_json::from_slice::<Identity>(&bytes) {
            Ok(identity) if identity.format == FORMAT => Ok(Found::Copy(identity)),
            Ok(identity) => {
                let reason = format!("format {} is not known, use the release that wrote it", identity.format);
                Err(Error::Unusable { path: path.to_owned(), reason })
            }
            Err(error) => Ok(Found::Unusable(format!("journal.json cannot be read: {error}"))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(look_without_identity(path)),
        Err(error) => Ok(Found::Unusable(format!("journal.json cannot be read: {error}"))),
    }
}

fn look_without_identity(path: &Path) -> Found {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Found::Empty { adopt: false };
        }
        Err(error) => return Found::Unusable(format!("it cannot be listed: {error}")),
    };
    let mut adopt = false;
    for entry in entries {
        match entry {
            Ok(entry) if entry.file_name() == ADOPT_FILE => adopt = true,
            Ok(entry) if entry.file_name() == "segments" && has_entries(&entry.path()) => {
                return Found::Unusable("it has segments but no journal.json".to_owned());
            }
            Ok(_) => {} // our empty subdirectories, or lost+found of a file system
            Err(error) => return Found::Unusable(format!("it cannot be listed: {error}")),
        }
    }
    Found::Empty { adopt }
}

fn has_entries(path: &Path) -> bool {
    fs::read_dir(path).map_or(true, |mut entries| entries.next().is_some())
}

/// What the directories are together.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The identity to go on with.
    pub(super) identity: Identity,
    /// For each directory, whether it is used and how.
    pub(super) roles: Vec<Role>,
}

/// What a copy is good for at a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// Has all that was acknowledged.
    Current,
    /// Is made equal to the current ones.
    Behind,
    /// Is left alone, with the reason.
    Absent(String),
}

/// Decides which of the directories are copies of which journal.
pub(super) fn judge(found: Vec<(PathBuf, Found)>, segment_bytes: u64) -> Result<Verdict, Error> {
    let identities: Vec<(&PathBuf, &Identity)> = found
        .iter()
        .filter_map(|(path, found)| match found {
            Found::Copy(identity) => Some((path, identity)),
            Found::Empty { .. } | Found::Unusable(_) => None,
        })
        .collect();
    let Some(&(newest_path, newest)) = identities.iter().max_by_key(|(_, identity)| identity.changes) else {
        return judge_new(&found, segment_bytes);
    };
    for (path, identity) in &identities {
        if identity.journal != newest.journal || identity.segment_bytes != newest.segment_bytes {
            return Err(Error::Foreign { path: (*path).clone(), other: newest_path.clone() });
        }
        if !newest.knows(identity) {
            return Err(Error::Forked { path: (*path).clone(), other: newest_path.clone() });
        }
    }
    let newest = newest.clone();
    let roles = found.into_iter().map(|(_, found)| role(found, &newest)).collect();
    Ok(Verdict { identity: newest, roles })
}

fn role(found: Found, newest: &Identity) -> Role {
    match found {
        Found::Copy(identity) if identity.change_ids.last() == newest.change_ids.last() => Role::Current,
        // A journal that was never opened to the end: the first start was interrupted.
        Found::Empty { adopt } if adopt || newest.changes == 0 => Role::Behind,
        Found::Copy(_) => Role::Behind,
        Found::Empty { .. } => Role::Absent(format!(
            "the directory is absent or empty; mount the device that holds the copy, or create the file {ADOPT_FILE} in it to have it filled"
        )),
        Found::Unusable(reason) => Role::Absent(reason),
    }
}

fn judge_new(found: &[(PathBuf, Found)], segment_bytes: u64) -> Result<Verdict, Error> {
    for (path, found) in found {
        if let Found::Unusable(reason) = found {
            return Err(Error::Unusable { path: path.clone(), reason: reason.clone() });
        }
    }
    Ok(Verdict { identity: Identity::new(segment_bytes), roles: vec![Role::Current; found.len()] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge_all(found: Vec<Found>) -> Result<Vec<Role>, Error> {
        let found = found.into_iter().enumerate().map(|(n, found)| (PathBuf::from(n.to_string()), found)).collect();
        judge(found, 1 << 20).map(|verdict| verdict.roles)
    }

    fn changed(identity: &Identity) -> Identity {
        let mut identity = identity.clone();
        identity.change();
        identity
    }

    #[test]
    fn a_copy_that_missed_a_change_is_behind() {
        let first = changed(&Identity::new(1 << 20));
        let second = changed(&first);
        let roles = judge_all(vec![Found::Copy(first), Found::Copy(second)]).unwrap();
        assert_eq!(roles, [Role::Behind, Role::Current]);
    }

    #[test]
    fn copies_used_without_each_other_are_refused() {
        let first = changed(&Identity::new(1 << 20));
        let found = vec![Found::Copy(changed(&first)), Found::Copy(changed(&changed(&first)))];
        assert!(matches!(judge_all(found), Err(Error::Forked { .. })));
    }

    #[test]
    fn copies_of_two_journals_are_refused() {
        let found = vec![Found::Copy(Identity::new(1 << 20)), Found::Copy(Identity::new(1 << 20))];
        assert!(matches!(judge_all(found), Err(Error::Foreign { .. })));
    }

    #[test]
    fn an_empty_directory_beside_a_copy_is_not_used_unless_asked() {
        let used = changed(&Identity::new(1 << 20));
        let roles = judge_all(vec![
            Found::Copy(used),
            Found::Empty { adopt: false },
            Found::Empty { adopt: true },
            Found::Unusable("x".to_owned()),
        ]);
        let roles = roles.unwrap();
        assert!(matches!(roles[1], Role::Absent(_)), "perhaps its device is not mounted");
        assert_eq!((&roles[0], &roles[2], &roles[3]), (&Role::Current, &Role::Behind, &Role::Absent("x".to_owned())));
    }

    #[test]
    fn a_first_start_that_was_interrupted_goes_on() {
        let roles = judge_all(vec![Found::Copy(Identity::new(1 << 20)), Found::Empty { adopt: false }]).unwrap();
        assert_eq!(roles, [Role::Current, Role::Behind]);
    }

    #[test]
    fn a_new_journal_is_not_made_beside_something_unusable() {
        let found = vec![Found::Empty { adopt: false }, Found::Unusable("x".to_owned())];
        assert!(matches!(judge_all(found), Err(Error::Unusable { .. })));
    }

    #[test]
    fn the_list_of_changes_is_bounded() {
        let mut identity = Identity::new(1 << 20);
        for _ in 0..1000 {
            identity.change();
        }
        assert_eq!((identity.change_ids.len(), identity.changes), (CHANGES_MAX, 1000));
    }
}
