//! What can go wrong in the index; a variant exists because a caller acts on it.

use std::path::PathBuf;

use dicom_data::query::InvalidKey;

/// An error of the index.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres cannot be reached now; the same call may succeed later.
    #[error("ask the index: Postgres is away, try again in some seconds")]
    Away(#[source] sqlx::Error),
    /// Postgres refused a statement: a bug, or a schema that something else changed.
    #[error("ask the index: Postgres refused a statement")]
    Statement(#[source] sqlx::Error),
    /// The schema cannot be brought up to date.
    #[error("bring the index schema up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The server's settings or version would break a promise.
    #[error("use this Postgres: {reason}")]
    Unsuitable {
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A query key cannot be used.
    #[error(transparent)]
    InvalidKey(#[from] InvalidKey),
    /// A row does not hold what the archive wrote there.
    #[error("read index row: {what} is damaged, run rebuild-index")]
    Damaged {
        /// Which part of it.
        what: &'static str,
    },
    /// No such row; what named it is out of date.
    #[error("read index row: there is no such {what}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// The machine has no PostgreSQL server.
    #[error(
        "start own Postgres: no PostgreSQL server programs found, install them (apt install postgresql, \
         dnf install postgresql-server) or set index.url"
    )]
    NoPrograms,
    /// The cluster was made by another major version.
    #[error(
        "start own Postgres: the cluster in {directory} was made by PostgreSQL {cluster}, installed is {installed}: \
         install PostgreSQL {cluster}, or move the directory away and run rebuild-index"
    )]
    ProgramVersion {
        /// The cluster.
        directory: PathBuf,
        /// Its major version.
        cluster: String,
        /// The newest that is installed.
        installed: String,
    },
    /// The cluster could not be made or started.
    #[error("start own Postgres: {reason}")]
    Cluster {
        /// What failed and where to look.
        reason: String,
    },
    /// A local file or process failed.
    #[error("start own Postgres: {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Tells whether the same call may succeed later without anybody doing something.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_away(&error) { Self::Away(error) } else { Self::Statement(error) }
    }
}

const PASSING: [&str; 4] = ["08", "40", "53", "57"];

/// Connections that break and servers that start or stop (SQLSTATE classes 08, 53 and 57) pass by themselves, and so do
/// transactions that Postgres asks to repeat (class 40).
fn is_away(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Database(database) = error {
        let passes = |code: &str| PASSING.iter().any(|class| code.starts_with(class));
        return database.code().is_some_and(|code| passes(&code));
    }
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
    )
}
