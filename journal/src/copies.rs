//! The set of copies: which ones are used, how many must be, and the note on each of which changes
//! of the set it has seen.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::error::Error;
use crate::identity::Identity;
use crate::journal_copy::JournalCopy;
use crate::random::Ids;

/// The state of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStatus {
    /// Its directory, or its name in memory.
    pub path: PathBuf,
    /// Whether the journal writes it.
    pub healthy: bool,
}

/// The copies of one journal, in the configured order.
#[derive(Debug)]
pub(crate) struct Copies {
    list: Vec<JournalCopy>,
    required: usize,
    journal: Uuid,
    identity: Mutex<Identity>,
    ids: Ids,
}

impl Copies {
    pub(crate) fn new(list: Vec<JournalCopy>, required: usize, identity: Identity, ids: Ids) -> Self {
        Self { list, required, journal: identity.journal, identity: Mutex::new(identity), ids }
    }

    /// Returns the id of the journal.
    pub(crate) fn journal(&self) -> Uuid {
        self.journal
    }

    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Returns all copies.
    pub(crate) fn all(&self) -> &[JournalCopy] {
        &self.list
    }

    /// Returns the copies that are used.
    pub(crate) fn healthy(&self) -> impl Iterator<Item = &JournalCopy> {
        self.list.iter().filter(|copy| copy.is_healthy())
    }

    /// Returns a copy by its number.
    pub(crate) fn get(&self, number: usize) -> Option<&JournalCopy> {
        self.list.get(number)
    }

    /// Tells whether a copy is used.
    pub(crate) fn is_healthy(&self, number: usize) -> bool {
        self.get(number).is_some_and(JournalCopy::is_healthy)
    }

    /// Returns the number of healthy copies, or the error if they are too few.
    pub(crate) fn require(&self) -> Result<usize, Error> {
        let healthy = self.healthy().count();
        if healthy < self.required { Err(self.poisoned()) } else { Ok(healthy) }
    }

    /// Returns the error that says how many copies work.
    pub(crate) fn poisoned(&self) -> Error {
        Error::Poisoned { healthy: self.healthy().count(), required: self.required }
    }

    /// Returns how many copies must be healthy.
    pub(crate) fn required(&self) -> usize {
        self.required
    }

    /// Writes the note as it is on every copy.
    pub(crate) fn write_note(&self) {
        let identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&identity);
    }

    /// Notes on the remaining copies that the set of copies has changed, and returns their number.
    /// Nothing may be acknowledged before.
    pub(crate) fn note_change(&self) -> Result<usize, Error> {
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let before = self.require()?;
            identity.change(self.ids.next());
            self.write(&identity);
            if self.require()? == before {
                return Ok(before);
            }
        }
    }

    fn write(&self, identity: &Identity) {
        let note = identity.to_json();
        for copy in &self.list {
            copy.attempt("write journal.json", || copy.write_note(&note));
        }
    }

    pub(crate) fn status(&self) -> Vec<CopyStatus> {
        let status = |copy: &JournalCopy| CopyStatus { path: copy.path().to_owned(), healthy: copy.is_healthy() };
        self.list.iter().map(status).collect()
    }

    /// Lets other journals have the places.
    pub(crate) fn unlock(&self) {
        self.list.iter().for_each(JournalCopy::unlock);
    }
}
