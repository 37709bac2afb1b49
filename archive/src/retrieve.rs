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

pub(crate) use block::BlockPacker;
pub(crate) use body::{open, open_all};
pub(crate) use frames::{bulk_data, frame_count, frames};
pub(crate) use layouts::Layouts;
pub(crate) use metadata::metadata;

use crate::Error;
use dicom_data::Uid;

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

/// Keeps what a stream needs.
type Shared = Arc<crate::archive::Inner>;
