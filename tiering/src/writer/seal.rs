//! Sealing: tail row, tails, fsync, names, reading back. Each step is done on all shards before the next begins, so that
//! a crash leaves temporary files or whole shards, and one of those has the table of contents.

use std::sync::{Arc, PoisonError};

use tracing::debug;

use super::staged::{Body, Staged};
use super::{ContainerWriter, Sealed, on_all, on_each};
use crate::device::calls::Pulse;
use crate::shard::FIRST_GENERATION;
use crate::shard::footer::Geometry;
use crate::store::verify::is_as_written;
use crate::{Error, Toc};
use disk::crc32c;

/// Compression of the table of contents.
const ZSTD_LEVEL: i32 = 6;

/// Seals a container as [`ContainerWriter::seal`] says.
pub(super) fn seal(mut writer: ContainerWriter, toc: &Toc) -> Result<Sealed, Error> {
    let raw = toc.encode()?;
    let stored = zstd::bulk::compress(&raw, ZSTD_LEVEL)
        .map_err(|_| Error::Malformed { what: "table of contents", reason: "it cannot be compressed" })?;
    let geometry = writer.guarded(|writer| spread(writer, &raw, &stored))?;
    Ok(keep(writer, &geometry))
}

/// Writes what follows the units, waits for the devices, names the files and reads them back.
fn spread(writer: &mut ContainerWriter, raw: &[u8], stored: &[u8]) -> Result<Geometry, Error> {
    let geometry = write_out(writer, raw, stored)?;
    publish(writer)?;
    read_back(writer, &geometry)?;
    Ok(geometry)
}

/// Writes what follows the units and waits for the devices.
fn write_out(writer: &mut ContainerWriter, raw: &[u8], stored: &[u8]) -> Result<Geometry, Error> {
    write_last_row(writer)?;
    let hashes: Vec<u8> = writer.shards.iter().flat_map(Staged::hash).collect();
    let geometry = geometry(writer, raw, stored, &hashes);
    let tail: Arc<(Vec<u8>, Vec<u8>)> = Arc::new((hashes, stored.to_vec()));
    on_all(&mut writer.shards, |_| {
        let tail = Arc::clone(&tail);
        move |body: &mut Body, pulse: &Pulse| body.finish(&geometry, &tail.0, &tail.1, pulse)
    })?;
    Ok(geometry)
}

/// Gives the shards their names: those with a table of contents first, so that whatever a crash leaves says what it is. Without
/// one a few shards could not be told from the rest of a container that was lost.
fn publish(writer: &mut ContainerWriter) -> Result<(), Error> {
    let code = writer.code;
    let (carriers, others): (Vec<_>, Vec<_>) =
        writer.shards.iter_mut().partition(|shard| code.carries_toc(shard.number));
    for shards in [carriers, others] {
        on_each(shards, |_| Body::publish)?;
    }
    Ok(())
}

/// Writes what does not fill a row, spread evenly over the shards.
fn write_last_row(writer: &mut ContainerWriter) -> Result<(), Error> {
    let rest = writer.logical_bytes % writer.layout.row_bytes();
    if rest == 0 {
        return Ok(());
    }
    let unit_bytes = writer.layout.last_unit_bytes(rest);
    let bytes = writer.data.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>().concat();
    let mut units = bytes.chunks(usize::try_from(unit_bytes).expect("units are at most 64 MiB"));
    for unit in &mut writer.data {
        unit.clear();
        unit.extend(units.next().unwrap_or_default());
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
            let shard = (id, body.number);
            let same = is_as_written(&body.path, shard, erasure, &geometry, &body.table, pulse);
            Ok((body.number, same.unwrap_or(false)))
        }
    })?;
    let shards: Vec<u8> = verdicts.into_iter().filter(|(_, same)| !same).map(|(number, _)| number).collect();
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
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::shard::name;
    use crate::{CodeProfile, PoolConfig, Store, StoreOptions, Tier};

    /// A container of one pool with some bytes, and where its shards will be.
    fn begun(home: &Path, code: &str) -> (ContainerWriter, Vec<PathBuf>) {
        let code: CodeProfile = code.parse().unwrap();
        let devices = (0..code.shards()).map(|number| home.join(number.to_string())).collect();
        let pool = PoolConfig { name: "hot".to_owned(), tier: Tier::Hot, code, devices };
        let store = Store::open(vec![pool], StoreOptions::default()).unwrap();
        let mut writer = store.create(Tier::Hot, 1_000).unwrap();
        writer.append(&[7; 1_000]).unwrap();
        let paths = writer.shards.iter().map(|s| name::path(s.device.path(), writer.id, s.number)).collect();
        (writer, paths)
    }

    #[test]
    fn shards_with_a_table_of_contents_have_their_names_first() {
        let home = tempfile::tempdir().unwrap();
        let (mut writer, paths) = begun(home.path(), "4+2");
        // The name of the last one is taken, so it cannot be given.
        fs::create_dir_all(paths[5].parent().unwrap()).unwrap();
        fs::write(&paths[5], "taken").unwrap();
        let toc = Toc::default().encode().unwrap();
        let stored = zstd::bulk::compress(&toc, ZSTD_LEVEL).unwrap();
        let geometry = write_out(&mut writer, &toc, &stored).unwrap();
        assert!(geometry.code.carries_toc(5));
        publish(&mut writer).unwrap_err();
        let named: Vec<usize> = (0..5).filter(|number| paths[*number].exists()).collect();
        assert_eq!(named, [0, 4], "a crash here leaves what says what it is");
    }

    #[test]
    fn what_does_not_read_back_is_told() {
        let home = tempfile::tempdir().unwrap();
        let (mut writer, paths) = begun(home.path(), "2+1");
        let toc = Toc::default().encode().unwrap();
        let stored = zstd::bulk::compress(&toc, ZSTD_LEVEL).unwrap();
        let geometry = spread(&mut writer, &toc, &stored).unwrap();
        // Header, units, and every byte of what follows them: checksums, hashes, table of contents, footer.
        let whole = fs::read(&paths[2]).unwrap();
        let tail = usize::try_from(geometry.table_offset()).unwrap();
        for at in [0, 40, 100, 4_095, 4_096, 5_000, tail - 1].into_iter().chain(tail..whole.len()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&paths[2], bytes).unwrap();
            let told = read_back(&mut writer, &geometry);
            assert!(matches!(told, Err(Error::ReadBack { shards, .. }) if shards == [2]), "{at} of {}", whole.len());
        }
        fs::write(&paths[2], &whole[..whole.len() - 1]).unwrap();
        read_back(&mut writer, &geometry).unwrap_err();
        fs::write(&paths[2], &whole).unwrap();
        read_back(&mut writer, &geometry).unwrap();
        fs::copy(&paths[0], &paths[1]).unwrap();
        fs::remove_file(&paths[2]).unwrap();
        let told = read_back(&mut writer, &geometry);
        assert!(matches!(told, Err(Error::ReadBack { shards, .. }) if shards == [1, 2]));
    }
}
