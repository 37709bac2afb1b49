//! A sealed container as its writer describes it to the index. Plain data.

use std::sync::Arc;

use bytes::Bytes;
use dicom_data::Uid;
use tiering::{ContainerId, DeviceId, Extent, Manifest};

/// A sealed container with everything that the index keeps of it.
#[derive(Debug, Clone)]
pub struct NewContainer {
    /// Its identity.
    pub id: ContainerId,
    /// Generation of its shards.
    pub generation: u32,
    /// Pool that it lies in.
    pub pool: String,
    /// Tier of the pool.
    pub tier: String,
    /// Year and month of study date of its studies.
    pub month: Option<(i16, u8)>,
    /// Data shards, k.
    pub data_shards: u8,
    /// Parity shards, m.
    pub parity_shards: u8,
    /// Logical bytes.
    pub bytes: u64,
    /// Bytes of all its shard files.
    pub stored_bytes: u64,
    /// When it was sealed, in milliseconds since 1970.
    pub sealed_millis: i64,
    /// Where its shards are.
    pub shards: Vec<NewShard>,
    /// What it holds.
    pub segments: Vec<NewSegment>,
}

/// A shard of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewShard {
    /// Its number, from 0.
    pub number: u8,
    /// The device that keeps it.
    pub device: DeviceId,
}

/// A part of a series in a container.
#[derive(Debug, Clone)]
pub struct NewSegment {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// The ready-made metadata.
    pub metadata: Extent,
    /// The instances.
    pub manifest: Arc<Manifest>,
    /// As `Index::series_summary` gave it.
    pub summary: Bytes,
}
