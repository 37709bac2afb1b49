//! The bytes of one journal record, format v1: pure, no I/O.
//!
//! Everything is little endian. A record begins at a multiple of 8 and never straddles two
//! segments.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `FRJREC1\n`; the digit is the version |
//! | 8 | 8 | epoch: the segment's number mixed with the journal's id |
//! | 16 | 8 | LSN of this record |
//! | 24 | 8 | durable: every record that ends here or before was durable when this one was written |
//! | 32 | 8 | bytes of the payload |
//! | 40 | 8 | time of arrival, milliseconds since 1970 (signed) |
//! | 48 | 16 | UUID of the large file, zeros if the payload follows the head |
//! | 64 | 4 | bytes of the head: this table, the fields and their padding |
//! | 68 | 4 | CRC-32C of the payload |
//! | 72 | 4 | flags: bit 0 = the payload is a large file; others are 0 |
//! | 76 | 4 | CRC-32C of the head without these four bytes |
//! | 80 | | study, series, SOP instance, SOP class, transfer syntax UID, calling and called AE: each one length byte, then text |
//! | | 0-7 | zeros up to a multiple of 8 |
//! | head bytes | | payload, unless large; zeros up to a multiple of 8 |
//!
//! A header parses only at its own LSN and in its own epoch. So bytes that an earlier life of a
//! recycled segment left behind never parse, nor does a copy of a journal inside a payload.

use bytes::Bytes;
use uuid::Uuid;

use crate::random::mix;
use crate::record::{Lsn, RecordHead, RecordRef};
use dicom_data::Uid;

/// First bytes of every record.
pub(crate) const MAGIC: [u8; 8] = *b"FRJREC1\n";
/// Records and payloads begin at multiples of this.
pub(crate) const ALIGN_BYTES: u64 = 8;
/// Bytes of a head before its fields.
const FIXED_BYTES: usize = 80;
/// Where the CRC of the head lies.
const HEAD_CRC_AT: usize = 76;
/// Longest field: a UID has 64 characters (PS3.5 §9.1); an AE title has 16, and more is tolerated.
pub(crate) const FIELD_BYTES_MAX: usize = 64;
/// Number of fields.
const FIELDS: usize = 7;
/// Longest head.
pub(crate) const HEAD_BYTES_MAX: usize = (FIXED_BYTES + FIELDS * (1 + FIELD_BYTES_MAX)).next_multiple_of(8);
/// Flag: the payload is a large file.
const FLAG_LARGE: u32 = 1;

const _: () = assert!(FIXED_BYTES.is_multiple_of(8) && HEAD_CRC_AT + 4 == FIXED_BYTES);
const _: () = assert!(HEAD_BYTES_MAX == 536 && FIELD_BYTES_MAX <= 255);

/// A record's head, read or to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Where the record lies and its lengths.
    pub(crate) placed: Placed,
    /// What was received with the instance.
    pub(crate) head: RecordHead,
}

/// The part of a head that recovery needs: small, because a segment can have a million records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Position of the record.
    pub(crate) lsn: Lsn,
    /// What was durable when it was written.
    pub(crate) durable: Lsn,
    /// Bytes of the payload.
    pub(crate) payload_bytes: u64,
    /// CRC-32C of the payload.
    pub(crate) crc32c: u32,
    /// Name of the large file.
    pub(crate) large: Option<Uuid>,
    /// Bytes before the payload.
    pub(crate) head_bytes: u32,
}

impl Placed {
    /// Returns the bytes the record takes in its segment.
    pub(crate) fn record_bytes(&self) -> u64 {
        let inline = if self.large.is_some() { 0 } else { self.payload_bytes };
        // A parsed length can be anything: saturation makes it too long for every segment.
        u64::from(self.head_bytes).saturating_add(inline.checked_next_multiple_of(ALIGN_BYTES).unwrap_or(u64::MAX))
    }

    /// Returns where the record ends.
    pub(crate) fn end(&self) -> Lsn {
        Lsn(self.lsn.0.saturating_add(self.record_bytes()))
    }

    /// Returns the reference by which the record is read.
    pub(crate) fn record_ref(&self) -> RecordRef {
        RecordRef {
            lsn: self.lsn,
            head_bytes: self.head_bytes,
            payload_bytes: self.payload_bytes,
            crc32c: self.crc32c,
            large: self.large.is_some(),
        }
    }
}

