//! The binary `filmroom`: command line, configuration, wiring, start and stop order.

mod admin;
mod cli;
mod commands;
mod config;
mod demo;
mod http;
mod import;
mod lifecycle;
mod logging;
mod options;
mod output;
mod progress;
mod warnings;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::config::InvalidConfig;

/// Exit code of a command that failed.
const EXIT_FAILED: u8 = 1;
/// Exit code of wrong usage or an unusable configuration; clap uses the same.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = commands::run(&cli);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // When standard error is closed, there is no way left to tell.
            drop(writeln!(std::io::stderr(), "filmroom: {error:#}"));
            let usage = error.downcast_ref::<InvalidConfig>().is_some();
            ExitCode::from(if usage { EXIT_USAGE } else { EXIT_FAILED })
        }
    }
}
