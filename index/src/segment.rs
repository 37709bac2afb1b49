//! A segment: the packed manifest of a part of a series that one container holds, decoded.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use dicom_data::Uid;
use tiering::{ContainerId, Extent, Manifest, ManifestInstance};

use crate::error::Error;
use crate::numbers::unsigned;
use crate::places::{ContainerPlace, InstanceRef, Located, Location};

/// What a decoded manifest entry takes, UID and bookkeeping included.
const INSTANCE_BYTES: usize = 224;

/// One part of a series in one container.
#[derive(Debug)]
pub struct Segment {
    /// Its row.
    pub id: i64,
    /// The container.
    pub container: ContainerId,
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// The instances that are served, in container order.
    pub manifest: Arc<Manifest>,
    /// Where the ready-made metadata of all its instances lies.
    pub metadata: Extent,
    /// Position of each served instance in the manifest as sealed; `None` when all are served.
    positions: Option<Vec<u32>>,
    /// Indexes into `manifest` by the hash of the SOP Instance UID: look-ups compare numbers that lie side by side rather
    /// than ten texts all over the memory.
    by_sop: Vec<(u32, u32)>,
    hashing: RandomState,
}

impl Segment {
    /// Makes a segment of all instances of a manifest but the `dead` positions.
    pub(crate) fn new(
        id: i64,
        container: ContainerId,
        (study, series): (Uid, Uid),
        metadata: Extent,
        mut manifest: Manifest,
        dead: &[usize],
    ) -> Self {
        let positions = if dead.is_empty() {
            None
        } else {
            let mut positions = Vec::with_capacity(manifest.instances.len());
            let mut position = 0_u32;
            manifest.instances.retain(|_| {
                let served = !usize::try_from(position).is_ok_and(|p| dead.contains(&p));
                if served {
                    positions.push(position);
                }
                position += 1;
                served
            });
            Some(positions)
        };
        let hashing = RandomState::new();
        let hashed = |i: &ManifestInstance| short_hash(&hashing, &i.sop_instance_uid);
        let mut by_sop: Vec<(u32, u32)> = manifest.instances.iter().map(hashed).zip(0..).collect();
        by_sop.sort_unstable();
        Self { id, container, study, series, manifest: Arc::new(manifest), metadata, positions, by_sop, hashing }
    }

    /// Returns a served instance.
    pub fn find(&self, sop_instance_uid: &Uid) -> Option<&ManifestInstance> {
        self.find_numbered(sop_instance_uid).map(|(_, instance)| instance)
    }

    /// Returns a served instance and its place.
    pub fn locate(&self, sop_instance_uid: &Uid) -> Result<Option<Located>, Error> {
        let found = self.find_numbered(sop_instance_uid);
        found.map(|(index, instance)| self.located(index, instance)).transpose()
    }

    /// Returns the place of the served instance with this index.
    pub(crate) fn located(&self, index: usize, instance: &ManifestInstance) -> Result<Located, Error> {
        let uid = |text: &str| text.parse::<Uid>().map_err(|_| Error::Damaged { what: "instance" });
        Ok(Located {
            instance: InstanceRef {
                study_instance_uid: self.study.clone(),
                series_instance_uid: self.series.clone(),
                sop_instance_uid: uid(&instance.sop_instance_uid)?,
                sop_class_uid: uid(&instance.kind.sop_class_uid)?,
                transfer_syntax_uid: uid(&instance.kind.transfer_syntax_uid)?,
                bytes: instance.bytes,
                location: Location::Container(ContainerPlace {
                    container: self.container,
                    offset: instance.offset,
                    crc32c: instance.crc32c,
                    segment: self.id,
                    position: self.position(index),
                    pixel_data: instance.pixel_data,
                    frame_table: instance.frame_table,
                    detail: instance.kind.detail.clone(),
                }),
            },
            journal: None,
            instance_number: instance.number,
            received_millis: instance.received_millis,
        })
    }

    /// Returns a served instance and its index among the served ones.
    pub(crate) fn find_numbered(&self, sop_instance_uid: &Uid) -> Option<(usize, &ManifestInstance)> {
        self.find_text(sop_instance_uid.as_str())
    }

    /// Tells whether an instance is served from here.
    pub(crate) fn has(&self, sop_instance_uid: &str) -> bool {
        self.find_text(sop_instance_uid).is_some()
    }

    fn find_text(&self, sop_instance_uid: &str) -> Option<(usize, &ManifestInstance)> {
        let wanted = short_hash(&self.hashing, sop_instance_uid);
        let first = self.by_sop.partition_point(|(hash, _)| *hash < wanted);
        let same = self.by_sop.get(first..)?.iter().take_while(|(hash, _)| *hash == wanted);
        same.filter_map(|(_, no)| self.at(*no)).find(|(_, i)| i.sop_instance_uid == sop_instance_uid)
    }

    /// Returns the position of a served instance among all instances of the segment as sealed.
    pub fn position_of(&self, sop_instance_uid: &Uid) -> Option<usize> {
        Some(self.position(self.find_numbered(sop_instance_uid)?.0))
    }

    /// Returns the position that the served instance `index` has among all instances of the segment as sealed, which is
    /// its position in the metadata block.
    pub fn position(&self, index: usize) -> usize {
        match &self.positions {
            None => index,
            Some(positions) => positions.get(index).and_then(|p| usize::try_from(*p).ok()).unwrap_or(usize::MAX),
        }
    }

    /// Tells whether the metadata block has instances that are no longer served.
    pub fn is_partial(&self) -> bool {
        self.positions.is_some()
    }

    fn at(&self, no: u32) -> Option<(usize, &ManifestInstance)> {
        let index = usize::try_from(no).ok()?;
        Some((index, self.manifest.instances.get(index)?))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.manifest.instances.len() * INSTANCE_BYTES + 1_024
    }
}

fn short_hash(hashing: &RandomState, sop_instance_uid: &str) -> u32 {
    let [a, b, c, d, ..] = hashing.hash_one(sop_instance_uid).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

const DAMAGED: Error = Error::Damaged { what: "segment" };

/// A row of `series_segment` with the UIDs of what it belongs to.
#[derive(sqlx::FromRow)]
pub(crate) struct SegmentRow {
    pub(crate) id: i64,
    pub(crate) container: String,
    pub(crate) study_instance_uid: String,
    pub(crate) series_instance_uid: String,
    pub(crate) metadata_offset: i64,
    pub(crate) metadata_bytes: i64,
    pub(crate) metadata_crc32c: i64,
    pub(crate) dead: Vec<i32>,
    pub(crate) manifest: Vec<u8>,
}

impl SegmentRow {
    /// Decodes the manifest and leaves out what is no longer served.
    pub(crate) fn decode(self) -> Result<Segment, Error> {
        let manifest = Manifest::decode(&self.manifest).map_err(|_| DAMAGED)?;
        let dead: Vec<usize> = self.dead.iter().filter_map(|position| usize::try_from(*position).ok()).collect();
        let metadata = Extent {
            offset: unsigned(self.metadata_offset, "segment")?,
            bytes: unsigned(self.metadata_bytes, "segment")?,
            crc32c: u32::try_from(self.metadata_crc32c).map_err(|_| DAMAGED)?,
        };
        let container = ContainerId(self.container.parse().map_err(|_| DAMAGED)?);
        let study = self.study_instance_uid.parse().map_err(|_| DAMAGED)?;
        let series = self.series_instance_uid.parse().map_err(|_| DAMAGED)?;
        Ok(Segment::new(self.id, container, (study, series), metadata, manifest, &dead))
    }
}
