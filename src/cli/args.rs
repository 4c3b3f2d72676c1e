//! Flags that commands share, and what they become.

use std::{num::NonZeroUsize, path::PathBuf};

use super::{Error, Exit, exit};
use crate::{
    output::{Format, Look},
    pipeline::{Folded, Reading, Skip},
    source::{self, Found, SourceError},
};

/// Where events come from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which logs")]
pub struct SourceArgs {
    /// Files, folders, `-` for standard input
    ///
    /// In a folder every audit log is read, in the folders below it too. gzip, zstd and tar are
    /// recognized by their first bytes. Rotated files beside their log are one log with it.
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Read with at most N threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// A line that is no event is an error
    #[arg(long)]
    pub strict: bool,
    /// Leave out exact repeats of a line
    #[arg(long)]
    pub unique: bool,
    /// Skip lines that are longer: bytes, or such as 512K, 64MiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub max_line: usize,
    /// Read everything, also what --since and --until allow to pass over
    #[arg(long)]
    pub no_skip: bool,
}

impl SourceArgs {
    /// The logs that are named. What was left out of folders, and what could not be looked at, is
    /// told on standard error.
    ///
    /// # Errors
    /// If nothing is left to read.
    pub fn sources(&self) -> Result<Sources, Error> {
        if self.paths.is_empty() {
            return Err(SourceError::NothingNamed.into());
        }
        let Found { logs, notes, failed } = source::find(&self.paths);
        notes.iter().for_each(|it| exit::note(it));
        let has_failed = !failed.is_empty();
        report(failed, logs.is_empty())?;
        Ok(Sources { logs, has_failed })
    }

    pub fn reading(&self) -> Reading {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Reading {
            threads: self.threads.map_or_else(cores, NonZeroUsize::get),
            max_line: self.max_line,
            unique: self.unique,
            // Who wants to hear of every bad line wants every line looked at.
            skip: (!self.no_skip && !self.strict).then(Skip::default),
        }
    }
}

/// The logs to read, and whether others are missing.
#[derive(Debug)]
pub struct Sources {
    pub logs: Vec<source::Log>,
    has_failed: bool,
}

impl Sources {
    /// Tells on standard error what could not be read, and gives how the command ends.
    ///
    /// # Errors
    /// If nothing could be read at all: then there is nothing to report.
    pub fn exit<R>(&self, folded: &mut Folded<R>) -> Result<Exit, Error> {
        folded.notes.iter().for_each(|it| exit::note(it));
        let failed = std::mem::take(&mut folded.failed);
        let is_partial = self.has_failed || !failed.is_empty();
        report(failed, folded.input.files == 0)?;
        Ok(if is_partial { Exit::Partial } else { Exit::Done })
    }
}

/// Tells about inputs that failed. If nothing else is left, the last of them ends the command.
fn report(mut failed: Vec<SourceError>, is_all: bool) -> Result<(), Error> {
    let last = if is_all { failed.pop() } else { None };
    failed.into_iter().for_each(|it| exit::warn(&it.into()));
    last.map_or(Ok(()), |it| Err(it.into()))
}

/// A number of bytes: `4096`, `512K`, `64MiB`. Units are powers of 1024.
fn size(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let shift = match text[digits..].trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err("give bytes, or a size such as `512K` or `64MiB`".to_owned()),
    };
    text[..digits]
        .parse()
        .ok()
        .filter(|it: &usize| *it > 0 && it.leading_zeros() > shift)
        .map(|it| it << shift)
        .ok_or_else(|| "give a number of bytes above zero, such as `512K` or `64MiB`".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in
            [("1", 1), ("4096", 4096), ("1K", 1024), ("64MiB", 64 << 20), ("2 gb", 2 << 30)]
        {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "K", "-1", "1.5M", "1x", "99999999999999999999", "99999999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
