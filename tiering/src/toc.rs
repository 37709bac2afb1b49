//! The table of contents of a container: enough to serve everything in it without a database.
//!
//! Stored form, before zstd; numbers are LEB128 unless a width is given, *bytes* is a length and that many bytes:
//!
//! | what | form |
//! |---|---|
//! | format version | 1 byte, 1 |
//! | number of segments | number |
//! | each: Study Instance UID | bytes |
//! | each: Series Instance UID | bytes |
//! | each: summary | bytes, opaque here |
//! | each: metadata extent | offset, length, CRC32C (4 bytes) |
//! | each: manifest | bytes, as module `manifest` says |

pub(crate) mod column;
pub(crate) mod manifest;

use bytes::Bytes;

use crate::Error;
use crate::shard::footer::TOC_BYTES_MAX;
use crate::wire::{Reader, put_bytes, put_varint};
use manifest::{Extent, Manifest};

const VERSION: u8 = 1;

/// Table of contents of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Toc {
    /// Series parts in the order of their bytes.
    pub segments: Vec<TocSegment>,
}

/// What a container holds of one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TocSegment {
    /// Study Instance UID (0020,000D).
    pub study_instance_uid: String,
    /// Series Instance UID (0020,000E).
    pub series_instance_uid: String,
    /// What the archive needs to rebuild its index rows; opaque here.
    pub summary: Bytes,
    /// Where the series' metadata block lies in the container.
    pub metadata: Extent,
    /// Its instances.
    pub manifest: Manifest,
}

impl Toc {
    /// Returns the stored form before compression.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut out = vec![VERSION];
        put_varint(&mut out, u128::try_from(self.segments.len()).expect("a usize has at most 64 bits"));
        for segment in &self.segments {
            put_bytes(&mut out, segment.study_instance_uid.as_bytes());
            put_bytes(&mut out, segment.series_instance_uid.as_bytes());
            put_bytes(&mut out, &segment.summary);
            segment.metadata.put(&mut out);
            put_bytes(&mut out, &segment.manifest.encode());
        }
        let fits = u64::try_from(out.len()).is_ok_and(|bytes| bytes <= TOC_BYTES_MAX);
        fits.then_some(out)
            .ok_or(Error::Malformed { what: "table of contents", reason: "it is too long for one container" })
    }

    /// Reads the stored form after decompression.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = |reason| Error::Malformed { what: "table of contents", reason };
        let mut reader = Reader::new(bytes);
        if reader.u8() != Some(VERSION) {
            return Err(malformed("its version is not known"));
        }
        let count: u64 = reader.number().ok_or(malformed("it ends early"))?;
        let mut segments = Vec::new(); // grows with bytes that are there, not with the count that is claimed
        for _ in 0..count {
            segments.push(segment(&mut reader)?.ok_or(malformed("it ends early"))?);
        }
        reader.rest().is_empty().then_some(Self { segments }).ok_or(malformed("it has bytes after its end"))
    }
}

/// Reads one segment; `None` if the bytes end early.
fn segment(reader: &mut Reader<'_>) -> Result<Option<TocSegment>, Error> {
    let Some((study, series, summary, metadata, manifest)) = fields(reader) else {
        return Ok(None);
    };
    Ok(Some(TocSegment {
        study_instance_uid: study.to_owned(),
        series_instance_uid: series.to_owned(),
        summary: Bytes::copy_from_slice(summary),
        metadata,
        manifest: Manifest::decode(manifest)?,
    }))
}

/// Fields of one segment as they lie in the bytes.
type Fields<'a> = (&'a str, &'a str, &'a [u8], Extent, &'a [u8]);

fn fields<'a>(reader: &mut Reader<'a>) -> Option<Fields<'a>> {
    Some((reader.text()?, reader.text()?, reader.bytes()?, Extent::take(reader)?, reader.bytes()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn toc() -> Toc {
        let metadata = Extent { offset: 1 << 40, bytes: 77, crc32c: 0xdead_beef };
        let segment = TocSegment {
            study_instance_uid: "1.2.3".to_owned(),
            series_instance_uid: "1.2.3.4".to_owned(),
            summary: Bytes::from_static(b"\0opaque"),
            metadata,
            manifest: Manifest { instances: Vec::new() },
        };
        Toc { segments: vec![segment.clone(), segment] }
    }

    #[test]
    fn tocs_round_trip() {
        assert_eq!(Toc::decode(&toc().encode().unwrap()).unwrap(), toc());
        assert_eq!(Toc::decode(&Toc::default().encode().unwrap()).unwrap(), Toc::default());
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = toc().encode().unwrap();
        for end in 0..bytes.len() {
            assert!(Toc::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        assert!(Toc::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            prop_assert!(Toc::decode(&bytes).is_ok() || Toc::decode(&bytes).is_err());
        }
    }
}
