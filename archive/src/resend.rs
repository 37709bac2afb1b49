//! A resent instance beside the one that is stored under its UIDs.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use index::InstanceRef;
use journal::Payload;

use crate::Error;
use crate::decisions::resend::{Facts, Step, decide};
use crate::retrieve::{Reader, open};

/// What was sent again.
pub(crate) struct Sent<'a> {
    /// Length of the data set.
    pub(crate) bytes: u64,
    /// Its checksum.
    pub(crate) crc32c: u32,
    /// The data set itself.
    pub(crate) payload: &'a Payload,
}

/// Tells whether a resent data set has the same bytes as the stored one.
pub(crate) async fn is_same(reader: &Arc<Reader>, known: &InstanceRef, sent: &Sent<'_>) -> Result<bool, Error> {
    let mut facts = Facts { stored: (known.bytes, known.crc32c()), sent: (sent.bytes, sent.crc32c), bytes_agree: None };
    loop {
        match decide(&facts) {
            Step::CompareBytes => facts.bytes_agree = Some(same_bytes(reader, known, sent.payload).await?),
            Step::AnswerSuccess => return Ok(true),
            Step::RefuseOther => return Ok(false),
        }
    }
}

/// Compares a stored instance with a payload that was just received, byte by byte.
async fn same_bytes(reader: &Arc<Reader>, known: &InstanceRef, payload: &Payload) -> Result<bool, Error> {
    let mut body = open(reader, known).await?.chunks;
    let mut at = 0;
    while let Some(piece) = body.next().await {
        let piece = piece?;
        let end = at + u64::try_from(piece.len()).unwrap_or(u64::MAX);
        let other = read_payload(payload, at..end)
            .map_err(|source| Error::Io { doing: "compare a resent instance", source })?;
        if other != piece {
            return Ok(false);
        }
        at = end;
    }
    Ok(true)
}

/// Returns a part of a payload that is not in the journal yet.
fn read_payload(payload: &Payload, range: Range<u64>) -> io::Result<Bytes> {
    match payload {
        Payload::Inline(pieces) => {
            let start = usize::try_from(range.start).map_err(io::Error::other)?;
            let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
            Ok(pieces.iter().flatten().skip(start).take(len).copied().collect())
        }
        Payload::Large(large) => {
            let mut part = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
            large.open()?.read_exact_at(&mut part, range.start)?;
            Ok(part.into())
        }
    }
}
