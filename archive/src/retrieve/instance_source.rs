//! An instance as a data set whose header can be read on another thread: in memory when it is short, else read in windows.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use dicom_data::TransferSyntax;
use futures_util::StreamExt;
use index::{InstanceRef, Location};
use tiering::Checked;

use super::open::open;
use super::reader::{Reader, WHOLE_BYTES_MAX};
use crate::Error;
use crate::windowed::{PayloadSource, WINDOW_BYTES, Windowed};

/// Returns the transfer syntax of an instance's stored bytes.
pub(super) fn syntax_of(instance: &InstanceRef) -> Result<&'static TransferSyntax, Error> {
    dicom_data::transfer_syntax(instance.transfer_syntax_uid.as_str()).ok_or(Error::TransferSyntaxNotSupported)
}

/// An instance that can be read on another thread.
pub(super) enum Readable {
    Whole(Bytes),
    Later(Arc<Reader>, InstanceRef),
}

/// Reads a short instance whole; a long one is read in windows.
pub(super) async fn instance_source(reader: &Arc<Reader>, instance: &InstanceRef) -> Result<Readable, Error> {
    if instance.bytes > WHOLE_BYTES_MAX {
        return Ok(Readable::Later(Arc::clone(reader), instance.clone()));
    }
    let mut body = open(reader, instance).await?.chunks;
    let bytes = body.next().await.transpose()?.unwrap_or_default();
    Ok(Readable::Whole(bytes))
}

impl Readable {
    /// Opens it. Reading a long one blocks.
    pub(super) fn open(self) -> PayloadSource {
        match self {
            Self::Whole(bytes) => PayloadSource::Whole(bytes),
            Self::Later(reader, instance) => match instance.location {
                Location::Journal(record) => PayloadSource::Record(reader.unsealed().source(&record)),
                Location::Container(sealed) => PayloadSource::Record(Windowed::new(
                    instance.bytes,
                    WINDOW_BYTES,
                    Box::new(move |offset, len| {
                        let start = sealed.offset + offset;
                        let end = start.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
                        let read = reader.store().read_blocking(sealed.container, start..end, Checked::Blocks);
                        read.map_err(io::Error::other)
                    }),
                )),
            },
        }
    }
}
