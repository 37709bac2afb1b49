//! Frames and bulk values: a part of an instance, found by its series' manifest or by its own header.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dicom_core::VR;
use futures_util::{StreamExt, stream};

use super::body::{chunked, first_piece, following, kept, open, pieces, read_range};
use super::{Frame, Frames, InstanceBody, Shared};
use crate::Error;
use crate::archive::Inner;
use crate::receive::joined;
use crate::source::{PayloadSource, Windowed, record_source};
use dicom_data::Uid;
use dicom_data::{Attributes, BulkPath, ByteOrder, FragmentTable, Limits, Parsed, PixelData, TransferSyntax};
use index::{InstanceRef, Location, Sealed};

/// An instance up to this length is read whole before its header is looked at.
const WHOLE_BYTES_MAX: u64 = 512 * 1024;
/// The header of an instance up to this length is read on a thread of the runtime: some 20 us, 3 ms if it is nothing but items.
const PARSED_HERE_BYTES_MAX: u64 = 128 * 1024;

/// How the frames of one instance lie in its data set.
enum Layout {
    Native {
        attributes: Arc<Attributes>,
        pixel_data: Range<u64>,
        swap: Option<VR>,
    },
    Encapsulated(FragmentTable),
    /// The data set is in memory: it was inflated, or read to look at its header. Little endian.
    Here {
        data_set: Bytes,
        attributes: Arc<Attributes>,
        pixel_data: Range<u64>,
    },
}

/// Returns frames by their 1-based numbers.
pub(crate) async fn frames(archive: &Shared, instance: &InstanceRef, numbers: &[u32]) -> Result<Frames, Error> {
    let syntax = syntax_of(instance)?;
    if syntax.is_video() {
        return Err(Error::NoFrames { reason: "a video has no single frames; take its bulk data" });
    }
    let layout = layout(archive, instance, syntax).await?;
    for number in numbers {
        layout.check(*number)?;
    }
    let transfer_syntax_uid = match &layout {
        Layout::Encapsulated(_) => instance.transfer_syntax_uid.clone(),
        // Native frames are sent little endian (PS3.18 §8.7.3), whatever the data set is stored in.
        Layout::Native { .. } | Layout::Here { .. } => {
            dicom_data::EXPLICIT_VR_LITTLE_ENDIAN.parse::<Uid>().expect("it is a UID")
        }
    };
    let mut frames = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let body = layout.read(archive, instance, number, numbers.len() == 1).await?;
        frames.push(Frame { number, body: if frames.is_empty() { body.begun().await? } else { body } });
    }
    Ok(Frames { transfer_syntax_uid, frames })
}

/// Returns the number of frames.
pub(crate) async fn frame_count(archive: &Shared, instance: &InstanceRef) -> Result<u32, Error> {
    match layout(archive, instance, syntax_of(instance)?).await? {
        Layout::Native { attributes, .. } | Layout::Here { attributes, .. } => Ok(dicom_data::frame_count(&attributes)),
        Layout::Encapsulated(table) => Ok(u32::try_from(table.frames()).unwrap_or(u32::MAX)),
    }
}

/// Returns one bulk value; that of encapsulated Pixel Data is all its fragments one after the other.
pub(crate) async fn bulk_data(
    archive: &Shared,
    instance: &InstanceRef,
    path: &BulkPath,
) -> Result<InstanceBody, Error> {
    let value = following(archive, instance, |instance| find_value(archive, instance, path.clone())).await?;
    match value {
        Value::Here(bytes) => Ok(InstanceBody::whole(bytes)),
        Value::Range(range, swap) => {
            let first = first_piece(archive, instance, range.clone()).await?;
            let body = chunked(Arc::clone(archive), instance.clone(), first, range);
            Ok(InstanceBody {
                bytes: body.bytes,
                chunks: Box::pin(body.chunks.map(move |piece| Ok(swapped(piece?, swap)))),
            })
        }
        Value::Ranges(ranges) => Ok(joined_ranges(archive, instance, ranges)),
    }
}

async fn find_value(archive: &Shared, instance: InstanceRef, path: BulkPath) -> Result<Value, Error> {
    let syntax = syntax_of(&instance)?;
    let permit = archive.parsing.permit(instance.bytes, syntax).await;
    let source = instance_source(archive, &instance).await?;
    let looked = tokio::task::spawn_blocking(move || {
        let (source, _permit) = (source.open(), permit);
        let found = dicom_data::find_bulk(&source, syntax, &path)?.ok_or(Error::NotFound { what: "bulk data" })?;
        if syntax.deflated {
            let data_set = Bytes::from(dicom_data::inflate(&source, &Limits::default())?);
            let value = slice(&data_set, found.offset..found.offset.saturating_add(found.bytes))?;
            return Ok(Value::Here(value));
        }
        if !found.encapsulated {
            let swap = (syntax.byte_order == ByteOrder::Big).then_some(found.vr);
            return Ok(Value::Range(found.offset..found.offset.saturating_add(found.bytes), swap));
        }
        let pixel_data = PixelData { offset: found.offset, bytes: found.bytes, encapsulated: true, vr: found.vr };
        let table = dicom_data::fragment_table(&source, &pixel_data, &Attributes::default())?;
        let ranges = table.all().iter().map(|part| part.offset..part.offset.saturating_add(part.bytes));
        Ok(Value::Ranges(ranges.collect()))
    });
    joined(looked.await)?
}

