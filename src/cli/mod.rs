//! The command line: reads flags, calls the steps in order, turns the result into an exit status.

use std::io::Write;

use clap::{Parser, Subcommand};

mod args;
mod cluster_args;
mod completion;
mod doctor;
mod events;
mod execs;
mod exit;
mod fetch;
mod filter_args;
mod interrupt;
mod policy;
mod progress;
mod stats;
mod summary;
mod usage;
mod version;

pub use completion::answer;
pub use exit::{Error, Exit, report};
pub use usage::{parse, report_usage};

/// The plugin's name: `kubectl NAME`, and `kubectl-NAME` on the path.
pub const NAME: &str = "audit";

/// Who did what in this cluster, with which right, and what did it cause?
///
/// Answers from Kubernetes audit logs.
#[derive(Debug, Parser)]
#[command(name = "kubectl-audit", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Execs(execs::Args),
    Stats(stats::Args),
    Events(events::Args),
    Fetch(fetch::Args),
    Doctor(doctor::Args),
    Policy(policy::Args),
    Completion(completion::Args),
    Version(version::Args),
}

/// Runs a command, data to `out`.
///
/// # Errors
/// If it could not be done.
pub fn run(cli: Cli, out: &mut dyn Write) -> Result<Exit, Error> {
    match cli.command {
        Command::Execs(args) => execs::run(args, out),
        Command::Stats(args) => stats::run(args, out),
        Command::Events(args) => events::run(args, out),
        Command::Doctor(args) => doctor::run(&args, out),
        Command::Fetch(args) => fetch::run(args, out),
        Command::Policy(args) => policy::run(args, out),
        Command::Completion(args) => completion::run(&args, out),
        Command::Version(args) => version::run(&args, out),
    }
}
