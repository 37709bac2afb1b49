//! Instances of any length that are made while they are sent.

use std::io::{self, Read};

use anyhow::{Context, ensure};
use testdata::{Instance, StudySpec};

use crate::association::Kind;

/// CT Image Storage, Explicit VR Little Endian.
pub(super) const CT: Kind = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1");
/// Rows and columns of the small instance that a long one is made of.
const SIDE: u16 = 16;
/// Bytes of its pixels.
const PIXEL_BYTES: usize = 512;

/// An instance whose pixel data are as long as wanted.
#[derive(Debug, Clone)]
pub(super) struct Long {
    pub(super) instance: Instance,
    header: Vec<u8>,
    pixel_bytes: u32,
}

impl Long {
    /// Returns the instances of a study, each of about `bytes`.
    pub(super) fn study(seed: u64, instances: u32, bytes: u64) -> anyhow::Result<Vec<Self>> {
        small(seed, instances).map(|instance| Self::new(instance, bytes)).collect()
    }

    fn new(instance: Instance, bytes: u64) -> anyhow::Result<Self> {
        // Tag (7FE0,0010), OW and two reserved bytes, then the length in four bytes (PS3.5 §7.1.2).
        let at = instance.data_set.len().checked_sub(PIXEL_BYTES + 12).context("make a long instance")?;
        let mut header = instance.data_set.get(..at + 8).context("make a long instance")?.to_vec();
        ensure!(header.ends_with(b"\xE0\x7F\x10\x00OW\0\0"), "a generated instance ends with other than its pixels");
        let pixel_bytes = u32::try_from(bytes).context("instances end below 4 GiB")? & !1;
        header.extend_from_slice(&pixel_bytes.to_le_bytes());
        Ok(Self { instance, header, pixel_bytes })
    }

    pub(super) fn bytes(&self) -> u64 {
        u64::try_from(self.header.len()).unwrap_or(u64::MAX) + u64::from(self.pixel_bytes)
    }

    pub(super) fn data_set(&self) -> impl Read {
        let pixels = io::repeat(7).take(u64::from(self.pixel_bytes));
        io::Cursor::new(&self.header).chain(pixels)
    }
}

/// Returns the instances of a study of small slices.
pub(super) fn small(seed: u64, instances: u32) -> impl Iterator<Item = Instance> {
    testdata::study(StudySpec {
        seed,
        instances_per_series: instances,
        rows: SIDE,
        columns: SIDE,
        ..Default::default()
    })
}