/// Returns the CRC-32C of `bytes`.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    disk::crc32c(bytes)
}

/// Returns a length in memory as bytes at rest.
pub(crate) fn len64(len: usize) -> u64 {
    u64::try_from(len).expect("a usize fits 64 bits")
}

/// Returns the epoch of a segment: a bijection of its number, salted with the journal's id so that
/// segments of two journals do not parse as one another.
pub(crate) fn epoch(journal: Uuid, segment: u64) -> u64 {
    let (high, low) = journal.as_u64_pair();
    mix(mix(segment ^ high) ^ low)
}

fn fields(head: &RecordHead) -> [&str; FIELDS] {
    [
        head.study_instance_uid.as_str(),
        head.series_instance_uid.as_str(),
        head.sop_instance_uid.as_str(),
        head.sop_class_uid.as_str(),
        head.transfer_syntax_uid.as_str(),
        &head.calling_ae,
        &head.called_ae,
    ]
}

/// Returns the bytes the head will take, or nothing if a field is too long.
pub(crate) fn head_bytes(head: &RecordHead) -> Option<u32> {
    let mut bytes = FIXED_BYTES;
    for field in fields(head) {
        if field.len() > FIELD_BYTES_MAX {
            return None;
        }
        bytes += 1 + field.len();
    }
    u32::try_from(bytes.next_multiple_of(8)).ok()
}

/// Writes a head whose fields `head_bytes` has accepted.
pub(crate) fn encode(header: &Header, epoch: u64) -> Bytes {
    let placed = &header.placed;
    let mut out = Vec::with_capacity(HEAD_BYTES_MAX);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&epoch.to_le_bytes());
    out.extend_from_slice(&placed.lsn.0.to_le_bytes());
    out.extend_from_slice(&placed.durable.0.to_le_bytes());
    out.extend_from_slice(&placed.payload_bytes.to_le_bytes());
    out.extend_from_slice(&header.head.received_millis.to_le_bytes());
    out.extend_from_slice(placed.large.unwrap_or_default().as_bytes());
    out.extend_from_slice(&placed.head_bytes.to_le_bytes());
    out.extend_from_slice(&placed.crc32c.to_le_bytes());
    let flags = if placed.large.is_some() { FLAG_LARGE } else { 0 };
    out.extend_from_slice(&flags.to_le_bytes());
    debug_assert_eq!(out.len(), HEAD_CRC_AT);
    let mut rest = Vec::with_capacity(HEAD_BYTES_MAX);
    for field in fields(&header.head) {
        rest.push(u8::try_from(field.len()).expect("head_bytes has checked the length"));
        rest.extend_from_slice(field.as_bytes());
    }
    rest.resize(rest.len().next_multiple_of(8), 0);
    out.extend_from_slice(&head_crc(&out, &rest).to_le_bytes());
    out.extend_from_slice(&rest);
    out.into()
}

fn head_crc(before: &[u8], after: &[u8]) -> u32 {
    let mut digest = disk::Crc32c::default();
    digest.update(before);
    digest.update(after);
    digest.finish()
}

/// Reads the head that `bytes` begins with; nothing if it is not the record of that epoch at `lsn`,
/// whole.
///
/// `bytes` may be longer than the head; [`HEAD_BYTES_MAX`] always suffice.
pub(crate) fn decode(bytes: &[u8], epoch: u64, lsn: Lsn) -> Option<Header> {
    let mut fixed = Cursor(bytes);
    if fixed.take()? != MAGIC || fixed.u64()? != epoch || fixed.u64()? != lsn.0 {
        return None;
    }
    let durable = Lsn(fixed.u64()?);
    let payload_bytes = fixed.u64()?;
    let received_millis = i64::from_le_bytes(fixed.take()?);
    let large = Uuid::from_bytes(fixed.take()?);
    let head_bytes = fixed.u32()?;
    let payload_crc = fixed.u32()?;
    let flags = fixed.u32()?;
    let stored_crc = fixed.u32()?;
    let whole = bytes.get(..usize::try_from(head_bytes).ok()?)?;
    let rest = whole.get(FIXED_BYTES..)?;
    if head_crc(whole.get(..HEAD_CRC_AT)?, rest) != stored_crc || flags & !FLAG_LARGE != 0 {
        return None;
    }
    let mut rest = Cursor(rest);
    let head = RecordHead {
        study_instance_uid: rest.uid()?,
        series_instance_uid: rest.uid()?,
        sop_instance_uid: rest.uid()?,
        sop_class_uid: rest.uid()?,
        transfer_syntax_uid: rest.uid()?,
        calling_ae: rest.text()?.to_owned(),
        called_ae: rest.text()?.to_owned(),
        received_millis,
    };
    let large = (flags & FLAG_LARGE != 0).then_some(large);
    Some(Header { placed: Placed { lsn, durable, payload_bytes, crc32c: payload_crc, large, head_bytes }, head })
}

