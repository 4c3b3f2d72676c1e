//! Flags that commands share, and what they become.

use std::path::PathBuf;

use crate::{
    output::{Format, Look},
    pipeline::Reading,
    source::{Input, Log, Place},
};

/// Where events come from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which logs")]
pub struct SourceArgs {
    /// Files, folders, `-` for standard input
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Read with at most N threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// A line that is no event is an error
    #[arg(long)]
    pub strict: bool,
    /// Leave out exact repeats of a line
    #[arg(long)]
    pub unique: bool,
}

impl SourceArgs {
    pub fn logs(&self) -> Vec<Log> {
        let log = |path: &PathBuf| {
            let name = path.display().to_string();
            Log {
                name: name.clone(),
                inputs: vec![Input { name, place: Place::File(path.clone()) }],
            }
        };
        self.paths.iter().map(log).collect()
    }

    pub fn reading(&self) -> Reading {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Reading {
            threads: self.threads.unwrap_or_else(cores).max(1),
            unique: self.unique,
            ..Reading::default()
        }
    }
}

/// How the result is shown.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Leave out the header line of tables
    #[arg(long)]
    pub no_headers: bool,
}

impl OutputArgs {
    pub fn look(&self) -> Look {
        Look { no_headers: self.no_headers, ..Look::default() }
    }
}
