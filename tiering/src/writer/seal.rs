//! Sealing: tail row, tails, fsync, names, reading back. Each step is done on all shards before the next begins, so that
//! a crash leaves temporary files or whole shards, and one of those has the table of contents.

use std::sync::Arc;

use super::rows::Rows;
use super::staged::{Body, Staged, on_all, on_each};
use crate::device::io_threads::Heartbeat;
use crate::shard::FIRST_GENERATION;
use crate::shard::footer::Geometry;
use crate::{Error, Toc};
use disk::crc32c;

/// Compression of the table of contents.
const ZSTD_LEVEL: i32 = 6;

/// A table of contents as it is stored.
pub(super) struct StoredToc {
    raw_bytes: usize,
    stored: Vec<u8>,
}

impl StoredToc {
    pub(super) fn new(toc: &Toc) -> Result<Self, Error> {
        let raw = toc.encode()?;
        let stored = zstd::bulk::compress(&raw, ZSTD_LEVEL)
            .map_err(|_| Error::Malformed { what: "table of contents", reason: "it cannot be compressed" })?;
        Ok(Self { raw_bytes: raw.len(), stored })
    }
}

/// Writes what follows the units, waits for the devices, names the files and reads them back.
pub(super) fn spread(rows: &mut Rows, toc: &StoredToc) -> Result<Geometry, Error> {
    let geometry = write_out(rows, toc)?;
    publish(rows)?;
    read_back(rows, &geometry)?;
    Ok(geometry)
}

/// Writes what follows the units and waits for the devices.
fn write_out(rows: &mut Rows, toc: &StoredToc) -> Result<Geometry, Error> {
    rows.write_last_row()?;
    let hashes: Vec<u8> = rows.shards.iter().flat_map(Staged::hash).collect();
    let geometry = geometry(rows, toc, &hashes);
    let tail: Arc<(Vec<u8>, Vec<u8>)> = Arc::new((hashes, toc.stored.clone()));
    on_all(&mut rows.shards, |_| {
        let tail = Arc::clone(&tail);
        move |body: &mut Body, heartbeat: &Heartbeat| body.finish(&geometry, &tail.0, &tail.1, heartbeat)
    })?;
    Ok(geometry)
}

/// Gives the shards their names: those with a table of contents first, so that whatever a crash leaves says what it is. Without
/// one a few shards could not be told from the rest of a container that was lost.
fn publish(rows: &mut Rows) -> Result<(), Error> {
    let code = rows.code;
    let (carriers, others): (Vec<_>, Vec<_>) = rows.shards.iter_mut().partition(|shard| code.carries_toc(shard.number));
    for shards in [carriers, others] {
        on_each(shards, |_| Body::publish)?;
    }
    Ok(())
}

fn geometry(rows: &Rows, toc: &StoredToc, hashes: &[u8]) -> Geometry {
    let length = |bytes: usize| u64::try_from(bytes).expect("a usize has at most 64 bits");
    Geometry {
        container: rows.id,
        generation: FIRST_GENERATION,
        code: rows.code,
        logical_bytes: rows.logical_bytes,
        region_bytes: rows.layout.region_bytes(rows.logical_bytes),
        unit_bytes: u32::try_from(rows.layout.unit_bytes()).expect("units are at most 64 MiB"),
        hashes_crc: crc32c(hashes),
        toc_crc: crc32c(&toc.stored),
        toc_bytes: length(toc.stored.len()),
        toc_raw_bytes: length(toc.raw_bytes),
    }
}

/// Reads every shard from its device and compares all of it with what was meant to be written.
fn read_back(rows: &mut Rows, geometry: &Geometry) -> Result<(), Error> {
    let (id, geometry) = (rows.id, *geometry);
    let verdicts = on_all(&mut rows.shards, |_| {
        let pool = Arc::clone(&rows.pool);
        move |body: &mut Body, heartbeat: &Heartbeat| {
            Ok((body.name.shard, body.reads_back(&pool.erasure, &geometry, heartbeat)))
        }
    })?;
    let shards: Vec<u8> = verdicts.into_iter().filter(|(_, same)| !same).map(|(number, _)| number).collect();
    if shards.is_empty() { Ok(()) } else { Err(Error::ReadBack { container: id, shards }) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::{CodeProfile, PoolConfig, Store, StoreOptions, Tier};

    /// A container of one pool with some bytes, and where its shards will be.
    fn begun(home: &Path, code: &str) -> (Rows, Vec<PathBuf>) {
        let code: CodeProfile = code.parse().unwrap();
        let devices = (0..code.shards()).map(|number| home.join(number.to_string())).collect();
        let pool = PoolConfig { name: "hot".to_owned(), tier: Tier::Hot, code, devices };
        let store = Store::open(vec![pool], StoreOptions::default()).unwrap();
        let mut writer = store.create(Tier::Hot, 1_000).unwrap();
        writer.append(&[7; 1_000]).unwrap();
        let rows = writer.into_rows();
        let id = rows.id.to_string();
        let place = |shard: &Staged| {
            let name = format!("containers/{}/{id}.{:03}.fshard", &id[id.len() - 2..], shard.number);
            shard.device.label().join(name)
        };
        let paths = rows.shards.iter().map(place).collect();
        (rows, paths)
    }

    #[test]
    fn shards_with_a_table_of_contents_have_their_names_first() {
        let home = tempfile::tempdir().unwrap();
        let (mut rows, paths) = begun(home.path(), "4+2");
        // The name of the last one is taken, so it cannot be given.
        fs::create_dir_all(paths[5].parent().unwrap()).unwrap();
        fs::write(&paths[5], "taken").unwrap();
        let toc = StoredToc::new(&Toc::default()).unwrap();
        let geometry = write_out(&mut rows, &toc).unwrap();
        assert!(geometry.code.carries_toc(5));
        publish(&mut rows).unwrap_err();
        let named: Vec<usize> = (0..5).filter(|number| paths[*number].exists()).collect();
        assert_eq!(named, [0, 4], "a crash here leaves what says what it is");
    }

    #[test]
    fn what_does_not_read_back_is_told() {
        let home = tempfile::tempdir().unwrap();
        let (mut rows, paths) = begun(home.path(), "2+1");
        let toc = StoredToc::new(&Toc::default()).unwrap();
        let geometry = spread(&mut rows, &toc).unwrap();
        // Header, units, and every byte of what follows them: checksums, hashes, table of contents, footer.
        let whole = fs::read(&paths[2]).unwrap();
        let tail = usize::try_from(geometry.table_offset()).unwrap();
        for at in [0, 40, 100, 4_095, 4_096, 5_000, tail - 1].into_iter().chain(tail..whole.len()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&paths[2], bytes).unwrap();
            let told = read_back(&mut rows, &geometry);
            assert!(matches!(told, Err(Error::ReadBack { shards, .. }) if shards == [2]), "{at} of {}", whole.len());
        }
        fs::write(&paths[2], &whole[..whole.len() - 1]).unwrap();
        read_back(&mut rows, &geometry).unwrap_err();
        fs::write(&paths[2], &whole).unwrap();
        read_back(&mut rows, &geometry).unwrap();
        fs::copy(&paths[0], &paths[1]).unwrap();
        fs::remove_file(&paths[2]).unwrap();
        let told = read_back(&mut rows, &geometry);
        assert!(matches!(told, Err(Error::ReadBack { shards, .. }) if shards == [1, 2]));
    }
}
