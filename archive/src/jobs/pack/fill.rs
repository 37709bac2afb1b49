//! Filling a container from the journal: data sets as they came, frame tables, a block of metadata for each series, and what
//! the table of contents says of them.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use dicom_data::{Attributes, InstanceUids, Limits, Parsed, ReadError, Uid};
use disk::crc32c;
use index::UnsealedRow;
use journal::{InOrder, RecordRef};
use tiering::{ContainerWriter, Extent, InstanceKind, Manifest, ManifestInstance, Store, Tier, Toc, TocSegment};

use crate::Error;
use crate::metadata_block::BlockPacker;
use crate::unsealed::Unsealed;
use crate::windowed::PayloadSource;

/// Instances of one series that go into one container.
pub(super) struct SeriesPart {
    pub(super) study: Uid,
    pub(super) series: Uid,
    pub(super) summary: Bytes,
    pub(super) instances: Vec<UnsealedRow>,
}

/// What became of the instances that were to go into one container.
pub(super) struct Written {
    /// Nothing when the journal lost all of them.
    pub(super) sealed: Option<(tiering::SealReport, Toc)>,
    /// What is in it.
    pub(super) series: Vec<SeriesPart>,
    /// What the journal cannot give back.
    pub(super) lost: Vec<UnsealedRow>,
}

/// Writes a container and seals it. Blocks.
pub(super) fn write_container(unsealed: &Unsealed, store: &Store, series: Vec<SeriesPart>) -> Result<Written, Error> {
    let rows = || series.iter().flat_map(|part| &part.instances);
    let payload: u64 = rows().map(|row| row.record.payload_bytes).sum();
    let mut filling = Filling {
        unsealed,
        payloads: unsealed.in_order(rows().map(|row| row.record.clone())),
        writer: store.create(Tier::Hot, payload)?,
        packer: BlockPacker::new()?,
        lost: Vec::new(),
    };
    let mut filled = Vec::with_capacity(series.len());
    let mut segments = Vec::with_capacity(series.len());
    for mut part in series {
        if let Some(segment) = filling.series(&mut part)? {
            segments.push(segment);
            filled.push(part);
        }
    }
    let mut written = Written { sealed: None, series: filled, lost: filling.lost };
    if !segments.is_empty() {
        let toc = Toc { segments };
        written.sealed = Some((filling.writer.seal(&toc)?, toc));
    }
    Ok(written)
}

/// A container that is being filled.
struct Filling<'a> {
    unsealed: &'a Unsealed,
    payloads: InOrder<'a>,
    writer: ContainerWriter,
    packer: BlockPacker,
    lost: Vec<UnsealedRow>,
}

