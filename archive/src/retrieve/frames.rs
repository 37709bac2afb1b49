//! Frames: a part of an instance, found by its series' manifest or by its own header.

use std::sync::Arc;

use dicom_data::{FragmentTable, TransferSyntax, Uid};
use index::{InstanceRef, Location};
use tiering::{Checked, Wait};

use super::frame_layout::{Layout, known_native_layout, read_layout};
use super::instance_body::InstanceBody;
use super::instance_source::{instance_source, syntax_of};
use super::layouts::Layouts;
use super::locate::Place;
use super::reader::Reader;
use crate::Error;
use crate::budgets::HeaderBudget;
use crate::tasks::blocking;

/// The header of an instance up to this length is read on a thread of the runtime: some 20 us, 3 ms if it is nothing but items.
const PARSED_HERE_BYTES_MAX: u64 = 128 * 1024;

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

/// Reads parts of instances that their headers or manifests find: frames and bulk values.
#[derive(Debug)]
pub(crate) struct FrameReader {
    reader: Arc<Reader>,
    headers: HeaderBudget,
    layouts: Layouts,
}

impl FrameReader {
    pub(crate) fn new(reader: Arc<Reader>, headers: HeaderBudget) -> Self {
        Self { reader, headers, layouts: Layouts::default() }
    }

    /// Returns the reader of the instances' bytes.
    pub(super) fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// Returns the budget of headers that are being read.
    pub(super) fn headers(&self) -> &HeaderBudget {
        &self.headers
    }

    /// Finds how the frames lie: by the manifest if it says so, else by the header.
    async fn layout(&self, instance: &InstanceRef, syntax: &'static TransferSyntax) -> Result<Layout, Error> {
        if let Location::Container(sealed) = &instance.location
            && let Some(layout) = known_native_layout(&self.layouts, instance, sealed, syntax)
        {
            return Ok(layout);
        }
        Box::pin(self.layout_waiting(instance, syntax)).await
    }

    async fn layout_waiting(&self, instance: &InstanceRef, syntax: &'static TransferSyntax) -> Result<Layout, Error> {
        let mut place = Place::new(instance.clone());
        loop {
            match self.read_layout(&place.instance, syntax).await {
                Ok(layout) => return Ok(layout),
                Err(error) => place.find_again(self.reader.locator(), error).await?,
            }
        }
    }

    async fn read_layout(&self, instance: &InstanceRef, syntax: &'static TransferSyntax) -> Result<Layout, Error> {
        if let Location::Container(sealed) = &instance.location {
            if let Some(at) = sealed.frame_table {
                let range = at.offset..at.offset + at.bytes;
                let (store, checked) = (self.reader.store(), Checked::Crc(at.crc32c));
                let table = store.read(sealed.container, range, checked, Wait::IfNeeded).await?;
                if let Some(table) = FragmentTable::decode(&table) {
                    return Ok(Layout::Encapsulated(table));
                }
            } else if let Some(layout) = known_native_layout(&self.layouts, instance, sealed, syntax) {
                return Ok(layout);
            }
        }
        let permit = self.headers.permit(instance.bytes, syntax).await;
        let source = instance_source(&self.reader, instance).await?;
        if instance.bytes <= PARSED_HERE_BYTES_MAX && !syntax.deflated {
            return read_layout(&source.open(), syntax);
        }
        let read = blocking(move || {
            let _permit = permit;
            read_layout(&source.open(), syntax)
        });
        read.await?
    }
}

/// Returns frames by their 1-based numbers.
pub(crate) async fn frames(frames: &FrameReader, instance: &InstanceRef, numbers: &[u32]) -> Result<Frames, Error> {
    let syntax = syntax_of(instance)?;
    if syntax.is_video() {
        return Err(Error::NoFrames { reason: "a video has no single frames; take its bulk data" });
    }
    let layout = frames.layout(instance, syntax).await?;
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
    let mut read = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let body = layout.read(&frames.reader, instance, number, numbers.len() == 1).await?;
        read.push(Frame { number, body: if read.is_empty() { body.begun().await? } else { body } });
    }
    Ok(Frames { transfer_syntax_uid, frames: read })
}

/// Returns the number of frames.
pub(crate) async fn frame_count(frames: &FrameReader, instance: &InstanceRef) -> Result<u32, Error> {
    match frames.layout(instance, syntax_of(instance)?).await? {
        Layout::Native { attributes, .. } | Layout::Here { attributes, .. } => Ok(dicom_data::frame_count(&attributes)),
        Layout::Encapsulated(table) => Ok(u32::try_from(table.frames()).unwrap_or(u32::MAX)),
    }
}
