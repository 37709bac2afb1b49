//! What the kernel says of a process's memory.

use std::fs;

use anyhow::Context;

/// Returns the resident bytes of a process: now, and at most since it began or the mark was set.
pub(super) fn resident(pid: u32) -> anyhow::Result<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).context("read the process's status")?;
    let kib = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
    };
    let now = kib("VmRSS:").context("read the process's status")?;
    let most = kib("VmHWM:").context("read the process's status")?;
    Ok((now << 10, most << 10))
}

/// Sets the mark of most resident bytes to what is resident now.
pub(super) fn mark(pid: u32) -> anyhow::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("reset the most resident bytes")
}
