//! The archive as its adapters see it: with a real Postgres, a journal and six devices in directories.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use archive::{
    Archive, ArchiveOptions, Clock, Error, InstanceBody, InstanceRef, Location, Origin, Outcome, PackOptions, Progress,
    Selector, Stored,
};
use bytes::Bytes;
use dicom_data::query::{Level, Query};
use dicom_data::{Attributes, BulkPath};
use futures_util::{StreamExt as _, TryStreamExt as _};
use journal::JournalOptions;
use sqlx::ConnectOptions as _;
use tempfile::TempDir;
use testdata::{Encoding, Instance, Modality, StudySpec};

use crate::fixture::{Fixture, fixture, query, uid};

mod away;
mod deleting;
mod devices;
mod jobs;
mod packing;
mod racing;
mod recovery;
mod resending;

/// Directories and options of one archive, and the index behind it.
struct Rig {
    home: TempDir,
    options: ArchiveOptions,
    fixture: Option<Fixture>,
}

impl Rig {
    /// Small segments and containers, no packing unless asked for.
    async fn new() -> Self {
        let fixture = fixture().await;
        let url = fixture.options.to_url_lossy().to_string();
        let mut rig = Self::without_index(Some(url));
        rig.fixture = Some(fixture);
        rig
    }

    fn without_index(index_url: Option<String>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let mut journal = JournalOptions::new(vec![home.path().join("journal")]);
        journal.segment_bytes = 2 << 20;
        journal.bytes_max = 64 << 20;
        let pool = tiering::PoolConfig {
            name: "hot".into(),
            tier: tiering::Tier::Hot,
            code: "4+2".parse().unwrap(),
            devices: (0..6).map(|n| home.path().join(format!("d{n}"))).collect(),
        };
        let options = ArchiveOptions {
            data,
            index_url,
            index_cache_bytes: crate::fixture::CACHE,
            index_connections_max: 6,
            journal,
            pools: vec![pool],
            pack: PackOptions { quiet: Duration::from_hours(9), container_bytes: 1 << 20, ..PackOptions::default() },
            instance_bytes_max: 1 << 30,
            barrier_wait_max: Duration::from_secs(20),
            clock: Clock::system(),
        };
        Self { home, options, fixture: None }
    }

    async fn start(&self) -> Archive {
        Archive::start(self.options.clone()).await.unwrap()
    }

    /// Runs a statement on the index.
    async fn sql(&self, statement: &'static str) {
        let pool = sqlx::PgPool::connect_with(self.fixture.as_ref().unwrap().options.clone()).await.unwrap();
        sqlx::raw_sql(statement).execute(&pool).await.unwrap();
        pool.close().await;
    }

    async fn count(&self, table: &'static str) -> i64 {
        let pool = sqlx::PgPool::connect_with(self.fixture.as_ref().unwrap().options.clone()).await.unwrap();
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let count = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
        pool.close().await;
        count
    }

    /// Returns how many instances each container has, in the order of sealing.
    async fn container_lengths(&self) -> Vec<i64> {
        let pool = sqlx::PgPool::connect_with(self.fixture.as_ref().unwrap().options.clone()).await.unwrap();
        let sql = "select instances from container order by arrival";
        let lengths = sqlx::query_scalar(sql).fetch_all(&pool).await.unwrap();
        pool.close().await;
        lengths
    }

    fn device(&self, number: usize) -> &Path {
        &self.options.pools[0].devices[number]
    }

    fn hide(&self, number: usize) {
        fs::rename(self.device(number), self.hidden(number)).unwrap();
    }

    fn show(&self, number: usize) {
        fs::rename(self.hidden(number), self.device(number)).unwrap();
    }

    fn hidden(&self, number: usize) -> PathBuf {
        self.home.path().join(format!("hidden{number}"))
    }

    /// Returns every shard file.
    fn shards(&self) -> Vec<PathBuf> {
        let mut shards = Vec::new();
        for device in &self.options.pools[0].devices {
            files_below(&device.join("containers"), &mut shards);
        }
        shards
    }
}

fn files_below(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() { files_below(&path, files) } else { files.push(path) }
    }
}

