//! Counters and histograms in the OpenMetrics text format that Prometheus reads.
//!
//! Labels never hold anything a patient could be known by: only operations, statuses, pools and kinds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

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

impl Operation {
    /// Every operation, so that each has a histogram from the first scrape on.
    const ALL: [Self; 11] = [
        Self::CEcho,
        Self::CStore,
        Self::CFind,
        Self::CMove,
        Self::CGet,
        Self::StowRs,
        Self::QidoRs,
        Self::WadoRsInstances,
        Self::WadoRsMetadata,
        Self::WadoRsFrames,
        Self::WadoRsBulkdata,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::CEcho => "c_echo",
            Self::CStore => "c_store",
            Self::CFind => "c_find",
            Self::CMove => "c_move",
            Self::CGet => "c_get",
            Self::StowRs => "stow_rs",
            Self::QidoRs => "qido_rs",
            Self::WadoRsInstances => "wado_rs_instances",
            Self::WadoRsMetadata => "wado_rs_metadata",
            Self::WadoRsFrames => "wado_rs_frames",
            Self::WadoRsBulkdata => "wado_rs_bulkdata",
        }
    }
}

impl EncodeLabelValue for Operation {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.name().encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: Operation,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    operation: Operation,
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabel {
    job: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeviceLabel {
    device: String,
    kind: &'static str,
}

/// Seconds from 0.1 ms to about 100 s in factors of 3.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 3.0, 14))
}

/// All counters of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    seconds: Family<OperationLabel, Histogram, fn() -> Histogram>,
    results: Family<StatusLabel, Counter>,
    associations: Gauge,
    instances: Family<KindLabel, Counter>,
    gauges: Family<KindLabel, Gauge>,
    damage: Family<KindLabel, Gauge>,
    devices: Family<DeviceLabel, Gauge>,
    jobs: Family<JobLabel, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = Family::<OperationLabel, Histogram, fn() -> Histogram>::new_with_constructor(seconds);
        for operation in Operation::ALL {
            drop(seconds.get_or_create(&OperationLabel { operation }));
        }
        let results = Family::<StatusLabel, Counter>::default();
        let associations = Gauge::default();
        let instances = Family::<KindLabel, Counter>::default();
        let gauges = Family::<KindLabel, Gauge>::default();
        let damage = Family::<KindLabel, Gauge>::default();
        let devices = Family::<DeviceLabel, Gauge>::default();
        let jobs = Family::<JobLabel, Gauge>::default();
        let mut registry = Registry::with_prefix("filmroom");
        registry.register_with_unit("operation", "Time from request to last answer", Unit::Seconds, seconds.clone());
        registry.register("operation_results", "Operations by final status", results.clone());
        registry.register("associations", "Associations open now", associations.clone());
        registry.register("instances", "Instances by what became of them", instances.clone());
        registry.register("state", "Sizes and counts of the journal, index and containers", gauges.clone());
        registry.register("damage", "Damage met in containers since the start", damage.clone());
        registry.register("device", "State of each device, and how often it was slow or hung", devices.clone());
        registry.register("job", "State and progress of each job", jobs.clone());
        let inner = Inner { registry, seconds, results, associations, instances, gauges, damage, devices, jobs };
        Self { inner: Arc::new(inner) }
    }
}

impl Metrics {
    /// Records that `operation` took `elapsed` and ended with `status` ("0000", "200", ...).
    pub fn observe(&self, operation: Operation, status: &str, elapsed: Duration) {
        self.inner.seconds.get_or_create(&OperationLabel { operation }).observe(elapsed.as_secs_f64());
        self.inner.results.get_or_create(&StatusLabel { operation, status: status.to_owned() }).inc();
    }

    /// Counts an association that opened (`1`) or ended (`-1`).
    pub fn associations(&self, change: i64) {
        self.inner.associations.inc_by(change);
    }

    /// Counts instances that were received, sealed, found to be duplicates, and so on.
    pub(crate) fn instances(&self, kind: &'static str, count: u64) {
        self.inner.instances.get_or_create(&KindLabel { kind }).inc_by(count);
    }

    /// Sets a size or count that holds now.
    pub(crate) fn state(&self, kind: &'static str, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.inner.gauges.get_or_create(&KindLabel { kind }).set(value);
    }

    /// Sets how often one kind of damage was met.
    pub(crate) fn damage(&self, kind: &'static str, total: u64) {
        let total = i64::try_from(total).unwrap_or(i64::MAX);
        self.inner.damage.get_or_create(&KindLabel { kind }).set(total);
    }

    /// Sets a state or count of one device.
    pub(crate) fn device(&self, device: &str, kind: &'static str, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.inner.devices.get_or_create(&DeviceLabel { device: device.to_owned(), kind }).set(value);
    }

    /// Sets a state or count of one job.
    pub(crate) fn job(&self, job: &str, kind: &'static str, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.inner.jobs.get_or_create(&JobLabel { job: job.to_owned(), kind }).set(value);
    }

    /// Returns everything in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.inner.registry)
            .expect("writing to a String cannot fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_histogram_before_its_first_use() {
        let text = Metrics::default().encode();
        for operation in Operation::ALL {
            let line = format!("filmroom_operation_seconds_count{{operation=\"{}\"}} 0", operation.name());
            assert!(text.contains(&line), "{line} in {text}");
        }
    }

    #[test]
    fn an_observation_is_counted_under_its_status() {
        let metrics = Metrics::default();
        metrics.observe(Operation::CStore, "A700", Duration::from_millis(3));
        let text = metrics.encode();
        assert!(text.contains("filmroom_operation_results_total{operation=\"c_store\",status=\"A700\"} 1"), "{text}");
    }
}
