//! The manifest of a series part: its instances, column by column, some 10 to 22 bytes each.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | format version, 1 |
//! | 1 | 1 | 0 plain, 1 zstd |
//! | 2 | 1-10 | length of the plain body, LEB128 |
//! | .. | .. | body |
//! | end - 4 | 4 | CRC32C of all before it |
//!
//! Body: number of instances n and of kinds; each kind (SOP class, transfer syntax, encoding byte, detail); then for all
//! n: SOP Instance UIDs (module `column`), kind indexes, numbers, offsets, lengths, CRC32C (4 bytes each), pixel data
//! offsets, frame tables, times. Differences are zigzag LEB128. A number is 0 if absent, else 1 and its difference from
//! where the line of the last two points; an offset is the difference from the end of the instance before; lengths, pixel
//! data offsets and times are the difference from the instance before; a frame table is 0, or 1 and an extent.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::column::{Line, put_difference, put_signed, put_strings, take_difference, take_signed, take_strings};
use crate::Error;
use crate::wire::{Reader, put_bytes, put_varint};
use disk::crc32c;

const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
const ZSTD_LEVEL: i32 = 9;
/// Largest body that is read.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Most instances in one manifest that is read.
const INSTANCES_MAX: usize = 1 << 20;
/// Least bytes that an instance takes in the body: 4 of its CRC and one in each of eight other columns.
const INSTANCE_BYTES_MIN: usize = 12;

/// The instances of a series that one container holds, in the order of their bytes.
///
/// At most 1,048,576, and 64 MiB before compression: what is larger encodes but does not decode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The instances.
    pub instances: Vec<ManifestInstance>,
}

/// One instance in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestInstance {
    /// SOP Instance UID (0008,0018).
    pub sop_instance_uid: String,
    /// Instance Number (0020,0013), if it has one that is a number.
    pub number: Option<i32>,
    /// Logical offset of its data set in the container.
    pub offset: u64,
    /// Length of its data set.
    pub bytes: u64,
    /// CRC32C of its data set.
    pub crc32c: u32,
    /// Offset of the Pixel Data (7FE0,0010) value in the data set, or 0.
    pub pixel_data: u64,
    /// Where its frame table lies in the container, if it has one.
    pub frame_table: Option<Extent>,
    /// When it was received, in milliseconds since 1970.
    pub received_millis: i64,
    /// What it has in common with others.
    pub kind: Arc<InstanceKind>,
}

/// What many instances of a series have in common; stored once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InstanceKind {
    /// SOP Class UID (0008,0016).
    pub sop_class_uid: String,
    /// Transfer Syntax UID of the stored data set.
    pub transfer_syntax_uid: String,
    /// How the data set is stored: 0 as received.
    pub encoding: u8,
    /// More of the archive's; opaque here.
    pub detail: Bytes,
}

/// A run of bytes in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Logical offset in the container.
    pub offset: u64,
    /// Length.
    pub bytes: u64,
    /// CRC32C of the bytes.
    pub crc32c: u32,
}

impl Extent {
    /// Appends offset, length and checksum.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.offset.into());
        put_varint(out, self.bytes.into());
        out.extend_from_slice(&self.crc32c.to_le_bytes());
    }

    /// Takes what [`Extent::put`] wrote.
    pub(crate) fn take(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { offset: reader.number()?, bytes: reader.number()?, crc32c: reader.u32()? })
    }
}

impl Manifest {
    /// Returns the stored form.
    pub fn encode(&self) -> Vec<u8> {
        let body = self.body();
        let mut out = vec![VERSION];
        let compressed = compressed(&body).filter(|small| small.len() < body.len());
        out.push(if compressed.is_some() { ZSTD } else { PLAIN });
        put_varint(&mut out, length(body.len()));
        out.extend_from_slice(&compressed.unwrap_or(body));
        out.extend_from_slice(&crc32c(&out).to_le_bytes());
        out
    }