/// Stops an archive and waits until nobody holds its directories.
async fn stop(archive: Archive) {
    archive.stop().await;
    drop(archive);
}

/// Makes the journal forget what is sealed: the first instance after a start begins a new segment, and the next start
/// gives the others back. That instance is one more to be found.
async fn forget_the_journal(rig: &Rig) {
    let archive = rig.start().await;
    store_all(&archive, &slices(98, 1, 1)).await;
    stop(archive).await;
    let archive = rig.start().await;
    until("the index is there", async || archive.locate(&Selector::default()).await.is_ok()).await;
    stop(archive).await;
}

fn origin(instance: &Instance) -> Origin {
    Origin {
        transfer_syntax_uid: uid(instance.transfer_syntax_uid),
        sop_class_uid: Some(uid(instance.sop_class_uid)),
        sop_instance_uid: Some(uid(&instance.sop_instance_uid)),
        study_instance_uid: None,
        calling_ae: "SCANNER".into(),
        called_ae: "FILMROOM".into(),
    }
}

async fn store(archive: &Archive, instance: &Instance) -> Result<Stored, Error> {
    let mut receiver = archive.receive(origin(instance))?;
    for chunk in instance.data_set.chunks(100_000) {
        receiver.write(Bytes::copy_from_slice(chunk)).await?;
    }
    receiver.finish().await
}

async fn store_all(archive: &Archive, instances: &[Instance]) {
    for instance in instances {
        assert_eq!(store(archive, instance).await.unwrap().outcome, Outcome::New);
    }
}

async fn pack(archive: &Archive) -> u64 {
    archive.pack_now(Progress::silent()).await.unwrap()
}

/// Small slices: some 2 KB each.
fn slices(seed: u64, series: u32, instances_per_series: u32) -> Vec<Instance> {
    let spec = StudySpec { seed, series, instances_per_series, rows: 24, columns: 24, ..StudySpec::default() };
    testdata::study(spec).collect()
}

/// Studies of every kind: native, implicit, RLE in several frames, longer than what the journal keeps in its segments.
fn mixture() -> Vec<Instance> {
    let base = StudySpec { rows: 64, columns: 64, instances_per_series: 4, ..StudySpec::default() };
    let rle = Encoding::RleLossless;
    [
        StudySpec { seed: 1, series: 3, study_date: Some("20240105".into()), ..base.clone() },
        StudySpec { seed: 2, encoding: Encoding::ImplicitLittleEndian, modality: Modality::Mr, ..base.clone() },
        StudySpec { seed: 3, encoding: rle, frames: 5, modality: Modality::Ot, ..base.clone() },
        StudySpec { seed: 4, frames: 7, modality: Modality::Ot, study_date: Some("20240120".into()), ..base.clone() },
        StudySpec { seed: 5, rows: 900, columns: 900, instances_per_series: 2, modality: Modality::Cr, ..base.clone() },
        StudySpec {
            seed: 6,
            rows: 500,
            columns: 500,
            frames: 4,
            instances_per_series: 1,
            encoding: rle,
            ..base.clone()
        },
        StudySpec { seed: 7, rows: 500, columns: 500, frames: 4, instances_per_series: 1, ..base },
    ]
    .into_iter()
    .flat_map(testdata::study)
    .collect()
}

fn selector(instance: &Instance) -> Selector {
    Selector {
        patient_id: None,
        studies: vec![uid(&instance.study_instance_uid)],
        series: vec![uid(&instance.series_instance_uid)],
        instances: vec![uid(&instance.sop_instance_uid)],
    }
}

fn of_study(instance: &Instance) -> Selector {
    Selector { studies: vec![uid(&instance.study_instance_uid)], ..Selector::default() }
}

async fn locate(archive: &Archive, instance: &Instance) -> InstanceRef {
    let found = archive.locate(&selector(instance)).await.unwrap();
    assert_eq!(found.len(), 1, "{}", instance.sop_instance_uid);
    found.into_iter().next().unwrap()
}

fn is_sealed(instance: &InstanceRef) -> bool {
    matches!(instance.location, Location::Container(_))
}