impl Filling<'_> {
    /// Writes a series and leaves in `part` what is in the container; nothing if the journal lost all of it.
    fn series(&mut self, part: &mut SeriesPart) -> Result<Option<TocSegment>, Error> {
        let mut instances = Vec::with_capacity(part.instances.len());
        let mut kinds: Vec<Arc<InstanceKind>> = Vec::new();
        for row in std::mem::take(&mut part.instances) {
            let copied = match self.copy(&row.record) {
                Ok(copied) => copied,
                Err(Error::Journal(journal::Error::Damaged(_) | journal::Error::Gone)) => {
                    self.lost.push(row);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let kind = kind_of(&row, &mut kinds);
            let parsed = parse(&copied.source, &row)?;
            let (pixel_data, frame_table) = self.layout(&copied.source, &parsed, &row)?;
            self.packer.push(&object(parsed.attributes, part, &row))?;
            instances.push(ManifestInstance {
                sop_instance_uid: row.sop_instance_uid.to_string(),
                number: row.instance_number,
                offset: copied.offset,
                bytes: row.record.payload_bytes,
                crc32c: row.record.crc32c,
                pixel_data,
                frame_table,
                received_millis: row.received_millis,
                kind,
            });
            part.instances.push(row);
        }
        if instances.is_empty() {
            return Ok(None);
        }
        let metadata = self.packer.finish()?;
        Ok(Some(TocSegment {
            study_instance_uid: part.study.to_string(),
            series_instance_uid: part.series.to_string(),
            summary: part.summary.clone(),
            metadata: self.append(&metadata)?,
            manifest: Manifest { instances },
        }))
    }

    /// Copies one data set; its CRC is checked on the way, so that a container never seals what the journal lost.
    fn copy(&mut self, record: &RecordRef) -> Result<Copied, Error> {
        if record.large {
            self.unsealed.verify(record)?;
            let mut reader = RecordReader { unsealed: self.unsealed, record, at: 0 };
            let offset = self.writer.append_from(record.payload_bytes, &mut reader)?;
            return Ok(Copied { offset, source: PayloadSource::Record(self.unsealed.source(record)) });
        }
        let bytes = self.payloads.read(record)?;
        Ok(Copied { offset: self.writer.append(&bytes)?, source: PayloadSource::Whole(bytes) })
    }

    /// Returns where the pixel data is, and lists the fragments of encapsulated frames beside it.
    fn layout(
        &mut self,
        source: &PayloadSource,
        parsed: &Parsed,
        row: &UnsealedRow,
    ) -> Result<(u64, Option<Extent>), Error> {
        // Offsets into what a deflated data set becomes say nothing about what is stored.
        let deflated =
            dicom_data::transfer_syntax(row.transfer_syntax_uid.as_str()).is_none_or(|syntax| syntax.deflated);
        let Some(pixel_data) = parsed.pixel_data.as_ref().filter(|_| !deflated) else { return Ok((0, None)) };
        if !pixel_data.encapsulated {
            return Ok((pixel_data.offset, None));
        }
        match dicom_data::fragment_table(source, pixel_data, &parsed.attributes) {
            Ok(table) => Ok((pixel_data.offset, Some(self.append(&table.encode())?))),
            Err(_) => Ok((pixel_data.offset, None)),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Extent, Error> {
        let offset = self.writer.append(bytes)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(Extent { offset, bytes: length, crc32c: crc32c(bytes) })
    }
}

/// A data set that was copied into the container, still at hand to read its header.
struct Copied {
    offset: u64,
    source: PayloadSource,
}

/// Reads a large payload in order.
struct RecordReader<'a> {
    unsealed: &'a Unsealed,
    record: &'a RecordRef,
    at: u64,
}

impl Read for RecordReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        let end = self.at.saturating_add(wanted).min(self.record.payload_bytes);
        let part = self.unsealed.read(self.record, self.at..end).map_err(io::Error::other)?;
        let (filled, _) = buffer.split_at_mut_checked(part.len()).ok_or(io::ErrorKind::InvalidData)?;
        filled.copy_from_slice(&part);
        self.at = end;
        Ok(part.len())
    }
}

/// Slices of a series are alike: they share one kind.
fn kind_of(row: &UnsealedRow, kinds: &mut Vec<Arc<InstanceKind>>) -> Arc<InstanceKind> {
    let kind = InstanceKind {
        sop_class_uid: row.sop_class_uid.to_string(),
        transfer_syntax_uid: row.transfer_syntax_uid.to_string(),
        encoding: 0,
        detail: row.detail.clone(),
    };
    if let Some(known) = kinds.iter().find(|known| ***known == kind) {
        return Arc::clone(known);
    }
    let kind = Arc::new(kind);
    kinds.push(Arc::clone(&kind));
    kind
}

/// Reads the header; nothing of it if it cannot be made out: such an instance is packed all the same, its metadata has its
/// UIDs, and its frames are looked for when they are asked for.
fn parse(source: &PayloadSource, row: &UnsealedRow) -> Result<Parsed, Error> {
    let syntax =
        dicom_data::transfer_syntax(row.transfer_syntax_uid.as_str()).ok_or(Error::TransferSyntaxNotSupported)?;
    match dicom_data::read(source, syntax, &Limits::default()) {
        Err(ReadError::Malformed { .. } | ReadError::Missing { .. }) => {
            Ok(Parsed { attributes: Attributes::default(), pixel_data: None, complete: false })
        }
        read => Ok(read?),
    }
}

fn object(attributes: Attributes, part: &SeriesPart, row: &UnsealedRow) -> Vec<u8> {
    let uids = InstanceUids {
        study_instance_uid: &part.study,
        series_instance_uid: &part.series,
        sop_instance_uid: &row.sop_instance_uid,
    };
    dicom_data::attributes_json(attributes, uids)
}
