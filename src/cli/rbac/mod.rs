//! `kubectl audit rbac`

use std::io::Write;

use clap::Subcommand;

use super::{Error, Exit};

mod evaluate;
mod generate;
mod unused;
mod who_can;

/// Hold recorded requests against roles and bindings
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # Who may read secrets, and who of them did?
  kubectl audit rbac who-can get secrets --rbac examples/rbac.json examples/audit.log

  # Which grants were not used?
  kubectl audit rbac unused --rbac examples/rbac.json examples/audit.log

  # The least role for what a service account did
  kubectl audit rbac generate --subject team-a/builder examples/audit.log")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    WhoCan(who_can::Args),
    Evaluate(evaluate::Args),
    Unused(unused::Args),
    Generate(generate::Args),
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    match args.command {
        Command::WhoCan(args) => who_can::run(args, out),
        Command::Evaluate(args) => evaluate::run(args, out),
        Command::Unused(args) => unused::run(args, out),
        Command::Generate(args) => generate::run(args, out),
    }
}
