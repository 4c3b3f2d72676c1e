//! `kubectl audit rbac`

use std::io::Write;

use clap::Subcommand;

use super::{Error, Exit};

mod evaluate;

/// Hold recorded requests against roles and bindings
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Evaluate(evaluate::Args),
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    match args.command {
        Command::Evaluate(args) => evaluate::run(args, out),
    }
}
