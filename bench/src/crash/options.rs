//! What a trial kills, and when.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Victim {
    /// The server, which is then started again.
    Server,
    /// A process of the server's own Postgres: the server goes on and starts it again by itself.
    Postgres,
    /// The one, the other, or one shortly after the other.
    Both,
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary to try.
    pub binary: PathBuf,
    /// Where the server's data, configuration and log go.
    pub directory: PathBuf,
    /// How often to kill.
    pub rounds: u32,
    /// Seed of the first round; each further round has the next. It decides on data and moments.
    pub seed: u64,
    /// Associations that send at a time.
    pub associations: u32,
    /// The kill comes between these.
    pub kill_after: (Duration, Duration),
    /// What is killed.
    pub victim: Victim,
    /// After so many rounds a new data directory is begun.
    pub fresh_every: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            binary: PathBuf::from("target/release/filmroom"),
            directory: PathBuf::new(),
            rounds: 10,
            seed: 1,
            associations: 4,
            kill_after: (Duration::from_millis(30), Duration::from_millis(1200)),
            victim: Victim::Server,
            fresh_every: 10,
        }
    }
}

/// What is killed in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Killed {
    /// The server.
    Server,
    /// The first process of Postgres.
    Postmaster,
    /// A process of Postgres that serves a connection: Postgres restarts itself.
    Backend,
    /// The first process of Postgres, and the server while it starts it again.
    PostmasterThenServer,
}

/// What goes on when the kill comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum During {
    /// Instances come in; what is quiet is packed.
    Ingest,
    /// Instances come in, and `filmroom pack --now` runs again and again.
    IngestAndPack,
    /// Nothing comes in any more, `filmroom pack --now` has begun.
    Pack,
    /// As `Ingest`, and the server is killed twice more while it starts.
    Start,
}
