//! Promise 1 at its real boundary: kill -9 while instances come in, a few rounds. `bench crash` runs more.

use std::path::PathBuf;
use std::time::Duration;

use bench::crash::{Options, run};

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let directory = tempfile::TempDir::new().unwrap();
    let options = Options {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_filmroom")),
        directory: directory.path().to_owned(),
        rounds: 3,
        seed: 1,
        associations: 4,
        kill_after: (Duration::from_millis(300), Duration::from_secs(2)),
    };
    let mut acknowledged = 0;
    for round in run(&options).unwrap() {
        let round = round.unwrap();
        assert!(round.is_clean(), "{round:?}");
        acknowledged += round.acknowledged;
    }
    assert!(acknowledged > 0, "nothing was sent before the kills");
}
