//! Before recovery: decides what each configured place is and takes the locks.

use std::io;
use std::path::PathBuf;

use crate::error::Error;
use crate::identity::{self, Found, Identity, Role, Verdict};
use crate::journal_copy::JournalCopy;
use crate::medium;
use crate::options::JournalOptions;
use crate::place::CopyPlace;

/// Decides what each place is, takes the locks, and decides again now that no other server can
/// change them.
pub(crate) fn lock_copies(options: &JournalOptions) -> Result<(Vec<JournalCopy>, Verdict), Error> {
    let new = Identity::new(options.ids.next(), options.segment_bytes);
    let look_at_all = || {
        let found = options.copies.iter().map(|place| -> Result<(PathBuf, Found), Error> {
            Ok((place.path().to_owned(), Found::of(place.path(), medium::look(place))?))
        });
        found.collect::<Result<Vec<_>, Error>>()
    };
    let verdict = identity::judge(look_at_all()?, new.clone())?;
    let mut copies = Vec::new();
    for (place, role) in options.copies.iter().zip(&verdict.roles) {
        copies.push(match role {
            Role::Current | Role::Behind => lock_copy(place)?,
            Role::Absent(_) => JournalCopy::absent(place),
        });
    }
    let Verdict { identity, mut roles } = identity::judge(look_at_all()?, new)?;
    for (copy, role) in copies.iter().zip(&mut roles) {
        if !copy.is_healthy() && !matches!(role, Role::Absent(_)) {
            *role = Role::Absent("it cannot be opened".to_owned());
        }
        if let Role::Absent(reason) = role {
            tracing::error!(path = %copy.path().display(), %reason, "journal copy not used");
        }
    }
    Ok((copies, Verdict { identity, roles }))
}

fn lock_copy(place: &CopyPlace) -> Result<JournalCopy, Error> {
    match JournalCopy::lock(place) {
        Ok(copy) => Ok(copy),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Error::Locked { path: place.path().to_owned() }),
        Err(error) => {
            tracing::error!(path = %place.path().display(), %error, "journal copy cannot be opened");
            Ok(JournalCopy::absent(place))
        }
    }
}
