//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Filmroom, a DICOM archive server.
#[derive(Debug, Parser)]
#[command(name = "filmroom", version, about, arg_required_else_help = true, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Configuration file (TOML); without it, the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory; overrides the configuration file's [default: ./filmroom-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Print results as JSON, for scripts.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server until it is told to stop (SIGTERM, Ctrl-C)
    Serve,
    /// Look at it: run a server, send it a generated study, pack, query and retrieve it
    Demo(Demo),
    /// Store the DICOM files below a path
    Import(Import),
    /// Check the configuration and say what it amounts to
    CheckConfig,
    /// Pools: groups of devices that share a code
    #[command(subcommand)]
    Pool(Pool),
    /// Devices: directories that keep shards
    #[command(subcommand)]
    Device(Device),
    /// Pack what is in the journal into containers
    Pack(Pack),
    /// Read everything that is stored and compare it with its checksums; changes nothing
    Verify,
    /// Fill the index anew from containers and journal; the server must be stopped
    RebuildIndex,
    /// Jobs: what the archive does on its own and what takes its time; without more, lists them
    Jobs(Jobs),
}

/// Arguments of `jobs`.
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    #[command(subcommand)]
    pub(crate) action: Option<JobAction>,
}

/// What to do with the jobs of a name.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum JobAction {
    /// Let a job stop at its next checkpoint; a background job stays paused over a restart
    Pause {
        /// Name of the job, as `jobs` lists it.
        name: String,
    },
    /// Let a paused job go on
    Resume {
        /// Name of the job.
        name: String,
    },
    /// Let a job work for a percentage of the time; survives a restart for a background job
    Throttle {
        /// Name of the job.
        name: String,
        /// 1 to 100; 100 is no throttle.
        #[arg(value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: u8,
    },
    /// End a job that runs once, at its next checkpoint
    Cancel {
        /// Name of the job.
        name: String,
    },
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Stop after the tour instead of staying up.
    #[arg(long)]
    pub(crate) once: bool,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// File or directory; directories are walked, links are not followed.
    pub(crate) path: PathBuf,
}

/// What to do with pools.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Pool {
    /// List pools with their tier, code and room
    List,
}

/// What to do with devices.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Device {
    /// List devices with their state and room
    List,
}

/// Arguments of `pack`.
#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// Now, without waiting for studies to be quiet or containers to be full.
    #[arg(long, required = true)]
    pub(crate) now: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn common_options_come_before_or_after_the_command() {
        let cli = Cli::try_parse_from(["filmroom", "--data", "/a", "import", "/b", "--json"]).unwrap();
        assert!(cli.common.json && cli.common.data.is_some());
    }

    #[test]
    fn packing_must_be_asked_for_explicitly() {
        assert!(Cli::try_parse_from(["filmroom", "pack"]).is_err());
        assert!(Cli::try_parse_from(["filmroom", "pack", "--now"]).is_ok());
    }
}
