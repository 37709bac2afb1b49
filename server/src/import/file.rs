//! One file: its file meta information, then its data set in pieces.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use archive::{Archive, Error, Origin, Outcome};
use bytes::{Bytes, BytesMut};
use dicom_data::Uid;
use dicom_data::{FileMeta, FileMetaRead, read_file_meta};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// First bytes to look for the file meta information in; doubled until it is whole.
const PREFIX_BYTES: usize = 8 << 10;
/// Longest file meta information that is read.
const PREFIX_BYTES_MAX: usize = 1 << 20;
/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Media Storage Directory Storage.
const DICOMDIR_CLASS: &str = "1.2.840.10008.1.3.10";
/// Waits while the archive cannot take more: the journal drains as fast as containers are written.
const BUSY_WAIT: Duration = Duration::from_secs(1);
/// After so many waits a file has failed.
const BUSY_WAITS_MAX: u32 = 300;

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Imported {
    /// A new instance.
    Stored { bytes: u64 },
    /// An instance that was there with the same bytes.
    Known { bytes: u64 },
    /// Not a DICOM file.
    NotDicom,
    /// A directory of media.
    Dicomdir,
}

/// Stores one file; waits and tries again while the archive has no room.
pub(super) async fn import_file(archive: &Archive, path: &Path) -> anyhow::Result<Imported> {
    let mut file = File::open(path).await.context("open")?;
    let (meta, offset) = match read_meta(&mut file).await? {
        FileMetaRead::Meta { meta, data_set_offset } => (meta, data_set_offset),
        FileMetaRead::NotPart10 | FileMetaRead::NeedMore => return Ok(Imported::NotDicom),
    };
    if meta.media_storage_sop_class_uid.as_ref().is_some_and(|uid| uid.as_str() == DICOMDIR_CLASS) {
        return Ok(Imported::Dicomdir);
    }
    let origin = origin(meta)?;
    let offset = u64::try_from(offset).context("read file meta information")?;
    let mut waits = 0;
    loop {
        match store(archive, &mut file, offset, origin.clone()).await {
            Err(StoreError::Archive(Error::OutOfResources { .. } | Error::IndexAway(_))) if waits < BUSY_WAITS_MAX => {
                waits += 1;
                tokio::time::sleep(BUSY_WAIT).await;
            }
            Err(StoreError::Archive(error)) => return Err(anyhow!(error)),
            Err(StoreError::Read(error)) => return Err(anyhow!(error).context("read")),
            Ok(imported) => return Ok(imported),
        }
    }
}

/// Why a file was not stored: a busy archive is asked again, a broken file is not read again.
enum StoreError {
    Archive(Error),
    Read(std::io::Error),
}

async fn store(archive: &Archive, file: &mut File, offset: u64, origin: Origin) -> Result<Imported, StoreError> {
    file.seek(std::io::SeekFrom::Start(offset)).await.map_err(StoreError::Read)?;
    let mut receiver = archive.receive(origin).map_err(StoreError::Archive)?;
    let file_bytes = file.metadata().await.map_err(StoreError::Read)?.len();
    let mut bytes = 0_u64;
    loop {
        let rest = file_bytes.saturating_sub(offset).saturating_sub(bytes);
        let chunk = read_chunk(file, usize::try_from(rest).unwrap_or(CHUNK_BYTES)).await.map_err(StoreError::Read)?;
        if chunk.is_empty() {
            break;
        }
        bytes = bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        receiver.write(chunk).await.map_err(StoreError::Archive)?;
    }
    match receiver.finish().await.map_err(StoreError::Archive)?.outcome {
        Outcome::New => Ok(Imported::Stored { bytes }),
        Outcome::Duplicate => Ok(Imported::Known { bytes }),
    }
}

/// Reads until a chunk is full or the file ends. `rest` is what is expected, so that a small file holds little memory.
async fn read_chunk(file: &mut File, rest: usize) -> std::io::Result<Bytes> {
    let mut chunk = BytesMut::with_capacity(rest.clamp(1, CHUNK_BYTES));
    while chunk.len() < CHUNK_BYTES {
        if file.read_buf(&mut chunk).await? == 0 {
            break;
        }
    }
    Ok(chunk.freeze())
}

async fn read_meta(file: &mut File) -> anyhow::Result<FileMetaRead> {
    let mut prefix = BytesMut::new();
    let mut wanted = PREFIX_BYTES;
    loop {
        prefix.reserve(wanted.saturating_sub(prefix.len()));
        let mut ended = false;
        while prefix.len() < wanted && !ended {
            ended = file.read_buf(&mut prefix).await.context("read")? == 0;
        }
        match read_file_meta(&prefix).context("read file meta information")? {
            FileMetaRead::NeedMore if ended && prefix.get(128..132) == Some(b"DICM") => {
                bail!("read file meta information: the file ends within it")
            }
            FileMetaRead::NeedMore if ended => return Ok(FileMetaRead::NotPart10),
            FileMetaRead::NeedMore if wanted >= PREFIX_BYTES_MAX => {
                bail!("read file meta information: it is longer than {PREFIX_BYTES_MAX} bytes")
            }
            FileMetaRead::NeedMore => wanted *= 2,
            read @ (FileMetaRead::NotPart10 | FileMetaRead::Meta { .. }) => return Ok(read),
        }
    }
}

/// Says where the instance comes from; the transfer syntax is the one thing a data set does not tell itself.
fn origin(meta: FileMeta) -> anyhow::Result<Origin> {
    let transfer_syntax_uid: Uid =
        meta.transfer_syntax_uid.context("read file meta information: it has no Transfer Syntax UID (0002,0010)")?;
    Ok(Origin {
        transfer_syntax_uid,
        sop_class_uid: meta.media_storage_sop_class_uid,
        sop_instance_uid: meta.media_storage_sop_instance_uid,
        study_instance_uid: None,
        calling_ae: String::new(),
        called_ae: String::new(),
    })
}
