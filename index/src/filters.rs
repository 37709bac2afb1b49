//! Which containers may have an instance: one binary fuse filter each, in memory (about 9 bits an instance).
//!
//! ```text
//! 0  8 seed
//! 8  4 segment length, a power of two
//! 12 4 segment length - 1
//! 16 4 segment count * segment length
//! 20   fingerprints, a byte each                                         all little endian
//! ```

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use sqlx::PgPool;
use tiering::ContainerId;
use uuid::Uuid;
use xorf::{BinaryFuse8, BinaryFuse8Ref, Filter as _, FilterRef as _};

use crate::error::Error;

const HEADER_BYTES: usize = 20;
/// Containers are looked for so far behind the newest known one: transactions that began earlier may end later.
const OVERLAP: i64 = 256;
/// Filters that are read at once.
const PAGE: i64 = 256;

/// The filters of all containers, by order of arrival.
#[derive(Debug, Default)]
pub(super) struct Filters {
    by_arrival: RwLock<BTreeMap<i64, (Uuid, Stored)>>,
}

impl Filters {
    /// Reads the filters that are not here yet; other servers seal, too.
    pub(super) async fn refresh(&self, pool: &PgPool) -> Result<(), Error> {
        loop {
            let (from, known) = self.recent();
            let rows: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
                "select arrival, id::text, filter from container
                 where arrival > $1 and not arrival = any($2) order by arrival limit $3",
            )
            .bind(from)
            .bind(known)
            .bind(PAGE)
            .fetch_all(pool)
            .await?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut filters = self.by_arrival.write().unwrap_or_else(PoisonError::into_inner);
            for (arrival, id, filter) in rows {
                let id = id.parse().map_err(|_| DAMAGED)?;
                filters.insert(arrival, (id, Stored::new(filter).ok_or(DAMAGED)?));
            }
        }
    }

    /// Returns the containers that may have the instance, newest first; one in 256 others is among them.
    pub(super) fn candidates(&self, sop_instance_uid: &str) -> Vec<ContainerId> {
        let hash = hash(sop_instance_uid);
        let filters = self.by_arrival.read().unwrap_or_else(PoisonError::into_inner);
        let hits = filters.values().rev().filter(|(_, filter)| filter.contains(hash));
        hits.map(|(id, _)| ContainerId(*id)).collect()
    }

    pub(super) fn clear(&self) {
        self.by_arrival.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Forgets one container.
    pub(super) fn remove(&self, container: ContainerId) {
        self.by_arrival.write().unwrap_or_else(PoisonError::into_inner).retain(|_, (id, _)| *id != container.0);
    }

    fn recent(&self) -> (i64, Vec<i64>) {
        let filters = self.by_arrival.read().unwrap_or_else(PoisonError::into_inner);
        let from = filters.last_key_value().map_or(0, |(newest, _)| newest - OVERLAP).max(0);
        (from, filters.range(from..).map(|(arrival, _)| *arrival).collect())
    }
}

const DAMAGED: Error = Error::Damaged { what: "filter" };

/// Builds the filter of a container.
pub(super) fn build<'a>(sop_instance_uids: impl Iterator<Item = &'a str>) -> Result<Vec<u8>, Error> {
    let mut hashes: Vec<u64> = sop_instance_uids.map(hash).collect();
    hashes.sort_unstable();
    hashes.dedup(); // equal keys cannot be placed
    let filter = BinaryFuse8::try_from(&hashes).map_err(|_| Error::Damaged { what: "new filter" })?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + filter.fingerprints.len());
    bytes.extend(filter.descriptor.seed.to_le_bytes());
    bytes.extend(filter.descriptor.segment_length.to_le_bytes());
    bytes.extend(filter.descriptor.segment_length_mask.to_le_bytes());
    bytes.extend(filter.descriptor.segment_count_length.to_le_bytes());
    bytes.extend(&filter.fingerprints);
    Ok(bytes)
}

/// A filter in its stored form, checked: every look-up in it stays within its fingerprints.
#[derive(Debug)]
struct Stored {
    bytes: Box<[u8]>,
}

impl Stored {
    fn new(bytes: Vec<u8>) -> Option<Self> {
        let (header, fingerprints) = bytes.split_at_checked(HEADER_BYTES)?;
        let number = |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk::<4>()?));
        let (segment_length, mask, count_length) = (number(8)?, number(12)?, number(16)?);
        // Positions are below the count length, and one and two segments further.
        let reach = u64::from(count_length) + 2 * u64::from(segment_length);
        let fits = segment_length.is_power_of_two()
            && mask == segment_length - 1
            && count_length.is_multiple_of(segment_length)
            && reach <= u64::try_from(fingerprints.len()).ok()?.min(u64::from(u32::MAX));
        fits.then(|| Self { bytes: bytes.into() })
    }

    fn contains(&self, hash: u64) -> bool {
        let (header, fingerprints) = self.bytes.split_at(HEADER_BYTES);
        BinaryFuse8Ref::from_dma(header, fingerprints).contains(&hash)
    }
}

/// FNV-1a with the finish of SplitMix64; part of the stored format.
fn hash(text: &str) -> u64 {
    let folded = text
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    let mixed = (folded ^ (folded >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_comes_back_and_knows_its_own() {
        for count in [1, 2, 100, 20_000] {
            let uids: Vec<String> = (0..count).map(|n| format!("1.2.826.0.1.{n}")).collect();
            let bytes = build(uids.iter().map(String::as_str)).unwrap();
            let filter = Stored::new(bytes).unwrap();
            assert!(uids.iter().all(|uid| filter.contains(hash(uid))), "{count}");
            let strangers = (0..10_000).filter(|n| filter.contains(hash(&format!("9.{n}")))).count();
            assert!(strangers < 100, "{strangers} of 10,000 strangers pass a filter of {count}");
        }
    }

    #[test]
    fn a_damaged_filter_is_refused() {
        let bytes = build(["1.2", "1.3", "1.4"].into_iter()).unwrap();
        assert!(Stored::new(bytes[..bytes.len() - 1].to_vec()).is_none());
        assert!(Stored::new(bytes[..10].to_vec()).is_none());
        let mut longer = bytes;
        longer[16] ^= 0xFF;
        assert!(Stored::new(longer).is_none());
    }
}
