//! Pages of the index in memory: how many, and those of before a restart again.
//!
//! Questions go to any page of the index, and one that has to come from the disk costs 0.1 ms and more. PostgreSQL's manual
//! suggests a quarter of the memory for `shared_buffers`; it is taken only as pages are used.

use std::path::Path;

/// Part of the machine's memory, and the least and the most that is taken.
const PART: u64 = 4;
const BYTES_MIN: u64 = 128 << 20;
const BYTES_MAX: u64 = 8 << 30;
/// Where the kernel says what the machine has, and what this process's group may have.
const MEMORY: &str = "/proc/meminfo";
const GROUP_MEMORY: &str = "/sys/fs/cgroup/memory.max";
/// The library that remembers which pages were in memory, from the directory of the programs.
const PREWARM: [&str; 2] = ["../lib/pg_prewarm.so", "../lib/postgresql/pg_prewarm.so"];

/// Returns the settings of a server with `bytes` for pages, or as much as suits the machine.
pub(super) fn settings(bytes: Option<u64>, postgres: &Path) -> Vec<String> {
    let bytes = bytes.unwrap_or_else(|| {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        suited(&read(MEMORY), &read(GROUP_MEMORY))
    });
    let mut settings = vec![format!("shared_buffers={}kB", bytes.div_ceil(1024))];
    if has_prewarm(postgres) {
        settings.push("shared_preload_libraries=pg_prewarm".to_owned());
        settings.push("pg_prewarm.autoprewarm_interval=30min".to_owned());
    }
    settings
}

/// Returns what suits a machine that has so much, if it can be told.
fn suited(memory: &str, group: &str) -> u64 {
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"));
    let total = total.and_then(|kib| kib.trim().parse::<u64>().ok()).map_or(0, |kib| kib.saturating_mul(1024));
    let group = group.trim().parse().unwrap_or(u64::MAX); // "max", or no such file
    (total.min(group) / PART).clamp(BYTES_MIN, BYTES_MAX)
}

fn has_prewarm(postgres: &Path) -> bool {
    let program = postgres.canonicalize().unwrap_or_default();
    program.parent().is_some_and(|directory| PREWARM.iter().any(|library| directory.join(library).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_what_there_is_within_bounds() {
        let memory = |mib: u64| format!("MemFree:  1 kB\nMemTotal:  {} kB\nBuffers: 5 kB\n", mib << 10);
        assert_eq!(suited(&memory(16 << 10), "max\n"), 4 << 30);
        assert_eq!(suited(&memory(16 << 10), "2147483648\n"), 512 << 20);
        assert_eq!(suited(&memory(256), "max\n"), BYTES_MIN);
        assert_eq!(suited(&memory(1 << 20), ""), BYTES_MAX);
        assert_eq!(suited("", ""), BYTES_MIN);
    }
}
