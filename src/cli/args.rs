//! Flags that commands share, and what they become.

use std::{
    io::{self, IsTerminal, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{
    Error, Exit,
    cluster_args::{self, ClusterArgs},
    exit, interrupt,
    progress::Drawn,
    summary,
};
use crate::{
    decode::InputSummary,
    filter::Window,
    output::{self, Format, Look},
    pipeline::{Folded, Followed, Reading, Skip},
    report::Report,
    source::{
        self, Follow, Found, SourceError,
        node::{self, NodeQuery},
    },
};

/// Where events come from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which logs")]
pub struct SourceArgs {
    /// Files, folders, `-` for standard input [default: the control-plane nodes of the cluster]
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
    /// Without a PATH: also show the requests with which this run reads the logs
    #[arg(long)]
    pub include_self: bool,
    #[command(flatten)]
    pub nodes: NodeArgs,
}

/// For commands that can tell what they saw before the end is reached.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which logs")]
pub struct FollowArgs {
    /// Keep reading, through rotation, until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// With --follow: how often to look for new lines on each node, such as 1.5s or 1m
    #[arg(long, value_name = "D", default_value = "1.5s", value_parser = interval)]
    pub poll_interval: Duration,
}

/// A span of time between two looks: each is a request to the API server.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = cluster_args::timeout(text)?;
    if interval < Duration::from_millis(100) {
        return Err("give at least 100ms: each look is a request to the API server".to_owned());
    }
    Ok(interval)
}

/// A span of time that a node may be silent.
fn node_timeout(text: &str) -> Result<Duration, String> {
    match cluster_args::timeout(text)? {
        Duration::ZERO => Err("give a span of time above zero, such as `30s`".to_owned()),
        timeout => Ok(timeout),
    }
}

/// Which logs of the cluster, where no PATH is given.
#[derive(Debug, Clone, clap::Args)]
pub struct NodeArgs {
    /// Of the cluster: the log of this node only; repeatable, or several with commas
    #[arg(long = "node", value_name = "NAME", value_delimiter = ',')]
    pub names: Vec<String>,
    /// Of the cluster: where the log is on its node [default: looked for]
    #[arg(long, value_name = "FILE")]
    pub log_path: Option<String>,
    /// Give up on a node that sends no byte for so long; the other nodes are still read
    #[arg(long, value_name = "D", default_value = "30s", value_parser = node_timeout)]
    pub node_timeout: Duration,
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

impl NodeArgs {
    /// Finds the logs of the cluster that is chosen.
    ///
    /// # Errors
    /// If there is no cluster, or its nodes cannot be found.
    pub fn find(&self, window: Window) -> Result<Found, Error> {
        let cluster = self.cluster.connect()?;
        Ok(node::find(&cluster, &self.query(window)).map_err(SourceError::Node)?)
    }

    fn follow(
        &self,
        window: Window,
        interval: Duration,
    ) -> Result<(Vec<Follow>, Vec<SourceError>), Error> {
        let cluster = self.cluster.connect()?;
        let query = self.query(window);
        Ok(node::follow(&cluster, &query, interval).map_err(SourceError::Node)?)
    }

    /// The same for one node.
    #[must_use]
    pub fn of(&self, node: &str) -> NodeArgs {
        NodeArgs { names: vec![node.to_owned()], ..self.clone() }
    }

    fn query(&self, window: Window) -> NodeQuery {
        NodeQuery {
            nodes: self.names.clone(),
            log_path: self.log_path.clone(),
            window,
            timeout: self.node_timeout,
        }
    }
}

impl SourceArgs {
    /// The logs that are named, or else those of the cluster. What was left out of folders, and what
    /// could not be looked at, is told on standard error. What is outside the window of time does not
    /// travel over the network.
    ///
    /// # Errors
    /// If nothing is left to read.
    pub fn sources(&self, window: Window) -> Result<Sources, Error> {
        self.warn_of_user();
        let skip = if self.may_skip() { window } else { Window::default() };
        let found = match self.paths.is_empty() {
            true => self.nodes.find(skip)?,
            false => source::find_within(&self.paths, skip),
        };
        let sources = Sources::found(found)?;
        Ok(Sources { is_strict: self.strict, is_all: skip == Window::default(), ..sources })
    }

    /// The logs that are named, or else those of the cluster, to be followed until an interrupt.
    ///
    /// # Errors
    /// If there is nothing to follow.
    pub fn followed(
        &self,
        window: Window,
        follow: &FollowArgs,
    ) -> Result<(Followed, Sources), Error> {
        self.warn_of_user();
        let since = window.since.filter(|_| self.may_skip());
        let (mut follows, mut failed) = (Vec::new(), Vec::new());
        if self.paths.is_empty() {
            (follows, failed) = self.nodes.follow(window, follow.poll_interval)?;
        }
        for path in &self.paths {
            if path.is_dir() {
                let found = source::find(std::slice::from_ref(path));
                follows.extend(found.logs.iter().filter_map(|it| Follow::log(it, since)));
                failed.extend(found.failed);
            } else if path.as_os_str() == "-" {
                return Err(SourceError::Endless.into());
            } else {
                note_of_rest(path);
                follows.push(Follow::file(path, since));
            }
        }
        let has_failed = !failed.is_empty();
        report(failed, follows.is_empty())?;
        let followed = Followed::new(follows);
        interrupt::stop(followed.stop())?;
        let is_strict = self.strict;
        Ok((followed, Sources { logs: Vec::new(), has_failed, is_strict, is_all: false }))
    }

    /// Other tools choose events by `--user`: a count of everything would look like an answer.
    fn warn_of_user(&self) {
        if let Some(user) = self.nodes.cluster.user.as_ref().filter(|_| !self.paths.is_empty()) {
            exit::warning("`--user` is a user of the kubeconfig, and chooses no events of files");
            exit::advise(&format!("hint: `--subject {user}` chooses by user"));
        }
    }

    pub fn reading(&self) -> Reading {
        Reading {
            threads: self.threads.map_or_else(cores, NonZeroUsize::get),
            max_line: self.max_line,
            unique: self.unique,
            strict: self.strict,
            skip: self.may_skip().then(Skip::default),
            // What stands in a file is told as it stands there.
            leave_out: (self.paths.is_empty() && !self.include_self)
                .then(|| self.nodes.cluster.run.clone()),
            progress: None,
        }
    }

    /// Who wants to hear of every bad line wants every line looked at.
    fn may_skip(&self) -> bool {
        !self.no_skip && !self.strict
    }
}

/// As many threads as the machine runs at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `-f FILE` names a file elsewhere: who waits at one that nobody writes to is told why.
fn note_of_rest(path: &Path) {
    let written = path.metadata().and_then(|it| it.modified()).ok();
    let is_at_rest = written.and_then(|it| it.elapsed().ok()).is_some_and(|it| it > REST);
    if is_at_rest {
        let name = path.display();
        exit::note(&format!("`{name}` is followed until Ctrl-C; without -f it is read once"));
    }
}

/// An API server that audits writes more often than that.
const REST: Duration = Duration::from_secs(60);

/// The logs to read, and whether others are missing.
#[derive(Debug)]
pub struct Sources {
    pub logs: Vec<source::Log>,
    has_failed: bool,
    is_strict: bool,
    /// No window allows to pass over a part of them.
    is_all: bool,
}

impl Sources {
    /// The files at these paths, whole.
    ///
    /// # Errors
    /// If there is nothing to read.
    pub fn of(paths: &[PathBuf]) -> Result<Sources, Error> {
        Sources::found(source::find(paths))
    }

    fn found(found: Found) -> Result<Sources, Error> {
        let Found { logs, notes, failed } = found;
        notes.iter().for_each(|it| exit::note(it));
        let has_failed = !failed.is_empty();
        report(failed, logs.is_empty())?;
        Ok(Sources { logs, has_failed, is_strict: false, is_all: true })
    }

    /// Draws how far a reading has come, for as long as what is returned lives.
    pub fn draw(&self, reading: &mut Reading, output: &OutputArgs) -> Option<Drawn> {
        let drawn = if output.quiet { None } else { Drawn::start(&self.logs, self.is_all) };
        reading.progress = drawn.as_ref().map(|it| it.progress.clone());
        drawn
    }

    /// Tells on standard error what could not be read, and gives how the command ends.
    ///
    /// # Errors
    /// If nothing could be read at all, or with `--strict` a line is no event: then there is nothing
    /// to report.
    pub fn exit<R>(&self, folded: &mut Folded<R>, output: &OutputArgs) -> Result<Exit, Error> {
        if !output.quiet {
            folded.notes.iter().for_each(|it| exit::note(it));
        }
        for notice in std::mem::take(&mut folded.notices) {
            exit::warning(&notice.text);
            if let Some(hint) = notice.hint {
                exit::advise(&format!("hint: {hint}"));
            }
        }
        let failed = std::mem::take(&mut folded.failed);
        let is_partial = self.has_failed || !failed.is_empty();
        report(failed, folded.input.files == 0)?;
        if let Some(first) = folded.input.skipped_samples.first().filter(|_| self.is_strict) {
            return Err(Error::BadLine(first.clone()));
        }
        Ok(if is_partial { Exit::Partial } else { Exit::Done })
    }
}

/// Tells on standard error what was read, behind the output that `out` still holds.
///
/// # Errors
/// If `out` cannot be written.
pub fn summary(input: &InputSummary, output: &OutputArgs, out: &mut dyn Write) -> io::Result<()> {
    out.flush()?;
    if !output.quiet {
        summary::lines(input).iter().for_each(|it| exit::say(it));
    }
    Ok(())
}

/// Tells about inputs that failed. If nothing else is left, the last of them ends the command.
fn report(mut failed: Vec<SourceError>, is_all: bool) -> Result<(), Error> {
    let last = if is_all { failed.pop() } else { None };
    failed.into_iter().for_each(|it| exit::warn(&it.into()));
    last.map_or(Ok(()), |it| Err(it.into()))
}

/// A number of bytes: `4096`, `512K`, `64MiB`. Units are powers of 1024.
pub fn size(text: &str) -> Result<usize, String> {
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
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    #[arg(help = "Output format: table, wide, json, jsonl (one object a line), yaml, csv")]
    pub output: Format,
    /// Leave out the header line of tables
    #[arg(long)]
    pub no_headers: bool,
    /// The time zone of the times in tables: UTC, Local, or a name such as Europe/Berlin
    #[arg(long, value_name = "Z", default_value = "UTC", value_parser = timezone)]
    pub timezone: TimeZone,
    /// Colours in tables: always, never, or on a terminal
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, hide_possible_values = true)]
    pub color: When,
    /// Say nothing on standard error but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    #[default]
    Auto,
    Always,
    Never,
}

