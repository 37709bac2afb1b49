//! What is said on the admin socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::progress::Event;

/// Longest line in bytes; a path is at most 4 KiB, a pool list some hundred bytes a device.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// What a client wants done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// List pools and devices.
    Pools,
    /// Pack what is in the journal.
    Pack,
    /// Compare what is stored with its checksums.
    Verify,
    /// List the jobs.
    Jobs,
    /// Tell the jobs of a name something, then list the jobs.
    OrderJob {
        /// Name of the job.
        name: String,
        /// What it is told.
        order: JobOrder,
    },
    /// Store the files below a path that the server can read.
    Import {
        /// Absolute path.
        path: PathBuf,
    },
}

/// What a job is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JobOrder {
    /// Stop at the next checkpoint until it is resumed.
    Pause,
    /// Go on.
    Resume,
    /// Work for this percentage of the time.
    Throttle(u8),
    /// End at the next checkpoint.
    Cancel,
}

/// One line from the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub(super) enum Reply {
    /// The work goes on.
    Event {
        /// What happened.
        event: Event,
    },
    /// The work is done.
    Done {
        /// Its result.
        answer: Answer,
    },
    /// The work failed.
    Failed {
        /// Why, with its causes.
        error: String,
    },
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// Of [`Request::Pools`].
    Pools {
        /// In the order of the configuration.
        pools: Vec<PoolLine>,
    },
    /// Of [`Request::Pack`].
    Packed {
        /// Instances that are sealed now and were not before.
        instances_packed: u64,
    },
    /// Of [`Request::Verify`].
    Verified {
        /// Whether everything is as it should be.
        healthy: bool,
        /// What was looked at and found.
        report: serde_json::Value,
    },
    /// Of [`Request::Jobs`] and [`Request::OrderJob`].
    Jobs {
        /// Background jobs first, then those that run once.
        jobs: Vec<archive::JobStatus>,
    },
    /// Of [`Request::Import`].
    Imported(ImportSummary),
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PoolLine {
    pub(crate) name: String,
    pub(crate) tier: String,
    pub(crate) code: String,
    pub(crate) devices: Vec<DeviceLine>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceLine {
    pub(crate) path: String,
    pub(crate) id: Option<String>,
    pub(crate) online: bool,
    pub(crate) total_bytes: u64,
    pub(crate) free_bytes: u64,
    pub(crate) shards: u64,
}

/// What became of the files of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportSummary {
    /// Files that were looked at.
    pub(crate) files: u64,
    /// Instances that were not there before.
    pub(crate) stored: u64,
    /// Instances that were there with the same bytes.
    pub(crate) known: u64,
    /// Files that are not DICOM files.
    pub(crate) not_dicom: u64,
    /// Directories of media (DICOMDIR), which are not needed.
    pub(crate) dicomdir: u64,
    /// Files that are not stored although they should be.
    pub(crate) failed: u64,
    /// Bytes of the instances that are stored or known.
    pub(crate) bytes: u64,
}
