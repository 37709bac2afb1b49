//! What machine it is.

use std::fmt;
use std::fs;

use serde::Serialize;

/// The machine, as it is named beside figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub model: String,
    /// Logical processors that we may use.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Kernel.
    pub kernel: String,
}

impl Machine {
    /// Looks at this machine; what cannot be found out is empty.
    pub fn here() -> Self {
        let of = |file: &str, key: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = of("/proc/meminfo", "MemTotal");
        let kib: u64 = memory.strip_suffix(" kB").and_then(|kib| kib.parse().ok()).unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            model: of("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory_bytes: kib * 1024,
            kernel: kernel.trim().to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, cores, memory_bytes, kernel } = self;
        write!(f, "machine: {model}, {cores} cores, {} GiB, Linux {kernel}", memory_bytes >> 30)
    }
}
