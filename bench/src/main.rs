//! The binary `bench`.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use cli::{crash, growth, memory, table, work};

/// Trials of a running Filmroom from outside.
#[derive(Debug, Parser)]
#[command(name = "bench", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    trial: Trial,
}

#[derive(Debug, Subcommand)]
enum Trial {
    /// Measure ours beside its peers and print the table.
    Table(table::Table),
    /// Send instances to any server by C-STORE.
    Store(work::StoreWork),
    /// Ask any server by C-FIND.
    Find(work::FindWork),
    /// Get a study from any server by C-GET.
    Get(work::GetWork),
    /// Have any server move a study by C-MOVE.
    Move(work::MoveWork),
    /// Receive by C-STORE, acknowledge at once and keep nothing.
    Sink(work::SinkWork),
    /// Name the machine and its limits.
    Machine(work::MachineWork),
    /// Kill a server with SIGKILL while it takes instances in, and see that nothing acknowledged is lost.
    Crash(crash::Crash),
    /// Fill archives of growing size and ask the same questions at each.
    Growth(growth::Growth),
    /// Send much, read slowly and ask for everything, all at once, and see that the server's memory stays bounded.
    Memory(memory::Memory),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().trial {
        Trial::Table(arguments) => table::run(arguments),
        Trial::Store(arguments) => work::store(&arguments),
        Trial::Find(arguments) => work::find(&arguments),
        Trial::Get(arguments) => work::get(&arguments),
        Trial::Move(arguments) => work::move_study(&arguments),
        Trial::Sink(arguments) => work::sink(&arguments),
        Trial::Machine(arguments) => work::machine(&arguments),
        Trial::Crash(arguments) => crash::run(arguments),
        Trial::Growth(arguments) => growth::run(arguments),
        Trial::Memory(arguments) => memory::run_and_report(arguments),
    }
}
