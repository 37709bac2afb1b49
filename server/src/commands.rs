//! What the command line's commands do.

mod print;

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, bail};
use archive::Archive;
use tokio::runtime::{Builder, Runtime};

use crate::admin::{Answer, JobOrder, Request, ask, execute};
use crate::cli::{Cli, Command, Device, JobAction, Jobs, Pool};
use crate::commands::print::print;
use crate::config::{Config, Log, LogLevel};
use crate::lifecycle::{Running, StopSignals};
use crate::options::{admin_socket, archive_options};
use crate::progress::{Display, channel};
use crate::{demo, logging, output};

/// Runs the command; the error says what the user can do about it.
pub(crate) fn run(cli: &Cli) -> anyhow::Result<()> {
    let common = &cli.common;
    if let Command::Demo(arguments) = &cli.command {
        return runtime()?.block_on(demo::run(common, arguments.once));
    }
    let config = Config::load(common.config.as_deref(), common.data.as_deref())?;
    match &cli.command {
        Command::CheckConfig => check_config(&config, common.json),
        Command::Serve => {
            logging::start(&config.log)?;
            runtime()?.block_on(serve(&config))
        }
        Command::Demo(_) => Ok(()),
        Command::Import(_)
        | Command::Pool(_)
        | Command::Device(_)
        | Command::Pack(_)
        | Command::Verify
        | Command::Jobs(_)
        | Command::RebuildIndex => {
            logging::start(&quieter(&config.log))?;
            runtime()?.block_on(work(&config, cli))
        }
    }
}

/// Steps of tasks after which a busy thread of the runtime looks for what has come from sockets and other threads. A
/// step that takes in or sends a MiB is long: with the usual 61, Postgres' answers lay there for seconds while many
/// long instances came in.
const STEPS_BETWEEN_LOOKS: u32 = 8;

/// Returns the runtime that everything runs in.
fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.event_interval(STEPS_BETWEEN_LOOKS).global_queue_interval(STEPS_BETWEEN_LOOKS);
    builder.enable_all().build().context("start the runtime")
}

/// Commands tell the user themselves what they do; the log is for what went wrong.
fn quieter(log: &Log) -> Log {
    let level = match log.level {
        LogLevel::Info => LogLevel::Warn,
        LogLevel::Error | LogLevel::Warn | LogLevel::Debug | LogLevel::Trace => log.level,
    };
    Log { level, ..log.clone() }
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut signals = StopSignals::listen()?;
    let mut running = tokio::select! {
        running = Running::start(config) => running?,
        // Nothing was acknowledged yet: going away without order is as good as kill -9.
        name = signals.next() => bail!("stopped by {name} before the server was up"),
    };
    output::line(ready_line(&running))?;
    let ended = running.until_signal(&mut signals).await;
    tokio::select! {
        () = running.stop() => ended,
        name = signals.next() => bail!("stopped by a second signal ({name}); the next start recovers"),
    }
}

/// Returns the line that scripts wait for.
fn ready_line(running: &Running) -> String {
    let list =
        |addresses: &[std::net::SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    format!("ready dicom={} http={}", list(&running.dicom), list(&running.http))
}

fn check_config(config: &Config, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(config);
    }
    for pool in &config.pool {
        output::line(format!(
            "pool {}: {} devices, code {}, tier {}",
            pool.name,
            pool.devices.len(),
            pool.code,
            pool.tier
        ))?;
    }
    let index = config.index.url.clone().map_or("a cluster of its own".to_owned(), String::from);
    output::line(format!("index: {index}"))?;
    for copy in &config.journal.copies {
        output::line(format!("journal copy: {}", copy.display()))?;
    }
    output::line("the configuration can be used")
}

/// Runs a command that needs what is stored: in the running server if there is one, in this process otherwise.
async fn work(config: &Config, cli: &Cli) -> anyhow::Result<()> {
    let json = cli.common.json;
    let request = match &cli.command {
        Command::RebuildIndex => return rebuild_index(config, json).await,
        Command::Import(arguments) => Request::Import { path: absolute(&arguments.path)? },
        Command::Pool(Pool::List) | Command::Device(Device::List) => Request::Pools,
        Command::Pack(_) => Request::Pack,
        Command::Verify => Request::Verify,
        Command::Jobs(arguments) => jobs_request(arguments),
        Command::Serve | Command::Demo(_) | Command::CheckConfig => {
            bail!("this command needs nothing that is stored")
        }
    };
    let answer = answer(config, request, json).await?;
    let devices = matches!(cli.command, Command::Device(_));
    if json {
        output::json(&answer)?;
    } else {
        print(&answer, devices)?;
    }
    match answer {
        Answer::Imported(summary) if summary.failed > 0 => {
            bail!("{} files were not stored", summary.failed)
        }
        Answer::Verified { healthy: false, .. } => {
            bail!("what is stored is damaged or incomplete; see the report")
        }
        Answer::Imported(_)
        | Answer::Verified { .. }
        | Answer::Pools { .. }
        | Answer::Packed { .. }
        | Answer::Jobs { .. } => Ok(()),
    }
}

fn jobs_request(arguments: &Jobs) -> Request {
    let (name, order) = match &arguments.action {
        None => return Request::Jobs,
        Some(JobAction::Pause { name }) => (name, JobOrder::Pause),
        Some(JobAction::Resume { name }) => (name, JobOrder::Resume),
        Some(JobAction::Throttle { name, percent }) => (name, JobOrder::Throttle(*percent)),
        Some(JobAction::Cancel { name }) => (name, JobOrder::Cancel),
    };
    Request::OrderJob { name: name.clone(), order }
}

async fn answer(config: &Config, request: Request, json: bool) -> anyhow::Result<Answer> {
    let display = Display::new(json || !std::io::stderr().is_terminal());
    let (mut signals, socket) = (StopSignals::listen()?, admin_socket(config));
    tokio::select! {
        asked = ask(&socket, &request, &display) => {
            if let Some(answer) = asked? {
                return Ok(answer);
            }
        }
        name = signals.next() => bail!("stopped by {name}"),
    }
    let archive = Archive::start(archive_options(config)).await.context("start the archive")?;
    let (reporter, events) = channel();
    let showing = tokio::spawn(display.run(events));
    let answer = tokio::select! {
        answer = execute(&archive, request, reporter) => answer,
        name = signals.next() => Err(anyhow::anyhow!("stopped by {name}")),
    };
    let end = async {
        showing.await.context("show progress")?;
        archive.stop().await;
        answer
    };
    tokio::select! {
        answer = end => answer,
        name = signals.next() => bail!("stopped by a second signal ({name}); the next start recovers"),
    }
}

async fn rebuild_index(config: &Config, json: bool) -> anyhow::Result<()> {
    let display = Display::new(json || !std::io::stderr().is_terminal());
    let (reporter, events) = channel();
    let showing = tokio::spawn(display.run(events));
    let rebuilt = Archive::rebuild_index(archive_options(config), reporter.for_archive("rebuild")).await;
    drop(reporter);
    showing.await.context("show progress")?;
    let instances = rebuilt.context("rebuild the index")?;
    if json {
        return output::json(&serde_json::json!({ "instances_indexed": instances }));
    }
    output::line(format!("indexed {instances} instances"))
}

/// The running server may have another working directory.
fn absolute(path: &std::path::Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("import {}", path.display()))
}
