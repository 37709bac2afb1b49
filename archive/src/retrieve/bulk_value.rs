//! Bulk values: a part of an instance, found by the header.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dicom_core::VR;
use dicom_data::{Attributes, BulkPath, ByteOrder, Limits, PixelData};
use futures_util::StreamExt;
use index::InstanceRef;

use super::frame_layout::{slice, swapped};
use super::frames::FrameReader;
use super::instance_body::InstanceBody;
use super::instance_source::{instance_source, syntax_of};
use super::locate::Place;
use super::open::{chunked, joined_ranges};
use crate::Error;
use crate::tasks::blocking;

/// Returns one bulk value; that of encapsulated Pixel Data is all its fragments one after the other.
pub(crate) async fn bulk_data(
    frames: &FrameReader,
    instance: &InstanceRef,
    path: &BulkPath,
) -> Result<InstanceBody, Error> {
    let reader = frames.reader();
    match find_value_again(frames, instance, path).await? {
        Value::Here(bytes) => Ok(InstanceBody::whole(bytes)),
        Value::Range(range, swap) => {
            let first = reader.first_piece(instance, range.clone()).await?;
            let body = chunked(Arc::clone(reader), instance.clone(), first, range);
            Ok(InstanceBody {
                bytes: body.bytes,
                chunks: Box::pin(body.chunks.map(move |piece| Ok(swapped(piece?, swap)))),
            })
        }
        Value::Ranges(ranges) => Ok(joined_ranges(reader, instance, ranges)),
    }
}

async fn find_value_again(frames: &FrameReader, instance: &InstanceRef, path: &BulkPath) -> Result<Value, Error> {
    let mut place = Place::new(instance.clone());
    loop {
        match find_value(frames, &place.instance, path.clone()).await {
            Ok(value) => return Ok(value),
            Err(error) => place.find_again(frames.reader().locator(), error).await?,
        }
    }
}

async fn find_value(frames: &FrameReader, instance: &InstanceRef, path: BulkPath) -> Result<Value, Error> {
    let syntax = syntax_of(instance)?;
    let permit = frames.headers().permit(instance.bytes, syntax).await;
    let source = instance_source(frames.reader(), instance).await?;
    let looked = blocking(move || {
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
    looked.await?
}

/// Where a bulk value is.
enum Value {
    Here(Bytes),
    /// In one piece; whether it is big endian, and then of which representation.
    Range(Range<u64>, Option<VR>),
    Ranges(Vec<Range<u64>>),
}
