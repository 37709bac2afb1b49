//! Counters and histograms in the Prometheus text format.

use std::time::Duration;

/// An operation a peer asks for; one histogram each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the name of a service")]
pub enum Operation {
    CEcho,
    CStore,
    CFind,
    CMove,
    CGet,
    StowRs,
    QidoRs,
    WadoRsInstances,
    WadoRsMetadata,
    WadoRsFrames,
    WadoRsBulkdata,
}

/// All counters of one process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics {}

impl Metrics {
    /// Records that `operation` took `elapsed` and ended with `status` ("0000", "200", ...).
    pub fn observe(&self, _operation: Operation, _status: &str, _elapsed: Duration) {}

    /// Counts an association that opened (`1`) or ended (`-1`).
    pub fn associations(&self, _change: i64) {}

    /// Returns everything in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        String::new()
    }
}
