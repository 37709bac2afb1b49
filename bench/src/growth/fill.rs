//! Fills an archive below the network: the receive path, the journal, the index and the packer of the real one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use archive::{Archive, ArchiveOptions, Clock, Origin, Outcome, PackOptions, Progress};
use journal::JournalOptions;
use serde::Serialize;
use testdata::{Population, SmallStudy};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::measure::usage::{children_cpu_seconds, own_cpu_seconds};

/// Studies that are sent at a time: group commit and batches of the index live on many.
const SENDERS: usize = 256;
/// Studies between two packs: one row of containers, a month each.
const STUDIES_BETWEEN_PACKS: u64 = 100_000;
/// The packer is told when; on its own it waits for longer than a fill takes.
const QUIET: Duration = Duration::from_hours(24);
const JOURNAL_BYTES_MAX: u64 = 16 << 30;
const INDEX_CONNECTIONS_MAX: u32 = 8;

/// How long it took, and what came of it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Filled {
    /// Instances that were received.
    pub instances: u64,
    /// Seconds until all were durable and in the index.
    pub received_seconds: f64,
    /// Seconds until all were sealed, in addition.
    pub packed_seconds: f64,
    /// CPU seconds of the archive and its Postgres.
    pub cpu_seconds: f64,
}

/// Adds a population to the archive under a data directory, which no server may use meanwhile.
pub fn fill(data: &Path, population: Population) -> anyhow::Result<Filled> {
    std::fs::create_dir_all(data).with_context(|| format!("create {}", data.display()))?;
    let cpu_seconds = || own_cpu_seconds() + children_cpu_seconds();
    let before = cpu_seconds();
    let filled = Runtime::new().context("start the runtime")?.block_on(async {
        let archive = Archive::start(options(data)?).await.context("start the archive")?;
        let filled = fill_archive(&archive, population).await;
        archive.stop().await;
        filled
    })?;
    // Postgres has ended and counts now.
    Ok(Filled { cpu_seconds: cpu_seconds() - before, ..filled })
}

async fn fill_archive(archive: &Archive, population: Population) -> anyhow::Result<Filled> {
    let mut filled = Filled { instances: 0, received_seconds: 0.0, packed_seconds: 0.0, cpu_seconds: 0.0 };
    let mut begin = 0;
    while begin < population.studies {
        let end = population.studies.min(begin + STUDIES_BETWEEN_PACKS);
        let started = Instant::now();
        let instances = receive(archive, population, begin, end).await?;
        let received = started.elapsed();
        let sealed = archive.pack_now(Progress::new(|_, _| {})).await.context("pack")?;
        ensure!(sealed == instances, "{sealed} of {instances} instances were sealed");
        filled.instances += instances;
        filled.received_seconds += received.as_secs_f64();
        filled.packed_seconds += started.elapsed().saturating_sub(received).as_secs_f64();
        begin = end;
    }
    Ok(filled)
}

/// Sends the studies from `begin` to before `end` and waits until the index has them.
async fn receive(archive: &Archive, population: Population, begin: u64, end: u64) -> anyhow::Result<u64> {
    let next = Arc::new(AtomicU64::new(begin));
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (archive, next) = (archive.clone(), Arc::clone(&next));
        senders.spawn(async move {
            let mut instances = 0;
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= end {
                    return anyhow::Ok(instances);
                }
                instances += send(&archive, population.study(index)).await?;
            }
        });
    }
    let mut instances = 0;
    while let Some(sent) = senders.join_next().await {
        instances += sent.context("a sender ended")??;
    }
    // A query waits for the index.
    let query = dicom_data::query::Query {
        level: dicom_data::query::Level::Study,
        keys: Vec::new(),
        limit: Some(1),
        offset: 0,
        combined_date_time: true,
    };
    archive.count(&query, 1).await.context("wait for the index")?;
    Ok(instances)
}

async fn send(archive: &Archive, study: SmallStudy) -> anyhow::Result<u64> {
    let mut sent = 0;
    for instance in study.instances {
        let origin = Origin {
            transfer_syntax_uid: instance.transfer_syntax_uid.parse().context("a generated UID")?,
            sop_class_uid: None,
            sop_instance_uid: None,
            study_instance_uid: None,
            calling_ae: "BENCH".to_owned(),
            called_ae: "FILMROOM".to_owned(),
        };
        let mut receiver = archive.receive(origin).context("receive")?;
        receiver.write(instance.data_set.into()).await.context("receive")?;
        let stored = receiver.finish().await.context("receive")?;
        ensure!(stored.outcome == Outcome::New, "a generated instance was there already");
        sent += 1;
    }
    Ok(sent)
}

/// The options of `filmroom serve` with the configuration of `config`.
fn options(data: &Path) -> anyhow::Result<ArchiveOptions> {
    let profile = "4+2".parse().map_err(|_| anyhow!("a known profile"))?;
    let devices = (1..=6).map(|number| device(data, number)).collect();
    let hot = tiering::PoolConfig { name: "hot".to_owned(), tier: tiering::Tier::Hot, code: profile, devices };
    Ok(ArchiveOptions {
        data: data.to_owned(),
        index_url: None,
        index_cache_bytes: None,
        index_connections_max: INDEX_CONNECTIONS_MAX,
        journal: JournalOptions { bytes_max: JOURNAL_BYTES_MAX, ..JournalOptions::new(vec![data.join("journal")]) },
        pools: vec![hot],
        pack: PackOptions { quiet: QUIET, ..PackOptions::default() },
        instance_bytes_max: 1 << 30,
        barrier_wait_max: Duration::from_mins(10),
        clock: Clock::system(),
    })
}

/// Where `filmroom serve` without a configuration of pools has its devices.
fn device(data: &Path, number: u32) -> PathBuf {
    data.join("devices").join(number.to_string())
}
