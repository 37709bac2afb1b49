//! Promise 10 at its real boundary: what is resident grows neither with the length of instances and studies nor with
//! how slowly they are read. `bench memory` tries the full size.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use bench::memory::{Options, run};

const MB: u64 = 1_000_000;
/// What may come on top of a server at rest: a fourth of what is sent at once, an eighth of what is read at once.
const GROWTH_BYTES_MAX: u64 = 160 * MB;

#[test]
fn long_instances_and_slow_readers_cost_bounded_memory() {
    let directory = tempfile::TempDir::new().unwrap();
    // The embedded Postgres of a server that runs as root is another user's.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = Options {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_filmroom")),
        directory: directory.path().to_owned(),
        associations: 16,
        instance_bytes: 40 * MB,
        pullers: 8,
        study_bytes: 160 * MB,
        study_instance_bytes: 16 * MB,
        pull_bytes_per_second: 8 * MB,
        studies: 400,
        searchers: 4,
        journal_bytes: 4 << 30,
        resident_bytes_max: 512 << 20,
        answer_wait_max: Duration::from_mins(1),
        at_least: Duration::from_secs(2),
    };
    let report = run(&options).unwrap();
    let grown = report.resident_most() - report.resident_before;
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes more: {report:#?}");
    assert_eq!((report.sent.stored, report.sent.no_room), (16, 0), "{report:#?}");
    assert!(report.pulled_bytes.0 > 0, "{report:#?}");
    let failed = report.probes.iter().any(|probe| probe.asked == 0 || !probe.failures.is_empty());
    assert!(!failed, "{report:#?}");
    let probed = u64::try_from(report.probes[1].asked).unwrap();
    assert_eq!(report.searched.1 / 4, 400 + 2 + 16 + probed, "{report:#?}");
}
