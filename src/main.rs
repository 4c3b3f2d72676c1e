//! The program: parse, run, exit.

use std::{
    io::{BufWriter, Write, stdout},
    process::ExitCode,
};

use clap::Parser;
use kubectl_audit::cli::{self, Cli};

fn main() -> ExitCode {
    let mut out = BufWriter::new(stdout().lock());
    let result =
        cli::run(Cli::parse(), &mut out).and_then(|exit| Ok(out.flush().map(|()| exit)?));
    match result {
        Ok(exit) => exit.into(),
        Err(err) => cli::report(&err),
    }
}
