//! The command line: reads flags, calls the steps in order, turns the result into an exit status.

use std::io::Write;

use clap::{Parser, Subcommand};

mod actions;
mod args;
mod cluster_args;
mod completion;
mod doctor;
mod events;
mod execs;
mod exit;
mod fetch;
mod filter_args;
mod hints;
mod history;
mod interrupt;
mod limit;
mod policy;
mod progress;
mod rbac;
mod rbac_args;
mod resolve;
mod stats;
mod summary;
mod usage;
mod version;
mod who;

pub use completion::answer;
pub use exit::{Error, Exit, report};
pub use usage::{command, parse, report_usage};

/// The plugin's name: `kubectl NAME`, and `kubectl-NAME` on the path.
pub const NAME: &str = "audit";

/// Who did what in this cluster, with which right, and what did it cause?
///
/// Answers from Kubernetes audit logs.
#[derive(Debug, Parser)]
#[command(name = "kubectl-audit", version, max_term_width = 100)]
#[command(after_help = "Examples:
  # Who did what, in a log of this computer
  kubectl audit stats -k user.username,verb examples/audit.log

  # What was refused during the last hour, in this cluster
  kubectl audit events --since 1h --code 403

  # Who was inside which container
  kubectl audit execs examples/audit.log

  # How auditing is set up here
  kubectl audit doctor

Recipes, each a question and its command: docs/guide/recipes.md of the project")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[arg(skip)]
    is_quiet: bool,
}

/// In the order in which a person meets them.
#[derive(Debug, Subcommand)]
enum Command {
    #[command(alias = "stat")]
    Stats(stats::Args),
    #[command(alias = "event")]
    Events(events::Args),
    #[command(alias = "exec")]
    Execs(execs::Args),
    #[command(alias = "action")]
    Actions(actions::Args),
    History(history::Args),
    Who(who::Args),
    Rbac(rbac::Args),
    Policy(policy::Args),
    Fetch(fetch::Args),
    Doctor(doctor::Args),
    Completion(completion::Args),
    Version(version::Args),
}

/// Runs a command, data to `out`.
///
/// # Errors
/// If it could not be done.
pub fn run(cli: Cli, out: &mut dyn Write) -> Result<Exit, Error> {
    if cli.is_quiet {
        exit::hush();
    }
    match cli.command {
        Command::Stats(args) => stats::run(args, out),
        Command::Events(args) => events::run(args, out),
        Command::Execs(args) => execs::run(args, out),
        Command::Actions(args) => actions::run(args, out),
        Command::History(args) => history::run(args, out),
        Command::Who(args) => who::run(args, out),
        Command::Rbac(args) => rbac::run(args, out),
        Command::Policy(args) => policy::run(args, out),
        Command::Fetch(args) => fetch::run(args, out),
        Command::Doctor(args) => doctor::run(&args, out),
        Command::Completion(args) => completion::run(&args, out),
        Command::Version(args) => version::run(&args, out),
    }
}
