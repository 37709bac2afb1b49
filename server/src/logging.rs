//! Log lines on standard error. What goes into them is decided where they are written: never patient data, never secrets.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{InvalidConfig, Log, LogFormat, LogLevel};

/// Environment variable that overrides the level, in the syntax of `tracing_subscriber::EnvFilter`.
const VARIABLE: &str = "FILMROOM_LOG";

/// Starts logging; once in a process.
pub(crate) fn start(log: &Log) -> Result<(), InvalidConfig> {
    let filter = filter(std::env::var(VARIABLE).ok().as_deref(), log.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match log.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| InvalidConfig(format!("start logging: {error}")))
}

fn filter(variable: Option<&str>, level: LogLevel) -> Result<EnvFilter, InvalidConfig> {
    match variable.filter(|text| !text.trim().is_empty()) {
        Some(text) => EnvFilter::try_new(text)
            .map_err(|error| InvalidConfig(format!("{VARIABLE}: {error}; use a level as in \"info,archive=debug\""))),
        None => Ok(EnvFilter::new(match level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            // The libraries below log every statement and connection, which is no state change of ours.
            LogLevel::Info => "info,sqlx=warn,hyper=warn,h2=warn",
            LogLevel::Debug => "debug,sqlx=warn,hyper=info,h2=info",
            LogLevel::Trace => "trace",
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_and_is_checked() {
        assert_eq!(filter(Some("archive=debug"), LogLevel::Error).unwrap().to_string(), "archive=debug");
        assert_eq!(filter(Some(" "), LogLevel::Error).unwrap().to_string(), "error");
        assert!(filter(Some("archive=loud"), LogLevel::Error).unwrap_err().0.starts_with("FILMROOM_LOG: "));
    }
}