    /// Reads the stored form; any bytes that [`Manifest::encode`] did not write are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = |reason| Error::Malformed { what: "manifest", reason };
        let (rest, crc) = bytes.split_last_chunk::<4>().ok_or(malformed("it ends early"))?;
        if u32::from_le_bytes(*crc) != crc32c(rest) {
            return Err(malformed("its checksum differs"));
        }
        let mut reader = Reader::new(rest);
        if reader.u8() != Some(VERSION) {
            return Err(malformed("its version is not known"));
        }
        let form = reader.u8().ok_or(malformed("it ends early"))?;
        let body_bytes = reader.number().filter(|bytes| *bytes <= BODY_BYTES_MAX).ok_or(malformed("it is too long"))?;
        let body = plain_body(form, reader.rest(), body_bytes).ok_or(malformed("its body has another length"))?;
        let mut reader = Reader::new(&body);
        let instances = take_instances(&mut reader).ok_or(malformed("a column is wrong or ends early"))?;
        reader.rest().is_empty().then_some(Self { instances }).ok_or(malformed("it has bytes after its end"))
    }

    fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.instances.len() * 24);
        put_varint(&mut out, length(self.instances.len()));
        let indexes = put_kinds(&mut out, &self.instances);
        let uids: Vec<&str> = self.instances.iter().map(|instance| instance.sop_instance_uid.as_str()).collect();
        put_strings(&mut out, &uids);
        for index in indexes {
            put_varint(&mut out, index);
        }
        put_numbers(&mut out, &self.instances);
        put_places(&mut out, &self.instances);
        put_contents(&mut out, &self.instances);
        out
    }
}

fn length(items: usize) -> u128 {
    u128::try_from(items).expect("a usize has at most 64 bits")
}

thread_local! {
    /// Studies of few instances have as many manifests as series: making a context for each was a fifth of packing them.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> =
        RefCell::new(zstd::bulk::Compressor::new(ZSTD_LEVEL).ok());
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        RefCell::new(zstd::bulk::Decompressor::new().ok());
}

fn compressed(body: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut()?.compress(body).ok())
}

fn plain_body(form: u8, stored: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let body = match form {
        PLAIN => stored.to_vec(),
        // Longer than it says is an error.
        ZSTD => DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.as_mut()?.decompress(stored, bytes).ok())?,
        _ => return None,
    };
    (body.len() == bytes).then_some(body)
}

/// Appends the distinct kinds in order of appearance; returns the index of each instance's kind.
fn put_kinds(out: &mut Vec<u8>, instances: &[ManifestInstance]) -> Vec<u128> {
    let mut known: HashMap<&InstanceKind, u128> = HashMap::new();
    let mut kinds = Vec::new();
    let mut indexes = Vec::with_capacity(instances.len());
    for instance in instances {
        let next = length(known.len());
        let index = *known.entry(&instance.kind).or_insert_with(|| {
            put_bytes(&mut kinds, instance.kind.sop_class_uid.as_bytes());
            put_bytes(&mut kinds, instance.kind.transfer_syntax_uid.as_bytes());
            kinds.push(instance.kind.encoding);
            put_bytes(&mut kinds, &instance.kind.detail);
            next
        });
        indexes.push(index);
    }
    put_varint(out, length(known.len()));
    out.extend_from_slice(&kinds);
    indexes
}

fn take_kinds(reader: &mut Reader<'_>, instances: usize) -> Option<Vec<Arc<InstanceKind>>> {
    let count = reader.number::<usize>().filter(|count| *count <= instances)?;
    let mut kinds = Vec::new();
    for _ in 0..count {
        kinds.push(Arc::new(InstanceKind {
            sop_class_uid: reader.text()?.to_owned(),
            transfer_syntax_uid: reader.text()?.to_owned(),
            encoding: reader.u8()?,
            detail: Bytes::copy_from_slice(reader.bytes()?),
        }));
    }
    Some(kinds)
}

fn put_numbers(out: &mut Vec<u8>, instances: &[ManifestInstance]) {
    let mut line = Line::default();
    for instance in instances {
        out.push(instance.number.is_some().into());
        if let Some(number) = instance.number {
            let number = i128::from(number).cast_unsigned();
            put_difference(out, line.expected(), number);
            line.push(number);
        }
    }
}

