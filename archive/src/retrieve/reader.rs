//! The bytes of an instance, wherever it lies: whole when it is short, else a range.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use index::{ContainerPlace, InstanceRef, Location};
use journal::RecordRef;
use tiering::{Checked, Store, Wait};

use super::locate::{Locator, Place};
use crate::Error;
use crate::budgets::{Permit, ReadBudget};
use crate::tasks::blocking;
use crate::unsealed::Unsealed;

/// An instance up to this length is read at once and verified by its own CRC.
pub(super) const WHOLE_BYTES_MAX: u64 = 512 * 1024;
/// Length of the pieces of a longer one.
pub(super) const CHUNK_BYTES: u64 = 1024 * 1024;
/// The same when the read budget is exhausted.
const SHORT_CHUNK_BYTES: u64 = 64 * 1024;

/// Reads the bytes of instances.
#[derive(Debug)]
pub(crate) struct Reader {
    unsealed: Arc<Unsealed>,
    store: Store,
    locator: Arc<Locator>,
    /// What clients have not read yet.
    budget: ReadBudget,
}

impl Reader {
    pub(crate) fn new(unsealed: Arc<Unsealed>, store: Store, locator: Arc<Locator>, budget: ReadBudget) -> Self {
        Self { unsealed, store, locator, budget }
    }

    /// Returns the part that says where an instance went.
    pub(super) fn locator(&self) -> &Locator {
        &self.locator
    }

    /// Returns the store of sealed instances.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the unsealed instances.
    pub(super) fn unsealed(&self) -> &Arc<Unsealed> {
        &self.unsealed
    }

    /// Returns a permit to hold this many bytes for a client if the read budget has them now.
    pub(super) fn permit(&self, bytes: u64) -> Option<Permit> {
        self.budget.permit(bytes)
    }

    /// Reads the first piece of a range of an instance.
    pub(super) async fn first_piece(&self, instance: &InstanceRef, range: Range<u64>) -> Result<Bytes, Error> {
        let permit = self.permit(CHUNK_BYTES.min(range.end - range.start));
        self.piece(instance, range, permit).await
    }

    /// Reads the first piece of a range: a short one without a permit.
    pub(super) async fn piece(
        &self,
        instance: &InstanceRef,
        range: Range<u64>,
        permit: Option<Permit>,
    ) -> Result<Bytes, Error> {
        let bytes_max = if permit.is_some() { CHUNK_BYTES } else { SHORT_CHUNK_BYTES };
        let part = range.start..range.end.min(range.start.saturating_add(bytes_max));
        Ok(kept(self.read_range(instance, part).await?, permit))
    }

    /// Reads a short instance whole, verified by its own CRC.
    pub(super) async fn read_whole(&self, instance: &InstanceRef) -> Result<Bytes, Error> {
        if let Some(bytes) = self.read_whole_now(instance) {
            return Ok(bytes);
        }
        // Boxed: it seldom runs, and its future would be copied with that of every answer.
        Box::pin(self.read_whole_waiting(instance)).await
    }

    async fn read_whole_waiting(&self, instance: &InstanceRef) -> Result<Bytes, Error> {
        let mut place = Place::new(instance.clone());
        loop {
            let read = match &place.instance.location {
                Location::Journal(record) => self.read_record(record, 0..record.payload_bytes).await,
                Location::Container(sealed) => {
                    let range = sealed.offset..sealed.offset + place.instance.bytes;
                    let checked = Checked::Crc(sealed.crc32c);
                    let read = self.store.read(sealed.container, range, checked, Wait::IfNeeded).await;
                    read.map_err(Error::from)
                }
            };
            match read {
                Ok(bytes) => return Ok(bytes),
                Err(error) => place.find_again(&self.locator, error).await?,
            }
        }
    }

    /// Reads a short instance, verified, if it is where it is said to be and the page cache has it; never waits for a
    /// disk.
    pub(super) fn read_whole_now(&self, instance: &InstanceRef) -> Option<Bytes> {
        if instance.bytes > WHOLE_BYTES_MAX {
            return None;
        }
        match &instance.location {
            Location::Journal(record) => self.unsealed.read_now(record, 0..record.payload_bytes),
            Location::Container(sealed) => {
                let range = sealed.offset..sealed.offset.checked_add(instance.bytes)?;
                self.store.read_now(sealed.container, range, Checked::Crc(sealed.crc32c))
            }
        }
    }

    /// Reads a part of an instance, verified by the container's block checksums.
    pub(super) async fn read_range(&self, instance: &InstanceRef, range: Range<u64>) -> Result<Bytes, Error> {
        // Most of a short instance: its own checksum covers fewer bytes than those of the blocks that the part lies in.
        if instance.bytes <= WHOLE_BYTES_MAX && range.end.saturating_sub(range.start) >= instance.bytes / 2 {
            let whole = self.read_whole(instance).await?;
            return part_of(&whole, &range).ok_or(Error::NotFound { what: "part of an instance" });
        }
        Box::pin(self.read_range_waiting(instance, range)).await
    }

    async fn read_range_waiting(&self, instance: &InstanceRef, range: Range<u64>) -> Result<Bytes, Error> {
        let mut place = Place::new(instance.clone());
        loop {
            let read = match &place.instance.location {
                Location::Journal(record) => self.read_record(record, range.clone()).await,
                Location::Container(sealed) => self.read_sealed(sealed, range.clone()).await,
            };
            match read {
                Ok(bytes) => return Ok(bytes),
                Err(error) => place.find_again(&self.locator, error).await?,
            }
        }
    }

    async fn read_sealed(&self, sealed: &ContainerPlace, range: Range<u64>) -> Result<Bytes, Error> {
        let range = sealed.offset + range.start..sealed.offset + range.end;
        Ok(self.store.read(sealed.container, range, Checked::Blocks, Wait::IfNeeded).await?)
    }

    async fn read_record(&self, record: &RecordRef, range: Range<u64>) -> Result<Bytes, Error> {
        if let Some(bytes) = self.unsealed.read_now(record, range.clone()) {
            return Ok(bytes);
        }
        let (unsealed, record) = (Arc::clone(&self.unsealed), record.clone());
        Ok(blocking(move || unsealed.read(&record, range)).await??)
    }
}

/// Binds the permit, if there is one, to the bytes.
pub(super) fn kept(bytes: Bytes, permit: Option<Permit>) -> Bytes {
    match permit {
        Some(permit) => permit.keep(bytes),
        None => bytes,
    }
}

fn part_of(whole: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
    (start <= end && end <= whole.len()).then(|| whole.slice(start..end))
}