/// Where a bulk value is.
enum Value {
    Here(Bytes),
    /// In one piece; whether it is big endian, and then of which representation.
    Range(Range<u64>, Option<VR>),
    Ranges(Vec<Range<u64>>),
}

fn joined_ranges(archive: &Shared, instance: &InstanceRef, ranges: Vec<Range<u64>>) -> InstanceBody {
    let bytes = ranges.iter().map(|range| range.end - range.start).sum();
    let (archive, instance) = (Arc::clone(archive), instance.clone());
    let chunks = stream::iter(ranges).map(move |range| pieces(Arc::clone(&archive), instance.clone(), range)).flatten();
    InstanceBody { bytes, chunks: Box::pin(chunks) }
}

impl Layout {
    fn check(&self, number: u32) -> Result<(), Error> {
        let missing = Error::NotFound { what: "frame" };
        let Some(index) = number.checked_sub(1) else { return Err(missing) };
        let found = match self {
            Self::Encapsulated(table) => frame_of(table, index).is_some_and(|frame| !frame.is_empty()),
            Self::Native { attributes, pixel_data, .. } | Self::Here { attributes, pixel_data, .. } => {
                dicom_data::native_frame_range(attributes, pixel_data.end - pixel_data.start, index).is_some()
            }
        };
        if found { Ok(()) } else { Err(missing) }
    }

    /// Returns a frame; what need not be turned or moved is read piece by piece, as it is taken, unless it is short and
    /// `alone` asked for.
    async fn read(
        &self,
        archive: &Shared,
        instance: &InstanceRef,
        number: u32,
        alone: bool,
    ) -> Result<InstanceBody, Error> {
        let missing = || Error::NotFound { what: "frame" };
        let index = number.checked_sub(1).ok_or_else(missing)?;
        match self {
            Self::Encapsulated(table) => {
                let fragments = frame_of(table, index).ok_or_else(missing)?;
                let ranges = fragments.iter().map(|part| part.offset..part.offset.saturating_add(part.bytes));
                Ok(joined_ranges(archive, instance, ranges.collect()))
            }
            Self::Native { attributes, pixel_data, swap } => {
                let length = pixel_data.end - pixel_data.start;
                let frame = dicom_data::native_frame_range(attributes, length, index).ok_or_else(missing)?;
                let wide = swap.map_or(frame.bytes.clone(), |vr| dicom_data::whole_numbers(vr, &frame.bytes, length));
                let range = pixel_data.start + wide.start..pixel_data.start + wide.end;
                let untouched = swap.is_none() && is_aligned(&frame);
                if untouched && alone && range.end - range.start <= WHOLE_BYTES_MAX {
                    let room = archive.held.room(range.end - range.start);
                    return Ok(InstanceBody::whole(kept(read_range(archive, instance, range).await?, room)));
                }
                if untouched {
                    return Ok(joined_ranges(archive, instance, vec![range]));
                }
                let turned = swapped(read_range(archive, instance, range).await?, *swap);
                let bytes = slice(&turned, frame.bytes.start - wide.start..frame.bytes.end - wide.start)?;
                Ok(InstanceBody::whole(aligned(&frame, bytes)))
            }
            Self::Here { data_set, attributes, pixel_data } => {
                let length = pixel_data.end - pixel_data.start;
                let frame = dicom_data::native_frame_range(attributes, length, index).ok_or_else(missing)?;
                let range = pixel_data.start + frame.bytes.start..pixel_data.start + frame.bytes.end;
                Ok(InstanceBody::whole(aligned(&frame, slice(data_set, range)?)))
            }
        }
    }
}

fn frame_of(table: &FragmentTable, index: u32) -> Option<&[dicom_data::Fragment]> {
    table.frame(usize::try_from(index).ok()?)
}

fn is_aligned(frame: &dicom_data::NativeFrame) -> bool {
    frame.shift == 0 && frame.bits.is_multiple_of(8)
}

fn aligned(frame: &dicom_data::NativeFrame, bytes: Bytes) -> Bytes {
    if is_aligned(frame) {
        return bytes;
    }
    let mut moved = bytes.to_vec();
    dicom_data::align_frame(frame, &mut moved);
    moved.into()
}

fn swapped(bytes: Bytes, big_endian: Option<VR>) -> Bytes {
    let Some(vr) = big_endian else { return bytes };
    let mut turned = bytes.to_vec();
    dicom_data::swap_byte_order(vr, &mut turned);
    turned.into()
}

fn slice(data_set: &Bytes, range: Range<u64>) -> Result<Bytes, Error> {
    let start = usize::try_from(range.start).unwrap_or(usize::MAX);
    let end = usize::try_from(range.end).unwrap_or(usize::MAX);
    if start > end || end > data_set.len() {
        return Err(Error::NotFound { what: "bulk data" });
    }
    Ok(data_set.slice(start..end))
}

