//! Processor time and memory of process trees, from /proc.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde::Serialize;

use super::times::number;
use crate::process::pause;

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a process tree used while something was done.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Usage {
    /// Processor seconds of all processes and of those that ended and were waited for.
    pub cpu_seconds: f64,
    /// Most memory that the tree held at once: private pages of all, shared ones once. Sampled.
    pub tree_bytes_max: u64,
    /// Most memory that the first process ever held (VmHWM).
    pub server_bytes_max: u64,
    /// Wall clock.
    pub seconds: f64,
}

/// A measurement that runs.
#[derive(Debug)]
pub struct Meter {
    pids: Vec<i32>,
    begun: Instant,
    cpu_before: f64,
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    sampler: JoinHandle<()>,
}

impl Meter {
    /// Begins to measure the trees below these processes; the first is the server.
    pub fn begin(pids: Vec<i32>) -> Self {
        let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let sampler = std::thread::spawn({
            let (pids, stop, most) = (pids.clone(), Arc::clone(&stop), Arc::clone(&most));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    most.fetch_max(tree_bytes(&pids), Ordering::Relaxed);
                    pause(LOOK_EVERY);
                }
            }
        });
        let cpu_before = cpu_seconds(&pids);
        Self { pids, begun: Instant::now(), cpu_before, stop, most, sampler }
    }

    /// Ends and returns what was used.
    pub fn end(self) -> anyhow::Result<Usage> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let cpu_seconds = cpu_seconds(&self.pids) - self.cpu_before;
        self.stop.store(true, Ordering::Relaxed);
        self.most.fetch_max(tree_bytes(&self.pids), Ordering::Relaxed);
        self.sampler.join().map_err(|_| anyhow!("the sampler panicked"))?;
        let server = self.pids.first().context("measure: no process")?;
        Ok(Usage {
            cpu_seconds,
            tree_bytes_max: self.most.load(Ordering::Relaxed),
            server_bytes_max: peak_bytes(*server).unwrap_or(0),
            seconds,
        })
    }
}

/// Returns the processor seconds that trees have used so far, with those of ended children that were waited for.
pub fn cpu_seconds(roots: &[i32]) -> f64 {
    let ticks: u64 = tree(roots).into_iter().filter_map(ticks).sum();
    number(ticks) / number(rustix::param::clock_ticks_per_second())
}

/// Returns the processor seconds that this process has used so far.
pub fn own_cpu_seconds() -> f64 {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    number(clock.tv_sec) + number(clock.tv_nsec) / 1e9
}

/// Returns the processor seconds of our own children that ended and were waited for.
pub fn children_cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    number(fields(&stat).skip(2).take(2).sum::<u64>()) / number(rustix::param::clock_ticks_per_second())
}

/// Forgets the most memory that a process ever held.
pub fn reset_peak(pid: i32) -> anyhow::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("reset the peak of memory")
}

/// Returns the most memory that a process ever held, since the last reset.
pub fn peak_bytes(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Returns all processes of the trees.
fn tree(roots: &[i32]) -> BTreeSet<i32> {
    let (mut open, mut found) = (roots.to_vec(), BTreeSet::new());
    while let Some(pid) = open.pop() {
        if !found.insert(pid) {
            continue;
        }
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            open.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        }
    }
    found
}

/// Returns utime, stime, cutime and cstime together.
fn ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(fields(&stat).sum())
}

fn fields(stat: &str) -> impl Iterator<Item = u64> {
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    behind_name.split_whitespace().skip(11).take(4).filter_map(|field| field.parse().ok())
}

fn tree_bytes(roots: &[i32]) -> u64 {
    let (mut private, mut shared) = (0_u64, 0_u64);
    for pid in tree(roots) {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let mut pages = statm.split_whitespace().skip(1).filter_map(|field| field.parse::<u64>().ok());
        if let (Some(resident), Some(of_files)) = (pages.next(), pages.next()) {
            private += resident.saturating_sub(of_files);
            shared = shared.max(of_files);
        }
    }
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    (private + shared) * page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_use_is_seen() {
        let own = i32::try_from(std::process::id()).unwrap();
        let meter = Meter::begin(vec![own]);
        let before = own_cpu_seconds();
        let mut sum = 0_u64;
        while own_cpu_seconds() - before < 0.05 {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        let usage = meter.end().unwrap();
        assert!(usage.cpu_seconds >= 0.02, "{usage:?} {sum}");
        assert!(usage.tree_bytes_max > 100_000 && usage.server_bytes_max > 100_000, "{usage:?}");
    }
}
