//! The bytes of one data set or bulk value, as a retrieve hands them out.

use bytes::Bytes;
use futures_util::StreamExt;

use crate::Error;

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
