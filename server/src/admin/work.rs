//! The work behind the requests: the same in a running server and in a process of its own.

use anyhow::Context;
use archive::Archive;

use super::protocol::{Answer, DeviceLine, JobOrder, PoolLine, Request};
use crate::import;
use crate::progress::Reporter;

/// Does what was asked. A dropped call stops an import; packing goes on in the archive.
pub(crate) async fn execute(archive: &Archive, request: Request, reporter: Reporter) -> anyhow::Result<Answer> {
    match request {
        Request::Pools => Ok(Answer::Pools { pools: pools(archive).await }),
        Request::Pack => {
            let instances_packed = archive.pack_now(reporter.for_archive("pack")).await.context("pack")?;
            Ok(Answer::Packed { instances_packed })
        }
        Request::Verify => {
            let report = archive.verify(reporter.for_archive("verify")).await.context("verify")?;
            let healthy = report.is_clean();
            Ok(Answer::Verified { healthy, report: serde_json::to_value(report).context("write the report")? })
        }
        Request::Jobs => Ok(Answer::Jobs { jobs: archive.jobs() }),
        Request::OrderJob { name, order } => {
            order_job(archive, &name, order).await.with_context(|| format!("job {name}"))?;
            Ok(Answer::Jobs { jobs: archive.jobs() })
        }
        Request::Import { path } => {
            let of_job = archive.clone();
            let import = |control| async move { import::run(&of_job, &path, &reporter, &control).await };
            Ok(Answer::Imported(archive.run_job(("import", "files"), import).await?))
        }
    }
}

async fn order_job(archive: &Archive, name: &str, order: JobOrder) -> Result<(), archive::Error> {
    match order {
        JobOrder::Pause => archive.pause_job(name).await,
        JobOrder::Resume => archive.resume_job(name).await,
        JobOrder::Throttle(percent) => archive.throttle_job(name, percent).await,
        JobOrder::Cancel => archive.cancel_job(name),
    }
}

async fn pools(archive: &Archive) -> Vec<PoolLine> {
    let device = |device: archive::DeviceState| DeviceLine {
        path: device.path,
        id: device.id,
        online: device.online,
        total_bytes: device.total_bytes,
        free_bytes: device.free_bytes,
        shards: device.shards,
    };
    let pool = |pool: archive::PoolState| PoolLine {
        name: pool.name,
        tier: pool.tier,
        code: pool.code,
        devices: pool.devices.into_iter().map(device).collect(),
    };
    archive.status().await.pools.into_iter().map(pool).collect()
}
