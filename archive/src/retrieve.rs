//! Reading instances back: what adapters ask for and what they get.

mod block;
mod body;
mod frames;
mod layouts;
mod locate;
mod metadata;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tiering::{ContainerId, Extent};

pub(crate) use block::BlockPacker;
pub(crate) use body::{open, open_all};
pub(crate) use frames::{bulk_data, frame_count, frames};
pub(crate) use layouts::Layouts;
pub(crate) use metadata::metadata;

use crate::{Error, Uid};

/// Names what to retrieve. Empty lists do not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Patient ID (0010,0020), for PATIENT level retrieves.
    pub patient_id: Option<String>,
    /// Study Instance UIDs.
    pub studies: Vec<Uid>,
    /// Series Instance UIDs.
    pub series: Vec<Uid>,
    /// SOP Instance UIDs.
    pub instances: Vec<Uid>,
}

/// One instance that was found, and where its bytes lie.
#[derive(Debug, Clone)]
pub struct InstanceRef {
    /// Study Instance UID.
    pub study_instance_uid: Uid,
    /// Series Instance UID.
    pub series_instance_uid: Uid,
    /// SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// SOP Class UID.
    pub sop_class_uid: Uid,
    /// Transfer syntax of the stored bytes.
    pub transfer_syntax_uid: Uid,
    /// Length of the data set in bytes.
    pub bytes: u64,
    /// Where the bytes are.
    pub location: Location,
}

/// Where an instance's bytes lie. A location may be out of date by the time it is used: a read that
/// finds something else there asks the index again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Not yet sealed.
    Journal(crate::journal::RecordRef),
    /// Sealed.
    Container(Sealed),
}

/// Where a sealed instance lies, and what its series' manifest says of its pixel data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The container.
    pub container: ContainerId,
    /// First byte in the container's logical bytes.
    pub offset: u64,
    /// CRC-32C of the data set.
    pub crc32c: u32,
    /// Row of the series segment that describes it.
    pub segment: i64,
    /// Its place among the segment's instances, counted from 0.
    pub position: usize,
    /// First byte of the Pixel Data value within the data set, 0 when there is none.
    pub pixel_data: u64,
    /// Where the fragments of encapsulated frames are listed.
    pub frame_table: Option<Extent>,
    /// Attributes that lay out the frames, as compact DICOM JSON.
    pub detail: Bytes,
}

/// The frames that were asked for, in the order asked.
#[derive(Debug)]
pub struct Frames {
    /// Transfer syntax of the frames: the stored one if they are encapsulated, else Explicit VR Little Endian.
    pub transfer_syntax_uid: Uid,
    /// One per requested frame number. The first is begun: an error in it comes before anything is answered.
    pub frames: Vec<Frame>,
}

/// One frame: native pixels, or all fragments of one encapsulated frame together.
#[derive(Debug)]
pub struct Frame {
    /// 1-based frame number.
    pub number: u32,
    /// Its bytes, unpadded for native pixel data.
    pub body: InstanceBody,
}

/// The bytes of one data set or bulk value, in pieces of at most a few MiB.
pub struct InstanceBody {
    /// Total length in bytes.
    pub bytes: u64,
    /// The pieces in order; ends at the first error.
    pub chunks: std::pin::Pin<Box<dyn futures_core::Stream<Item = Result<Bytes, Error>> + Send>>,
}

impl std::fmt::Debug for InstanceBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceBody").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl InstanceBody {
    /// Returns a body that is already in memory.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self {
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            chunks: Box::pin(futures_util::stream::once(std::future::ready(Ok(bytes)))),
        }
    }

    /// Reads the first piece now, so that an error in it comes now.
    pub(crate) async fn begun(mut self) -> Result<Self, Error> {
        let Some(first) = self.chunks.next().await.transpose()? else { return Ok(self) };
        if u64::try_from(first.len()).is_ok_and(|read| read == self.bytes) {
            return Ok(Self::whole(first));
        }
        let first = futures_util::stream::once(std::future::ready(Ok(first)));
        Ok(Self { bytes: self.bytes, chunks: Box::pin(first.chain(self.chunks)) })
    }
}

impl InstanceRef {
    /// Returns the CRC-32C of the data set.
    pub fn crc32c(&self) -> u32 {
        match &self.location {
            Location::Journal(record) => record.crc32c,
            Location::Container(sealed) => sealed.crc32c,
        }
    }
}

/// Keeps what a stream needs.
type Shared = Arc<crate::archive::Inner>;
