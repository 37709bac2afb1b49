//! Promises 1 and 7 at their real boundary: kill -9 of the server and of its Postgres while instances come in, a few
//! rounds each. `bench crash` runs more.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use bench::crash::{Options, Round, Victim, run};

fn rounds(victim: Victim, rounds: u32, seed: u64) -> Vec<Round> {
    let directory = tempfile::TempDir::new().unwrap();
    // The embedded Postgres of a server that runs as root is another user's.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = Options {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_filmroom")),
        directory: directory.path().to_owned(),
        rounds,
        seed,
        associations: 4,
        kill_after: (Duration::from_millis(100), Duration::from_millis(900)),
        victim,
        fresh_every: rounds,
    };
    let rounds: Vec<Round> = run(&options).map(|(_, found)| found.unwrap()).collect();
    for round in &rounds {
        assert!(round.is_clean(), "{round:#?}");
    }
    let acknowledged: usize = rounds.iter().map(|round| round.acknowledged).sum();
    assert!(acknowledged > 0, "nothing was sent before the kills");
    rounds
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    rounds(Victim::Server, 3, 1);
}

#[test]
fn senders_do_not_wait_for_a_postgres_that_was_killed() {
    for round in rounds(Victim::Postgres, 2, 2) {
        assert!(round.longest_wait_ms < 5_000, "{round:#?}");
    }
}

#[test]
fn a_server_that_is_killed_while_its_postgres_is_dead_recovers_both() {
    rounds(Victim::Both, 2, 3);
}
