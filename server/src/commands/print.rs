//! Results in words and tables.

use archive::JobStatus;
use serde_json::Value;

use crate::admin::{Answer, ImportSummary, PoolLine};
use crate::output;

/// Prints a result for people; `devices`: pools as a list of their devices.
pub(super) fn print(answer: &Answer, devices: bool) -> anyhow::Result<()> {
    match answer {
        Answer::Pools { pools } if devices => output::line(output::table(&device_rows(pools))),
        Answer::Pools { pools } => output::line(output::table(&pool_rows(pools))),
        Answer::Packed { instances_packed } => output::line(format!("packed {instances_packed} instances")),
        Answer::Jobs { jobs } => output::line(output::table(&job_rows(jobs))),
        Answer::Imported(summary) => output::line(import_line(summary)),
        Answer::Verified { healthy, report } => {
            output::line(report_lines(report).join("\n"))?;
            output::line(if *healthy { "healthy" } else { "not healthy" })
        }
    }
}

/// Writes numbers as they are, lists as their length and one line for each item.
fn report_lines(report: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, value) in report.as_object().into_iter().flatten() {
        let name = key.replace('_', " ");
        match value.as_array() {
            Some(items) => {
                lines.push(format!("{name}: {}", items.len()));
                lines.extend(items.iter().map(|item| format!("  {}", text(item))));
            }
            None => lines.push(format!("{name}: {}", text(value))),
        }
    }
    lines
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn import_line(summary: &ImportSummary) -> String {
    format!(
        "{} files: {} stored, {} already there, {} not DICOM, {} DICOMDIR, {} failed ({})",
        summary.files,
        summary.stored,
        summary.known,
        summary.not_dicom,
        summary.dicomdir,
        summary.failed,
        output::bytes(summary.bytes)
    )
}

fn pool_rows(pools: &[PoolLine]) -> Vec<Vec<String>> {
    let header = ["POOL", "TIER", "CODE", "ONLINE", "FREE", "TOTAL"].map(str::to_owned).to_vec();
    let row = |pool: &PoolLine| {
        let online = pool.devices.iter().filter(|device| device.online).count();
        vec![
            pool.name.clone(),
            pool.tier.clone(),
            pool.code.clone(),
            format!("{online}/{}", pool.devices.len()),
            output::bytes(pool.devices.iter().map(|device| device.free_bytes).sum()),
            output::bytes(pool.devices.iter().map(|device| device.total_bytes).sum()),
        ]
    };
    std::iter::once(header).chain(pools.iter().map(row)).collect()
}

fn job_rows(jobs: &[JobStatus]) -> Vec<Vec<String>> {
    let header = ["JOB", "STATE", "DONE", "RATE", "THROTTLE", "NEXT", "LAST ERROR"].map(str::to_owned).to_vec();
    let row = |job: &JobStatus| {
        vec![
            job.name.clone(),
            job.state.to_string(),
            format!("{}/{} {}", job.done, job.total, job.unit),
            format!("{:.1}/s", job.rate),
            format!("{} %", job.throttle_percent),
            job.next.clone().unwrap_or_else(|| "-".to_owned()),
            job.last_error.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    std::iter::once(header).chain(jobs.iter().map(row)).collect()
}

fn device_rows(pools: &[PoolLine]) -> Vec<Vec<String>> {
    let header = ["POOL", "STATE", "SHARDS", "FREE", "TOTAL", "ID", "PATH"].map(str::to_owned).to_vec();
    let rows = pools.iter().flat_map(|pool| {
        pool.devices.iter().map(|device| {
            vec![
                pool.name.clone(),
                if device.online { "online" } else { "offline" }.to_owned(),
                device.shards.to_string(),
                output::bytes(device.free_bytes),
                output::bytes(device.total_bytes),
                device.id.clone().unwrap_or_else(|| "-".to_owned()),
                device.path.clone(),
            ]
        })
    });
    std::iter::once(header).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_name_every_item_of_a_list() {
        let report = serde_json::json!({ "containers": 2, "lost_containers": ["a"], "faults": [{ "container": "b" }] });
        let lines = report_lines(&report);
        let expected = ["containers: 2", "faults: 1", "  {\"container\":\"b\"}", "lost containers: 1", "  a"];
        assert_eq!(lines, expected);
    }
}
