//! The program: parse, run, exit.

use std::{
    env::args_os,
    io::{BufWriter, Write, stdout},
    process::ExitCode,
};

use kubectl_audit::cli;

fn main() -> ExitCode {
    let args: Vec<_> = args_os().collect();
    if let Some(answered) = cli::answer(&args, &mut stdout().lock()) {
        return if answered.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let cli = match cli::parse(args) {
        Ok(cli) => cli,
        Err(err) => return cli::report_usage(err),
    };
    let mut out = BufWriter::new(stdout().lock());
    let result = cli::run(cli, &mut out).and_then(|exit| Ok(out.flush().map(|()| exit)?));
    match result {
        Ok(exit) => exit.into(),
        Err(err) => cli::report(&err),
    }
}
