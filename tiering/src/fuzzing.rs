//! Entry points of the fuzz targets: what reads the tables of a container.

use std::sync::Arc;

use bytes::Bytes;

use crate::shard::footer::{Footer, TAIL_BYTES};
use crate::toc::manifest::{Extent, InstanceKind, Manifest, ManifestInstance};
use crate::toc::{Toc, TocSegment};
use disk::crc32c;

/// Where a footer's checksum stands in its bytes.
const FOOTER_CRC: std::ops::Range<usize> = 80..84;

/// Reads a table of contents, a manifest or a footer, as the first byte says. Checksums are put right first:
/// damage that a checksum finds is not what is looked for.
pub fn toc(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 3 {
        0 => table(bytes),
        1 => manifest(bytes),
        _ => footer(bytes),
    }
}

/// Returns bytes to begin with.
pub fn toc_seeds() -> Vec<Vec<u8>> {
    let manifest = Manifest { instances: (0..5).map(instance).collect() };
    let segment = TocSegment {
        study_instance_uid: "1.2.3".to_owned(),
        series_instance_uid: "1.2.3.4".to_owned(),
        summary: Bytes::from_static(b"{\"study\":{}}"),
        metadata: Extent { offset: 1 << 20, bytes: 77, crc32c: 1 },
        manifest: manifest.clone(),
    };
    let toc = Toc { segments: vec![segment.clone(), segment] }.encode().unwrap_or_default();
    let mut manifest = manifest.encode();
    manifest.truncate(manifest.len().saturating_sub(4)); // the checksum is put there
    let mut few = Manifest { instances: vec![instance(1)] }.encode();
    few.truncate(few.len().saturating_sub(4));
    vec![[&[0][..], &toc].concat(), [&[1][..], &manifest].concat(), [&[1][..], &few].concat(), vec![2; TAIL_BYTES + 1]]
}

fn table(bytes: &[u8]) {
    if let Ok(toc) = Toc::decode(bytes) {
        let again = toc.encode().and_then(|bytes| Toc::decode(&bytes));
        assert_eq!(again.ok().as_ref(), Some(&toc), "another table of contents came back");
    }
}

fn manifest(bytes: &[u8]) {
    let bytes = [bytes, &crc32c(bytes).to_le_bytes()].concat();
    if let Ok(manifest) = Manifest::decode(&bytes) {
        let again = Manifest::decode(&manifest.encode());
        assert_eq!(again.ok().as_ref(), Some(&manifest), "another manifest came back");
    }
}

fn footer(bytes: &[u8]) {
    let Some(mut tail) = bytes.first_chunk::<TAIL_BYTES>().copied() else {
        return;
    };
    tail[..8].copy_from_slice(b"FRFOOTER");
    let crc = crc32c(&tail[..FOOTER_CRC.start]);
    tail[FOOTER_CRC].copy_from_slice(&crc.to_le_bytes());
    tail[84..88].copy_from_slice(&84_u32.to_le_bytes());
    tail[88..92].copy_from_slice(&u32::from(crate::shard::FORMAT_VERSION).to_le_bytes());
    tail[92..].copy_from_slice(b"FRSHEND1");
    if let Ok(footer) = Footer::decode(&tail) {
        assert_eq!(footer.encode(), tail, "another footer is written");
        assert!(footer.geometry.file_bytes(footer.shard) >= footer.geometry.table_offset());
    }
}

fn instance(number: i32) -> ManifestInstance {
    let kind = InstanceKind {
        sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".to_owned(),
        transfer_syntax_uid: "1.2.840.10008.1.2.1".to_owned(),
        encoding: 0,
        detail: Bytes::from_static(b"{}"),
    };
    ManifestInstance {
        sop_instance_uid: format!("1.2.3.4.{number}"),
        number: Some(number),
        offset: 1_000 * u64::from(number.unsigned_abs()),
        bytes: 1_000,
        crc32c: number.unsigned_abs(),
        pixel_data: 400,
        frame_table: None,
        received_millis: 1_700_000_000_000,
        kind: Arc::new(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_tables_are_refused_or_read() {
        // IH-011
        let cases = std::env::var("FILMROOM_HOSTILE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
        let seeds = toc_seeds();
        for seed in &seeds {
            toc(seed);
        }
        for seed in 0..cases {
            let mut bytes = seeds[usize::try_from(seed).unwrap() % seeds.len()].clone();
            testdata::damage(&mut bytes, seed);
            toc(&bytes);
        }
    }
}