/// Reads fields one after the other; nothing once the bytes are used up.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let [len] = self.take()?;
        let (text, rest) = self.0.split_at_checked(usize::from(len))?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn uid(&mut self) -> Option<Uid> {
        self.text()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(lsn: u64, payload_bytes: u64, calling: &str) -> Header {
        let head = RecordHead {
            study_instance_uid: "1.2.3".parse().unwrap(),
            series_instance_uid: "1.2.3.4".parse().unwrap(),
            sop_instance_uid: "1.2.3.4.5".parse().unwrap(),
            sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".parse().unwrap(),
            transfer_syntax_uid: "1.2.840.10008.1.2.1".parse().unwrap(),
            calling_ae: calling.to_owned(),
            called_ae: "FILMROOM".to_owned(),
            received_millis: -1,
        };
        let head_bytes = head_bytes(&head).unwrap();
        let large = lsn.is_multiple_of(2).then(|| Uuid::from_u128(7));
        let placed = Placed { lsn: Lsn(lsn), durable: Lsn(lsn / 2), payload_bytes, crc32c: 9, large, head_bytes };
        Header { placed, head }
    }

    proptest! {
        #[test]
        fn heads_come_back_and_damage_never_parses(
            lsn in any::<u64>(), payload in any::<u64>(), calling in "[A-Z_]{0,64}", flip in any::<usize>(), epoch in any::<u64>(),
        ) {
            let header = header(lsn, payload, &calling);
            let bytes = encode(&header, epoch);
            prop_assert_eq!(bytes.len(), usize::try_from(header.placed.head_bytes).unwrap());
            prop_assert_eq!(decode(&bytes, epoch, header.placed.lsn), Some(header.clone()));
            prop_assert_eq!(decode(&bytes, epoch ^ 1, header.placed.lsn), None, "another epoch");
            prop_assert_eq!(decode(&bytes, epoch, Lsn(lsn ^ 8)), None, "another place");
            let mut damaged = bytes.to_vec();
            let bit = flip % (damaged.len() * 8);
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode(&damaged, epoch, header.placed.lsn), None, "bit {}", bit);
            prop_assert_eq!(decode(&bytes[..bit / 8], epoch, header.placed.lsn), None, "cut at {}", bit / 8);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), epoch in any::<u64>()) {
            let mut bytes = bytes;
            let magic = MAGIC.len().min(bytes.len());
            bytes[..magic].copy_from_slice(&MAGIC[..magic]);
            prop_assert_eq!(decode(&bytes, epoch, Lsn(0)), None);
        }
    }

    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283); // RFC 3720 names the polynomial, this is its check value
    }

    #[test]
    fn fields_that_do_not_fit_are_refused() {
        let mut header = header(0, 0, "");
        header.head.called_ae = "A".repeat(FIELD_BYTES_MAX + 1);
        assert_eq!(head_bytes(&header.head), None);
    }

    #[test]
    fn no_two_segments_share_an_epoch() {
        let journal = Uuid::from_u128(0x0123_4567_89AB_CDEF_0011_2233_4455_6677);
        let epochs: std::collections::HashSet<u64> = (0..10_000).map(|n| epoch(journal, n)).collect();
        assert_eq!(epochs.len(), 10_000);
        assert_ne!(epoch(journal, 1), epoch(Uuid::from_u128(1), 1));
    }
}