fn syntax_of(instance: &InstanceRef) -> Result<&'static TransferSyntax, Error> {
    dicom_data::transfer_syntax(instance.transfer_syntax_uid.as_str()).ok_or(Error::TransferSyntaxNotSupported)
}

/// Finds how the frames lie: by the manifest if it says so, else by the header.
async fn layout(archive: &Shared, instance: &InstanceRef, syntax: &'static TransferSyntax) -> Result<Layout, Error> {
    if let Location::Container(sealed) = &instance.location
        && let Some(layout) = known_native_layout(archive, instance, sealed, syntax)
    {
        return Ok(layout);
    }
    Box::pin(following(archive, instance, |instance| async move {
        if let Location::Container(sealed) = &instance.location {
            if let Some(at) = sealed.frame_table {
                let range = at.offset..at.offset + at.bytes;
                let table = archive.store.read_checked(sealed.container, range, at.crc32c).await?;
                if let Some(table) = FragmentTable::decode(&table) {
                    return Ok(Layout::Encapsulated(table));
                }
            } else if let Some(layout) = known_native_layout(archive, &instance, sealed, syntax) {
                return Ok(layout);
            }
        }
        let permit = archive.parsing.permit(instance.bytes, syntax).await;
        let source = instance_source(archive, &instance).await?;
        if instance.bytes <= PARSED_HERE_BYTES_MAX && !syntax.deflated {
            return read_layout(&source.open(), syntax);
        }
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read_layout(&source.open(), syntax)
        });
        joined(read.await)?
    }))
    .await
}

/// Returns how native frames lie if the manifest says so.
fn known_native_layout(
    archive: &Inner,
    instance: &InstanceRef,
    sealed: &Sealed,
    syntax: &TransferSyntax,
) -> Option<Layout> {
    let elsewhere = sealed.pixel_data == 0 || sealed.frame_table.is_some();
    if elsewhere || syntax.encapsulated || syntax.deflated || syntax.byte_order == ByteOrder::Big {
        return None;
    }
    let attributes = archive.layouts.attributes(&sealed.detail)?;
    let pixel_data = sealed.pixel_data..instance.bytes.max(sealed.pixel_data);
    // An instance that was indexed by its UIDs only has nothing here: its header is asked.
    let usable = dicom_data::native_frame_range(&attributes, pixel_data.end - pixel_data.start, 0).is_some();
    usable.then_some(Layout::Native { attributes, pixel_data, swap: None })
}

fn read_layout(source: &PayloadSource, syntax: &TransferSyntax) -> Result<Layout, Error> {
    let Parsed { attributes, pixel_data, .. } = dicom_data::read_frame_layout(source, syntax, &Limits::default())?;
    let pixel_data = pixel_data.ok_or(Error::NotFound { what: "pixel data" })?;
    if pixel_data.encapsulated {
        return Ok(Layout::Encapsulated(dicom_data::fragment_table(source, &pixel_data, &attributes)?));
    }
    let attributes = Arc::new(attributes);
    let range = pixel_data.offset..pixel_data.offset.saturating_add(pixel_data.bytes);
    if syntax.deflated {
        let data_set = dicom_data::inflate(source, &Limits::default())?.into();
        return Ok(Layout::Here { data_set, attributes, pixel_data: range });
    }
    match (source, syntax.byte_order) {
        (PayloadSource::Whole(data_set), ByteOrder::Little) => {
            Ok(Layout::Here { data_set: data_set.clone(), attributes, pixel_data: range })
        }
        (PayloadSource::Record(_), ByteOrder::Little) => {
            Ok(Layout::Native { attributes, pixel_data: range, swap: None })
        }
        (_, ByteOrder::Big) => Ok(Layout::Native { attributes, pixel_data: range, swap: Some(pixel_data.vr) }),
    }
}

/// An instance that can be read on another thread.
enum Readable {
    Whole(Bytes),
    Later(Shared, InstanceRef),
}

/// Reads a short instance whole; a long one is read in windows.
async fn instance_source(archive: &Shared, instance: &InstanceRef) -> Result<Readable, Error> {
    if instance.bytes > WHOLE_BYTES_MAX {
        return Ok(Readable::Later(Arc::clone(archive), instance.clone()));
    }
    let mut body = open(archive, instance).await?.chunks;
    let bytes = body.next().await.transpose()?.unwrap_or_default();
    Ok(Readable::Whole(bytes))
}

impl Readable {
    fn open(self) -> PayloadSource {
        match self {
            Self::Whole(bytes) => PayloadSource::Whole(bytes),
            Self::Later(archive, instance) => match instance.location {
                Location::Journal(record) => PayloadSource::Record(record_source(&archive.journal, &record)),
                Location::Container(sealed) => PayloadSource::Record(Windowed::new(
                    instance.bytes,
                    Box::new(move |offset, len| {
                        let start = sealed.offset + offset;
                        let end = start.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
                        archive.store.read_blocking(sealed.container, start..end).map_err(io::Error::other)
                    }),
                )),
            },
        }
    }
}