impl OutputArgs {
    pub fn look(&self) -> Look {
        let is_terminal = std::io::stdout().is_terminal();
        let size = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Look {
            no_headers: self.no_headers,
            width: is_terminal.then(size).flatten(),
            has_color: self.has_color(is_terminal, |name| {
                std::env::var_os(name).is_some_and(|it| !it.is_empty())
            }),
            timezone: self.timezone.clone(),
        }
    }

    /// Writes a report; where it has no row, people are told so, and tables stay away.
    pub fn write<R: Report, I: Serialize>(
        &self,
        report: &R,
        input: Option<&I>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let is_table = matches!(self.output, Format::Table | Format::Wide);
        if is_table && report.tables().iter().all(|it| it.rows.is_empty()) {
            if !self.quiet {
                exit::say(R::EMPTY);
            }
            return Ok(());
        }
        output::write(report, input, self.output, &self.look(), out)
    }

    /// The flag decides, else the variables (no-color.org, bixense.com/clicolors), else the terminal.
    fn has_color(&self, is_terminal: bool, is_set: impl Fn(&str) -> bool) -> bool {
        match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto if is_set("NO_COLOR") => false,
            When::Auto if is_set("CLICOLOR_FORCE") || is_set("FORCE_COLOR") => true,
            When::Auto => is_terminal && std::env::var_os("TERM").is_none_or(|it| it != "dumb"),
        }
    }
}

/// A time zone by its name.
pub fn timezone(name: &str) -> Result<TimeZone, String> {
    match name.to_ascii_lowercase().as_str() {
        "utc" => Ok(TimeZone::UTC),
        "local" => Ok(TimeZone::system()),
        _ => TimeZone::get(name)
            .map_err(|_| "give UTC, Local, or a name such as Europe/Berlin".to_owned()),
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