async fn collect(body: InstanceBody) -> Result<Vec<u8>, Error> {
    let length = body.bytes;
    let bytes = body.chunks.try_collect::<Vec<Bytes>>().await?.concat();
    assert_eq!(u64::try_from(bytes.len()).unwrap(), length);
    Ok(bytes)
}

async fn bytes(archive: &Archive, instance: &Instance) -> Result<Vec<u8>, Error> {
    let found = locate(archive, instance).await;
    collect(archive.open(&found).await?).await
}

async fn search(archive: &Archive, level: Level) -> Vec<Attributes> {
    let query: Query = query(level, &[]);
    archive.search(query).await.unwrap().try_collect().await.unwrap()
}

async fn assert_served(archive: &Archive, instances: &[Instance]) {
    for instance in instances {
        assert!(bytes(archive, instance).await.unwrap() == instance.data_set, "{}", instance.sop_instance_uid);
    }
}

/// Everything that the archive answers about instances, without where they lie.
#[derive(Debug, PartialEq)]
struct Answers {
    found: Vec<Vec<Attributes>>,
    instances: Vec<Answer>,
}

#[derive(Debug, PartialEq)]
struct Answer {
    uids: [String; 5],
    data_set: Vec<u8>,
    metadata: Bytes,
    frames: Vec<Bytes>,
    frames_syntax: String,
    pixels: Vec<u8>,
}

async fn answers(archive: &Archive, instances: &[Instance]) -> Answers {
    let mut found = Vec::new();
    for level in [Level::Patient, Level::Study, Level::Series, Level::Instance] {
        found.push(search(archive, level).await);
    }
    let mut studies: Vec<&str> = instances.iter().map(|i| i.study_instance_uid.as_str()).collect();
    studies.dedup();
    let studies = studies.into_iter().map(uid).collect();
    let located = archive.locate(&Selector { studies, ..Selector::default() }).await.unwrap();
    let metadata: Vec<Bytes> = archive.metadata(located.clone()).try_collect().await.unwrap();
    assert_eq!(metadata.len(), located.len());
    let mut answers = Vec::new();
    for (instance, metadata) in located.into_iter().zip(metadata) {
        answers.push(answer(archive, instance, metadata).await);
    }
    Answers { found, instances: answers }
}

async fn answer(archive: &Archive, instance: InstanceRef, metadata: Bytes) -> Answer {
    let count = archive.frame_count(&instance).await.unwrap();
    let numbers: Vec<u32> = (1..=count).collect();
    let frames = archive.frames(&instance, &numbers).await.unwrap();
    let past = archive.frames(&instance, &[count + 1]).await;
    assert!(matches!(past, Err(Error::NotFound { .. })));
    let path: BulkPath = "7FE00010".parse().unwrap();
    Answer {
        uids: [
            instance.study_instance_uid.to_string(),
            instance.series_instance_uid.to_string(),
            instance.sop_instance_uid.to_string(),
            instance.sop_class_uid.to_string(),
            instance.transfer_syntax_uid.to_string(),
        ],
        data_set: collect(archive.open(&instance).await.unwrap()).await.unwrap(),
        metadata,
        frames: collect_all(frames.frames).await,
        frames_syntax: frames.transfer_syntax_uid.to_string(),
        pixels: collect(archive.bulk_data(&instance, &path).await.unwrap()).await.unwrap(),
    }
}

async fn collect_all(frames: Vec<archive::Frame>) -> Vec<Bytes> {
    let mut all = Vec::new();
    for frame in frames {
        all.push(collect(frame.body).await.unwrap().into());
    }
    all
}

/// Compares without printing megabytes.
fn assert_same(before: &Answers, after: &Answers) {
    assert_eq!(before.found, after.found);
    assert_eq!(before.instances.len(), after.instances.len());
    for (before, after) in before.instances.iter().zip(&after.instances) {
        assert_eq!(before.uids, after.uids);
        assert_eq!(before.metadata, after.metadata);
        assert!(before == after, "{:?}", before.uids);
    }
}

/// Waits until something holds; fails after half a minute.
async fn until<R: Future<Output = bool>>(what: &str, holds: impl Fn() -> R) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came about: {what}");
}
