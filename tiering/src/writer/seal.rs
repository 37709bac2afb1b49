//! Sealing: tail row, tails, fsync, names, reading back. Each step is done on all shards before the next begins, so that
//! a crash leaves temporary files or whole shards.

use std::sync::{Arc, PoisonError};

use tracing::debug;

use super::staged::{Body, Staged};
use super::{ContainerWriter, Sealed, on_all};
use crate::checksum::crc32c;
use crate::device::calls::Pulse;
use crate::shard::FIRST_GENERATION;
use crate::shard::footer::Geometry;
use crate::store::verify::{Verdict, examine_here};
use crate::{Error, Toc};

/// Compression of the table of contents.
const ZSTD_LEVEL: i32 = 6;

/// Seals a container as [`ContainerWriter::seal`] says.
pub(super) fn seal(mut writer: ContainerWriter, toc: Toc) -> Result<Sealed, Error> {
    let raw = toc.encode()?;
    let stored = zstd::bulk::compress(&raw, ZSTD_LEVEL)
        .map_err(|_| Error::Malformed { what: "table of contents", reason: "it cannot be compressed" })?;
    let geometry = writer.guarded(|writer| spread(writer, &raw, &stored))?;
    writer.store.cache.put_toc(writer.id, Arc::new(toc));
    Ok(keep(writer, &geometry))
}

/// Writes what follows the units, waits for the devices, names the files and reads them back.
fn spread(writer: &mut ContainerWriter, raw: &[u8], stored: &[u8]) -> Result<Geometry, Error> {
    write_last_row(writer)?;
    let hashes: Vec<u8> = writer.shards.iter().flat_map(Staged::hash).collect();
    let geometry = geometry(writer, raw, stored, &hashes);
    let tail: Arc<(Vec<u8>, Vec<u8>)> = Arc::new((hashes, stored.to_vec()));
    on_all(&mut writer.shards, |_| {
        let tail = Arc::clone(&tail);
        move |body: &mut Body, pulse: &Pulse| body.finish(&geometry, &tail.0, &tail.1, pulse)
    })?;
    on_all(&mut writer.shards, |_| Body::publish)?;
    read_back(writer, &geometry)?;
    Ok(geometry)
}

/// Writes what does not fill a row, spread evenly over the shards.
fn write_last_row(writer: &mut ContainerWriter) -> Result<(), Error> {
    let rest = writer.logical_bytes % writer.layout.row_bytes();
    if rest == 0 {
        return Ok(());
    }
    let unit_bytes = writer.layout.last_unit_bytes(rest);
    let bytes = writer.data.concat();
    let mut units = bytes.chunks(usize::try_from(unit_bytes).expect("units are at most 64 MiB"));
    for unit in &mut writer.data {
        unit.clear();
        unit.extend_from_slice(units.next().unwrap_or_default());
    }
    writer.write_row(unit_bytes)
}

fn geometry(writer: &ContainerWriter, raw: &[u8], stored: &[u8], hashes: &[u8]) -> Geometry {
    let length = |bytes: &[u8]| u64::try_from(bytes.len()).expect("a usize has at most 64 bits");
    Geometry {
        container: writer.id,
        generation: FIRST_GENERATION,
        code: writer.code,
        logical_bytes: writer.logical_bytes,
        region_bytes: writer.layout.region_bytes(writer.logical_bytes),
        unit_bytes: u32::try_from(writer.layout.unit_bytes()).expect("units are at most 64 MiB"),
        hashes_crc: crc32c(hashes),
        toc_crc: crc32c(stored),
        toc_bytes: length(stored),
        toc_raw_bytes: length(raw),
    }
}

/// Reads every shard from its device and compares all of it with what was meant to be written.
fn read_back(writer: &mut ContainerWriter, geometry: &Geometry) -> Result<(), Error> {
    let (id, pool, geometry) = (writer.id, writer.pool, *geometry);
    let verdicts = on_all(&mut writer.shards, |_| {
        let store = Arc::clone(&writer.store);
        move |body: &mut Body, pulse: &Pulse| {
            let erasure = &store.pools.get(pool).ok_or(Error::Missing { container: id })?.erasure;
            let examined = examine_here(&body.path, id, body.number, erasure, Some(&geometry), pulse);
            Ok((body.number, examined.verdict))
        }
    })?;
    let shards: Vec<u8> =
        verdicts.into_iter().filter(|(_, verdict)| *verdict != Verdict::Healthy).map(|(number, _)| number).collect();
    if shards.is_empty() { Ok(()) } else { Err(Error::ReadBack { container: id, shards }) }
}

/// Makes the container known.
fn keep(mut writer: ContainerWriter, geometry: &Geometry) -> Sealed {
    let places: Vec<_> = writer.shards.iter().map(|shard| (shard.number, shard.device_id)).collect();
    let mut catalog = writer.store.catalog.write().unwrap_or_else(PoisonError::into_inner);
    for (number, device) in &places {
        catalog.add(writer.pool, *device, writer.id, *number);
    }
    drop(catalog);
    writer.shards.iter_mut().for_each(Staged::keep);
    let stored_bytes = places.iter().map(|(number, _)| geometry.file_bytes(*number)).sum();
    let pool = writer.store.pools.get(writer.pool).map(|pool| pool.config.name.clone()).unwrap_or_default();
    debug!(container = %writer.id, pool, logical_bytes = geometry.logical_bytes, stored_bytes, "container sealed");
    Sealed {
        id: writer.id,
        pool,
        code: writer.code,
        logical_bytes: geometry.logical_bytes,
        stored_bytes,
        shards: places,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::shard::name;
    use crate::{PoolConfig, Store, StoreOptions, Tier};

    /// Seals step by step and harms a shard's file before it is read back.
    fn read_back_after(harm: impl Fn(&PathBuf)) -> Result<(), Error> {
        let home = tempfile::tempdir().unwrap();
        let devices = (0..3).map(|number| home.path().join(number.to_string())).collect();
        let code = "2+1".parse().unwrap();
        let pool = PoolConfig { name: "hot".to_owned(), tier: Tier::Hot, code, devices };
        let store = Store::open(vec![pool], StoreOptions::default()).unwrap();
        let mut writer = store.create(Tier::Hot, 1_000).unwrap();
        writer.append(&[7; 1_000]).unwrap();
        let toc = Toc::default().encode().unwrap();
        let stored = zstd::bulk::compress(&toc, ZSTD_LEVEL).unwrap();
        let geometry = spread(&mut writer, &toc, &stored).unwrap();
        harm(&name::path(writer.shards[2].device.path(), writer.id, 2));
        read_back(&mut writer, &geometry)
    }

    #[test]
    fn what_does_not_read_back_is_told() {
        let flip = |path: &PathBuf| {
            let mut bytes = fs::read(path).unwrap();
            bytes[5_000] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        let remove = |path: &PathBuf| fs::remove_file(path).unwrap();
        assert!(read_back_after(|_| ()).is_ok());
        for error in [read_back_after(flip), read_back_after(remove)] {
            assert!(matches!(error, Err(Error::ReadBack { shards, .. }) if shards == [2]));
        }
    }
}
