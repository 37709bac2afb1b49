//! Single works by hand, against any server; each prints a line of JSON.

use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use bench::load::dimse::{self, Find, Query, Store, Style};
use bench::load::sink::Sink;
use bench::measure::limits;
use bench::measure::machine::Machine;
use bench::{data, process};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

/// The server.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Where it takes associations.
    #[arg(long, value_name = "ADDRESS")]
    dicom: SocketAddr,
    /// Its application entity title.
    #[arg(long, default_value = "FILMROOM")]
    ae: String,
}

/// What `bench store` takes.
#[derive(Debug, Args)]
pub(crate) struct StoreWork {
    #[command(flatten)]
    server: Server,
    /// Associations at a time.
    #[arg(long, default_value_t = 4)]
    associations: usize,
    /// Slices of 60 KB of a study.
    #[arg(long, default_value_t = 1000)]
    slices: u32,
    /// Radiographs of 15 MB that each association sends, too.
    #[arg(long, default_value_t = 0)]
    radiographs: u32,
    /// Studies that each association sends.
    #[arg(long, default_value_t = 1)]
    copies: u32,
    /// How the bytes leave.
    #[arg(long, value_enum, default_value_t = Leave::Vectored)]
    style: Leave,
    /// Makes identifiers fresh; absent: at random.
    #[arg(long)]
    salt: Option<u32>,
}

/// How the bytes leave.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Leave {
    /// One vectored write an instance, Nagle off.
    Vectored,
    /// As DCMTK's default: Nagle on, two writes a PDU of 16 KiB.
    Dcmtk,
}

/// What `bench find` takes.
#[derive(Debug, Args)]
pub(crate) struct FindWork {
    #[command(flatten)]
    server: Server,
    /// Level.
    #[arg(long, value_enum, default_value_t = Level::Study)]
    level: Level,
    /// A key, such as `00100020=TEST-000001`; an empty value has it returned.
    #[arg(long = "key", value_name = "TAG=VALUE", value_parser = key)]
    keys: Vec<(u32, String)>,
    /// How many matches are right.
    #[arg(long)]
    matches: usize,
    /// Associations at a time.
    #[arg(long, default_value_t = 1)]
    associations: usize,
    /// Queries in total.
    #[arg(long, default_value_t = 100)]
    total: usize,
}

/// Level of a query.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    /// Studies.
    Study,
    /// Series.
    Series,
    /// Instances.
    Image,
}

/// What `bench get` takes.
#[derive(Debug, Args)]
pub(crate) struct GetWork {
    #[command(flatten)]
    server: Server,
    /// Study Instance UID.
    #[arg(long)]
    study: String,
    /// How many instances it has.
    #[arg(long)]
    instances: usize,
}

/// What `bench move` takes.
#[derive(Debug, Args)]
pub(crate) struct MoveWork {
    #[command(flatten)]
    study: GetWork,
    /// Title of the destination, which the server knows (see `bench sink`).
    #[arg(long)]
    destination: String,
}

/// What `bench sink` takes.
#[derive(Debug, Args)]
pub(crate) struct SinkWork {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// What `bench machine` takes.
#[derive(Debug, Args)]
pub(crate) struct MachineWork {
    /// A directory on the disk to measure.
    #[arg(long, default_value = ".")]
    directory: PathBuf,
}

/// Sends.
pub(crate) fn store(work: &StoreWork) -> anyhow::Result<ExitCode> {
    let mut samples = data::slices(1, work.slices);
    samples.extend(data::radiographs(2, work.radiographs));
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let salt = work.salt.unwrap_or(u32::try_from(random % 90_000_000)?);
    print(&dimse::store(&Store {
        address: work.server.dicom,
        ae: &work.server.ae,
        samples: &samples,
        associations: work.associations,
        copies: work.copies,
        salt: Some(salt),
        style: match work.style {
            Leave::Vectored => Style::Vectored,
            Leave::Dcmtk => Style::LikeDcmtk,
        },
    })?)
}

/// Asks.
pub(crate) fn find(work: &FindWork) -> anyhow::Result<ExitCode> {
    let level = match work.level {
        Level::Study => "STUDY",
        Level::Series => "SERIES",
        Level::Image => "IMAGE",
    };
    let query = Query { level, keys: work.keys.clone(), matches: work.matches };
    print(&dimse::find(&Find {
        address: work.server.dicom,
        ae: &work.server.ae,
        queries: &[query],
        associations: work.associations,
        total: work.total,
    })?)
}

/// Gets.
pub(crate) fn get(work: &GetWork) -> anyhow::Result<ExitCode> {
    print(&dimse::c_get(work.server.dicom, &work.server.ae, &work.study, work.instances)?)
}

/// Moves.
pub(crate) fn move_study(work: &MoveWork) -> anyhow::Result<ExitCode> {
    let MoveWork { study: GetWork { server, study, instances }, destination } = work;
    print(&dimse::c_move(server.dicom, &server.ae, study, destination, *instances)?)
}

/// Receives until it is killed, and prints what came every second something came.
pub(crate) fn sink(work: &SinkWork) -> anyhow::Result<ExitCode> {
    let sink = Sink::open_at(work.listen)?;
    print(&json!({"listens": sink.address().to_string()}))?;
    loop {
        process::pause(std::time::Duration::from_secs(1));
        let (instances, bytes) = sink.take();
        if instances > 0 {
            print(&json!({"instances": instances, "bytes": bytes}))?;
        }
    }
}

/// Names the machine and measures its limits.
pub(crate) fn machine(work: &MachineWork) -> anyhow::Result<ExitCode> {
    print(&json!({"machine": Machine::here(), "limits": limits::Limits::measure(&work.directory)?}))
}

fn print(line: &impl Serialize) -> anyhow::Result<ExitCode> {
    writeln!(io::stdout(), "{}", serde_json::to_string(line)?)?;
    Ok(ExitCode::SUCCESS)
}

fn key(text: &str) -> anyhow::Result<(u32, String)> {
    let (tag, value) = text.split_once('=').context("a key is TAG=VALUE")?;
    Ok((u32::from_str_radix(tag, 16).context("a tag has eight hexadecimal digits")?, value.to_owned()))
}
