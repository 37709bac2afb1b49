//! `journal.json`: which journal a directory is a copy of, and whether it has missed something.
//!
//! Each time the set of copies in use changes (at a start, and when a copy is given up) the copies
//! that go on get a new *epoch id* at the end of their list, before anything is acknowledged
//! without the others. So of two copies one is current if it knows the last id of the other; the
//! other has missed something, but holds nothing acknowledged that the first lacks. If neither
//! knows the other's last id, each was used without the other: only the operator can say which one
//! counts, and the journal does not open. Pure: `medium.rs` reads and writes the file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;

/// Version of the files in a copy.
pub(crate) const FORMAT: u32 = 1;
/// Most changes that are remembered: a copy that missed more must be filled anew.
const CHANGES_MAX: usize = 256;
/// A file of this name in an empty directory says that it may become a copy of an existing journal.
pub(crate) const ADOPT_FILE: &str = "adopt-as-journal-copy";

/// Contents of `journal.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// Version of the format.
    pub(crate) format: u32,
    /// Id of the journal.
    pub(crate) journal: Uuid,
    /// Bytes of a segment; an LSN has no meaning without it.
    pub(crate) segment_bytes: u64,
    /// How often the set of copies changed.
    pub(crate) changes: u64,
    /// The last changes, oldest first.
    pub(crate) change_ids: Vec<Uuid>,
}

impl Identity {
    /// Returns the identity of a new journal.
    pub(crate) fn new(journal: Uuid, segment_bytes: u64) -> Self {
        Self { format: FORMAT, journal, segment_bytes, changes: 0, change_ids: Vec::new() }
    }

    /// Adds a change of the set of copies.
    pub(crate) fn change(&mut self, id: Uuid) {
        self.changes += 1;
        self.change_ids.push(id);
        let excess = self.change_ids.len().saturating_sub(CHANGES_MAX);
        self.change_ids.drain(..excess);
    }

    /// Returns the contents of `journal.json`.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("numbers and UUIDs always serialize")
    }

    /// Tells whether this copy has seen everything that `other` has seen.
    fn knows(&self, other: &Self) -> bool {
        other.change_ids.last().is_none_or(|last| self.change_ids.contains(last))
    }
}

/// What a look at a place showed, before anything was changed there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contents {
    /// The bytes of its `journal.json`.
    Note(Vec<u8>),
    /// Nothing; `adopt` if the operator wants it filled.
    Empty { adopt: bool },
    /// Something that cannot be used, with the reason.
    Unusable(String),
}

/// What lies at a configured place.
#[derive(Debug)]
pub(crate) enum Found {
    /// A copy.
    Copy(Identity),
    /// Nothing; `adopt` if the operator wants it filled.
    Empty { adopt: bool },
    /// Something that cannot be used, with the reason.
    Unusable(String),
}

impl Found {
    /// Tells what the contents of a place mean. An error if a later release wrote them.
    pub(crate) fn of(path: &Path, contents: Contents) -> Result<Self, Error> {
        let note = match contents {
            Contents::Note(note) => note,
            Contents::Empty { adopt } => return Ok(Self::Empty { adopt }),
            Contents::Unusable(reason) => return Ok(Self::Unusable(reason)),
        };
        match serde_json::from_slice::<Identity>(&note) {
            Ok(identity) if identity.format == FORMAT => Ok(Self::Copy(identity)),
            Ok(identity) => {
                let reason = format!("format {} is not known, use the release that wrote it", identity.format);
                Err(Error::Unusable { path: path.to_owned(), reason })
            }
            Err(error) => Ok(Self::Unusable(format!("journal.json cannot be read: {error}"))),
        }
    }
}

/// What the directories are together.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The identity to go on with.
    pub(crate) identity: Identity,
    /// For each directory, whether it is used and how.
    pub(crate) roles: Vec<Role>,
}

/// What a copy is good for at a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// Has all that was acknowledged.
    Current,
    /// Has missed something; the start makes it equal to the current ones.
    Behind,
    /// Is left alone; the reason is for the operator.
    Absent(String),
}

/// Decides which of the places are copies of which journal; if none is one, that of a new journal
/// is `new`.
pub(crate) fn judge(found: Vec<(PathBuf, Found)>, new: Identity) -> Result<Verdict, Error> {
    let identities: Vec<(&PathBuf, &Identity)> = found
        .iter()
        .filter_map(|(path, found)| match found {
            Found::Copy(identity) => Some((path, identity)),
            Found::Empty { .. } | Found::Unusable(_) => None,
        })
        .collect();
    let Some(&(newest_path, newest)) = identities.iter().max_by_key(|(_, identity)| identity.changes) else {
        return judge_new(&found, new);
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

fn judge_new(found: &[(PathBuf, Found)], new: Identity) -> Result<Verdict, Error> {
    for (path, found) in found {
        if let Found::Unusable(reason) = found {
            return Err(Error::Unusable { path: path.clone(), reason: reason.clone() });
        }
    }
    Ok(Verdict { identity: new, roles: vec![Role::Current; found.len()] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge_all(found: Vec<Found>) -> Result<Vec<Role>, Error> {
        let found = found.into_iter().enumerate().map(|(n, found)| (PathBuf::from(n.to_string()), found)).collect();
        judge(found, new()).map(|verdict| verdict.roles)
    }

    fn new() -> Identity {
        Identity::new(Uuid::new_v4(), 1 << 20)
    }

    fn changed(identity: &Identity) -> Identity {
        let mut identity = identity.clone();
        identity.change(Uuid::new_v4());
        identity
    }

    #[test]
    fn a_copy_that_missed_a_change_is_behind() {
        let first = changed(&new());
        let second = changed(&first);
        let roles = judge_all(vec![Found::Copy(first), Found::Copy(second)]).unwrap();
        assert_eq!(roles, [Role::Behind, Role::Current]);
    }

    #[test]
    fn copies_used_without_each_other_are_refused() {
        let first = changed(&new());
        let found = vec![Found::Copy(changed(&first)), Found::Copy(changed(&changed(&first)))];
        assert!(matches!(judge_all(found), Err(Error::Forked { .. })));
    }

    #[test]
    fn copies_of_two_journals_are_refused() {
        let found = vec![Found::Copy(new()), Found::Copy(new())];
        assert!(matches!(judge_all(found), Err(Error::Foreign { .. })));
    }

    #[test]
    fn an_empty_directory_beside_a_copy_is_not_used_unless_asked() {
        let used = changed(&new());
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
        let roles = judge_all(vec![Found::Copy(new()), Found::Empty { adopt: false }]).unwrap();
        assert_eq!(roles, [Role::Current, Role::Behind]);
    }

    #[test]
    fn a_new_journal_is_not_made_beside_something_unusable() {
        let found = vec![Found::Empty { adopt: false }, Found::Unusable("x".to_owned())];
        assert!(matches!(judge_all(found), Err(Error::Unusable { .. })));
    }

    #[test]
    fn the_list_of_changes_is_bounded() {
        let mut identity = new();
        for _ in 0..1000 {
            identity.change(Uuid::new_v4());
        }
        assert_eq!((identity.change_ids.len(), identity.changes), (CHANGES_MAX, 1000));
    }
}
