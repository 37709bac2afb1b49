//! `bench growth` at a small size: fills an archive below the network, then every kind of question is answered right.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use bench::growth::{Line, Options, run};

#[test]
fn questions_of_every_kind_are_answered_right_as_the_archive_grows() {
    let directory = tempfile::TempDir::new().unwrap();
    // The embedded Postgres of a server that runs as root is another user's.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = Options {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_filmroom")),
        directory: directory.path().to_owned(),
        sizes: vec![150, 300],
        asked_max: 2,
        asked_for_max: Duration::from_secs(1),
    };
    let (mut sizes, mut asked) = (0, 0);
    run(&options, |line| {
        match line {
            Line::Size(size) => {
                sizes += 1;
                assert!(size.filled.is_some_and(|filled| filled.instances > 150));
            }
            Line::Asked(_) => asked += 1,
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(sizes, 2);
    assert!(asked >= 40, "{asked} questions");
}