fn take_numbers(reader: &mut Reader<'_>, instances: &mut [ManifestInstance]) -> Option<()> {
    let mut line = Line::default();
    for instance in instances {
        instance.number = match reader.u8()? {
            0 => None,
            1 => {
                let number = take_difference(reader, line.expected())?;
                line.push(number);
                Some(number.cast_signed().try_into().ok()?)
            }
            _ => return None,
        };
    }
    Some(())
}

/// Appends the columns of offsets, lengths and checksums.
fn put_places(out: &mut Vec<u8>, instances: &[ManifestInstance]) {
    let mut end = 0_u128;
    for instance in instances {
        put_difference(out, end, instance.offset.into());
        end = u128::from(instance.offset) + u128::from(instance.bytes);
    }
    let mut last = 0;
    for instance in instances {
        put_difference(out, last, instance.bytes.into());
        last = instance.bytes.into();
    }
    for instance in instances {
        out.extend_from_slice(&instance.crc32c.to_le_bytes());
    }
}

/// Appends the columns of pixel data offsets, frame tables and times.
fn put_contents(out: &mut Vec<u8>, instances: &[ManifestInstance]) {
    let mut last = 0;
    for instance in instances {
        put_difference(out, last, instance.pixel_data.into());
        last = instance.pixel_data.into();
    }
    for instance in instances {
        out.push(instance.frame_table.is_some().into());
        if let Some(extent) = &instance.frame_table {
            extent.put(out);
        }
    }
    let mut last = 0;
    for instance in instances {
        put_signed(out, last, instance.received_millis);
        last = instance.received_millis;
    }
}

fn take_instances(reader: &mut Reader<'_>) -> Option<Vec<ManifestInstance>> {
    let count = reader.number::<usize>().filter(|count| *count <= INSTANCES_MAX)?;
    // A claim of more instances than bytes is refused before anything of that size is allocated.
    (count.checked_mul(INSTANCE_BYTES_MIN)? <= reader.rest().len()).then_some(())?;
    let kinds = take_kinds(reader, count)?;
    let mut instances = Vec::with_capacity(count);
    let uids = take_strings(reader, count)?;
    for sop_instance_uid in uids {
        instances.push(ManifestInstance {
            sop_instance_uid,
            number: None,
            offset: 0,
            bytes: 0,
            crc32c: 0,
            pixel_data: 0,
            frame_table: None,
            received_millis: 0,
            kind: Arc::clone(kinds.get(reader.number::<usize>()?)?),
        });
    }
    take_numbers(reader, &mut instances)?;
    take_places(reader, &mut instances)?;
    take_contents(reader, &mut instances)?;
    Some(instances)
}

fn take_places(reader: &mut Reader<'_>, instances: &mut [ManifestInstance]) -> Option<()> {
    // Offsets are differences from ends, and lengths come after them: keep the differences until lengths are known.
    let mut gaps = Vec::with_capacity(instances.len());
    for _ in instances.iter() {
        gaps.push(take_difference(reader, 0)?);
    }
    let mut last = 0;
    let mut end = 0_u128;
    for (instance, gap) in instances.iter_mut().zip(gaps) {
        last = take_difference(reader, last)?;
        instance.bytes = last.try_into().ok()?;
        instance.offset = end.wrapping_add(gap).try_into().ok()?;
        end = u128::from(instance.offset) + u128::from(instance.bytes);
    }
    for instance in instances {
        instance.crc32c = reader.u32()?;
    }
    Some(())
}

fn take_contents(reader: &mut Reader<'_>, instances: &mut [ManifestInstance]) -> Option<()> {
    let mut last = 0;
    for instance in instances.iter_mut() {
        last = take_difference(reader, last)?;
        instance.pixel_data = last.try_into().ok()?;
    }
    for instance in instances.iter_mut() {
        instance.frame_table = match reader.u8()? {
            0 => None,
            1 => Some(Extent::take(reader)?),
            _ => return None,
        };
    }
    let mut last = 0;
    for instance in instances {
        last = take_signed(reader, last)?;
        instance.received_millis = last;
    }
    Some(())
}

#[cfg(test)]
mod tests;
