//! How the frames of one instance lie in its data set, and reading one of them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dicom_core::VR;
use dicom_data::{Attributes, ByteOrder, FragmentTable, Limits, Parsed, TransferSyntax};
use index::{ContainerPlace, InstanceRef};

use super::instance_body::InstanceBody;
use super::layouts::Layouts;
use super::open::joined_ranges;
use super::reader::{Reader, WHOLE_BYTES_MAX, kept};
use crate::Error;
use crate::windowed::PayloadSource;

/// How the frames of one instance lie in its data set.
pub(super) enum Layout {
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

impl Layout {
    /// Refuses the number of a frame that is not there.
    pub(super) fn check(&self, number: u32) -> Result<(), Error> {
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
    pub(super) async fn read(
        &self,
        reader: &Arc<Reader>,
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
                Ok(joined_ranges(reader, instance, ranges.collect()))
            }
            Self::Native { attributes, pixel_data, swap } => {
                let length = pixel_data.end - pixel_data.start;
                let frame = dicom_data::native_frame_range(attributes, length, index).ok_or_else(missing)?;
                let wide = swap.map_or(frame.bytes.clone(), |vr| dicom_data::whole_numbers(vr, &frame.bytes, length));
                let range = pixel_data.start + wide.start..pixel_data.start + wide.end;
                let untouched = swap.is_none() && is_aligned(&frame);
                if untouched && alone && range.end - range.start <= WHOLE_BYTES_MAX {
                    let permit = reader.permit(range.end - range.start);
                    return Ok(InstanceBody::whole(kept(reader.read_range(instance, range).await?, permit)));
                }
                if untouched {
                    return Ok(joined_ranges(reader, instance, vec![range]));
                }
                let turned = swapped(reader.read_range(instance, range).await?, *swap);
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

/// Turns big endian values of a representation into little endian ones.
pub(super) fn swapped(bytes: Bytes, big_endian: Option<VR>) -> Bytes {
    let Some(vr) = big_endian else { return bytes };
    let mut turned = bytes.to_vec();
    dicom_data::swap_byte_order(vr, &mut turned);
    turned.into()
}

/// Returns a range of a data set that is in memory.
pub(super) fn slice(data_set: &Bytes, range: Range<u64>) -> Result<Bytes, Error> {
    let start = usize::try_from(range.start).unwrap_or(usize::MAX);
    let end = usize::try_from(range.end).unwrap_or(usize::MAX);
    if start > end || end > data_set.len() {
        return Err(Error::NotFound { what: "bulk data" });
    }
    Ok(data_set.slice(start..end))
}

/// Returns how native frames lie if the manifest says so.
pub(super) fn known_native_layout(
    layouts: &Layouts,
    instance: &InstanceRef,
    sealed: &ContainerPlace,
    syntax: &TransferSyntax,
) -> Option<Layout> {
    let elsewhere = sealed.pixel_data == 0 || sealed.frame_table.is_some();
    if elsewhere || syntax.encapsulated || syntax.deflated || syntax.byte_order == ByteOrder::Big {
        return None;
    }
    let attributes = layouts.attributes(&sealed.detail)?;
    let pixel_data = sealed.pixel_data..instance.bytes.max(sealed.pixel_data);
    // An instance that was indexed by its UIDs only has nothing here: its header is asked.
    let usable = dicom_data::native_frame_range(&attributes, pixel_data.end - pixel_data.start, 0).is_some();
    usable.then_some(Layout::Native { attributes, pixel_data, swap: None })
}

/// Reads how the frames lie from the header.
pub(super) fn read_layout(source: &PayloadSource, syntax: &TransferSyntax) -> Result<Layout, Error> {
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
