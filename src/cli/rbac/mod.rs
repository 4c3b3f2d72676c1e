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
