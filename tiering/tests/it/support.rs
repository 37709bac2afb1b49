//! A pool in a temporary directory, and containers whose content is known.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tiering::{
    Checked, ContainerId, ContainerWriter, Error, Extent, InstanceKind, Manifest, ManifestInstance, PoolConfig,
    SealReport, Store, StoreOptions, Tier, Toc, TocSegment,
};

/// Bytes of a block, as the format says.
pub(crate) const BLOCK: usize = 65_536;

/// Directories of the devices of one pool.
pub(crate) struct Rig {
    pub(crate) home: TempDir,
    pub(crate) pool: PoolConfig,
}

/// A sealed container and what was put into it.
pub(crate) struct Filled {
    pub(crate) sealed: SealReport,
    /// Everything, padding included.
    pub(crate) logical: Vec<u8>,
    /// Offset and length of each item.
    pub(crate) items: Vec<(u64, usize)>,
    pub(crate) toc: Toc,
}

impl Rig {
    pub(crate) fn new(code: &str, devices: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let devices = (0..devices).map(|number| home.path().join(format!("d{number}"))).collect();
        let pool = PoolConfig { name: "hot".to_owned(), tier: Tier::Hot, code: code.parse().unwrap(), devices };
        Self { home, pool }
    }

    pub(crate) fn open(&self) -> Store {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<Store, tiering::Error> {
        Store::open(vec![self.pool.clone()], options())
    }

    pub(crate) fn device(&self, number: usize) -> &Path {
        &self.pool.devices[number]
    }

    /// Returns the path of every shard of the container in order of number.
    pub(crate) fn shards(&self, id: ContainerId) -> Vec<PathBuf> {
        let mut shards: Vec<PathBuf> =
            self.files().into_iter().filter(|path| path.to_str().unwrap().contains(&id.to_string())).collect();
        shards.sort_by_key(|path| path.file_name().unwrap().to_owned());
        shards
    }

    /// Returns all files below the devices.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut directories = vec![self.home.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    files.push(path);
                }
            }
        }
        files
    }

    /// Returns the device whose directory holds a path.
    pub(crate) fn device_of(&self, path: &Path) -> usize {
        self.pool.devices.iter().position(|device| path.starts_with(device)).unwrap()
    }
}

/// Small units, so that small containers have several rows.
pub(crate) fn options() -> StoreOptions {
    StoreOptions { unit_bytes_max: 65_536, free_bytes_min: 0, ..StoreOptions::default() }
}

/// Returns bytes that differ everywhere and are the same every time.
pub(crate) fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Fills a writer with items of these lengths and seals it.
pub(crate) fn fill(mut writer: ContainerWriter, lengths: &[usize]) -> Filled {
    let mut logical = Vec::new();
    let mut items = Vec::new();
    for (seed, bytes) in (0..).zip(lengths) {
        let item = pattern(seed, *bytes);
        let offset = writer.append(&item).unwrap();
        logical.resize(usize::try_from(offset).unwrap(), 0);
        logical.extend_from_slice(&item);
        items.push((offset, *bytes));
    }
    let toc = toc(&items, &logical);
    let sealed = writer.seal(&toc).unwrap();
    assert_eq!(sealed.logical_bytes, logical.len() as u64);
    Filled { sealed, logical, items, toc }
}

/// Makes one container in the hot tier.
pub(crate) fn make(store: &Store, lengths: &[usize]) -> Filled {
    fill(store.create(Tier::Hot, lengths.iter().sum::<usize>() as u64).unwrap(), lengths)
}

/// Checks that every byte of a container, and ranges around every boundary of blocks and units, read as written.
pub(crate) fn assert_readable(store: &Store, filled: &Filled) {
    let id = filled.sealed.id;
    let end = filled.logical.len();
    let edges =
        (0..=end / BLOCK).map(|block| block * BLOCK).flat_map(|at| [(at.saturating_sub(3), at + 5), (at, at + 1)]);
    let items = filled.items.iter().map(|(offset, bytes)| (*offset as usize, *offset as usize + bytes));
    for (start, stop) in edges.chain(items).chain([(0, end), (end, end)]) {
        let (start, stop) = (start.min(end), stop.min(end));
        let got = read_of(store, id, start as u64..stop as u64).unwrap();
        assert!(got == filled.logical[start..stop], "range {start}..{stop}");
    }
    assert_eq!(toc_of(store, id).unwrap(), filled.toc);
}

/// Reads a range by its blocks, on this thread.
pub(crate) fn read_of(store: &Store, id: ContainerId, range: Range<u64>) -> Result<Bytes, Error> {
    store.read_blocking(id, range, Checked::Blocks)
}

/// Reads the table of contents, and waits for it.
pub(crate) fn toc_of(store: &Store, id: ContainerId) -> Result<Toc, Error> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.toc(id))
}

pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    disk::crc32c(bytes)
}

fn toc(items: &[(u64, usize)], logical: &[u8]) -> Toc {
    let kind = Arc::new(InstanceKind {
        sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".to_owned(),
        transfer_syntax_uid: "1.2.840.10008.1.2.1".to_owned(),
        encoding: 0,
        detail: Bytes::new(),
    });
    let instances = (1..).zip(items).map(|(number, (offset, bytes))| ManifestInstance {
        sop_instance_uid: format!("2.25.77.1.{number}"),
        number: Some(number),
        offset: *offset,
        bytes: *bytes as u64,
        crc32c: crc32c(&logical[*offset as usize..][..*bytes]),
        pixel_data: 100,
        frame_table: None,
        received_millis: 1_700_000_000_000 + i64::from(number),
        kind: Arc::clone(&kind),
    });
    let segment = TocSegment {
        study_instance_uid: "2.25.77".to_owned(),
        series_instance_uid: "2.25.77.1".to_owned(),
        summary: Bytes::from_static(b"summary"),
        metadata: Extent::default(),
        manifest: Manifest { instances: instances.collect() },
    };
    Toc { segments: vec![segment] }
}
