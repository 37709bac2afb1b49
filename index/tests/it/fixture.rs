//! A real Postgres for tests: a cluster for the process, a database for each test. The archive's tests include this file, too.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use dicom_core::Tag;
use dicom_data::query::{Key, Level, Matching, Query};
use dicom_data::{TagPath, Uid};
use index::{EmbeddedPostgres, Index};
use sqlx::postgres::PgConnectOptions;
use tokio::sync::Mutex;

struct Cluster {
    postgres: Option<EmbeddedPostgres>,
    // Removed after the server has ended.
    _directory: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(postgres) = self.postgres.take() else {
            return;
        };
        let pid = rustix::process::Pid::from_raw(i32::try_from(postgres.pid()).unwrap());
        drop(postgres);
        // An error means that it was waited for already.
        rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).ok();
    }
}

static CLUSTER: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database of its own; the server ends with its last user.
pub(crate) struct Fixture {
    pub(crate) index: Index,
    pub(crate) options: PgConnectOptions,
    _cluster: Arc<Cluster>,
}

/// Memory for pages of a test's Postgres.
pub(crate) const CACHE: Option<u64> = Some(32 << 20);

/// Makes a directory that an unprivileged user can reach.
pub(crate) fn directory() -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::Builder::new().prefix("filmroom").tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let inside = directory.path().join("postgres");
    (directory, inside)
}

pub(crate) async fn fixture() -> Fixture {
    let mut shared = CLUSTER.lock().await;
    let cluster = if let Some(cluster) = shared.upgrade() {
        cluster
    } else {
        let (directory, inside) = directory();
        let postgres = Some(EmbeddedPostgres::start(&inside, CACHE).await.unwrap());
        let cluster = Arc::new(Cluster { postgres, _directory: directory });
        *shared = Arc::downgrade(&cluster);
        cluster
    };
    let options = cluster.postgres.as_ref().unwrap().options();
    let admin = sqlx::PgPool::connect_with(options.clone()).await.unwrap();
    let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&admin).await.unwrap();
    drop(shared);
    let options = options.database(&name);
    let index = Index::connect(options.clone(), 8).await.unwrap();
    Fixture { index, options, _cluster: cluster }
}

pub(crate) fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

pub(crate) fn query(level: Level, keys: &[(&[Tag], Matching)]) -> Query {
    let keys =
        keys.iter().map(|(path, matching)| Key { path: TagPath(path.to_vec()), matching: matching.clone() }).collect();
    Query { level, keys, limit: None, offset: 0, combined_date_time: false }
}
