//! `kubectl audit execs`

use std::io::{self, Write};

use clap::{ValueEnum, builder::PossibleValue};
use regex::Regex;
use serde::Serialize;

use super::{
    Error, Exit,
    args::{FollowArgs, OutputArgs, SourceArgs, When, summary, timezone},
    exit,
    filter_args::{FilterArgs, now, warn_of_unknown_keys},
    resolve::ResolveArgs,
};
use crate::{
    analysis::execs::{
        ExecSessionList, ExecSessions, Question, State, Type, change_event::ChangeEvent,
    },
    decode::Projection,
    filter::Window,
    output::{self, Format},
    pipeline,
};

mod containers;
mod follow;

use self::containers::Containers;

/// Show who was inside which container, when, for how long, and what they ran
///
/// With --follow each session is a line when it starts and one when it ends; on a terminal those that
/// are open stay at the bottom.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # Who was inside a container in the last hour
  kubectl audit execs --since 1h

  # Shells that lasted longer than two seconds
  kubectl audit execs --interactive --longer-than 2s examples/audit.log

  # Watch sessions as they are opened and closed
  kubectl audit execs -f --since 10m

  # Who tried and was refused
  kubectl audit execs --state denied examples/audit.log")]
pub struct Args {
    /// Sessions of this type; several with commas
    #[arg(long = "type", value_enum, value_name = "TYPE", value_delimiter = ',')]
    types: Vec<Type>,
    /// Sessions in this state; several with commas
    #[arg(long = "state", value_enum, value_name = "STATE", value_delimiter = ',')]
    states: Vec<State>,
    /// Sessions that lasted longer, such as 30s, 5m or 1h; open ones as far as the logs go
    #[arg(long, value_name = "D", value_parser = longer_than)]
    longer_than: Option<i64>,
    /// Sessions with standard input and a terminal
    #[arg(long)]
    interactive: bool,
    /// Sessions whose command (quoted as for a shell) matches this regular expression
    #[arg(long, value_name = "RE")]
    command: Option<Regex>,
    /// Show at most N sessions, by their start; 0 shows all
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    limit: usize,
    /// Show passwords, tokens and keys in commands
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    resolve: ResolveArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    follow: FollowArgs,
    #[command(flatten)]
    output: ShapeArgs,
}

/// The output flags of every command, with one format more.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct ShapeArgs {
    /// Output format: table, wide, json, jsonl, yaml, csv, or changeevent (kubechronicle's, one a line)
    #[arg(short, long, value_enum, default_value = "table", hide_possible_values = true)]
    output: Shape,
    /// Leave out the header line of tables
    #[arg(long)]
    no_headers: bool,
    /// The time zone of the times in tables: UTC, Local, or a name such as Europe/Berlin
    #[arg(long, value_name = "Z", default_value = "UTC", value_parser = timezone)]
    timezone: jiff::tz::TimeZone,
    /// Colours in tables: always, never, or on a terminal
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, hide_possible_values = true)]
    color: When,
    /// Say nothing on standard error but errors
    #[arg(short, long)]
    quiet: bool,
}

impl ShapeArgs {
    fn split(self) -> (Shape, OutputArgs) {
        let ShapeArgs { output: shape, no_headers, timezone, color, quiet } = self;
        let output = if let Shape::Usual(format) = shape { format } else { Format::Jsonl };
        (shape, OutputArgs { output, no_headers, timezone, color, quiet })
    }
}

/// A format of every command, or the one of this command alone.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Usual(Format),
    ChangeEvent,
}

impl ValueEnum for Shape {
    fn value_variants<'a>() -> &'a [Shape] {
        &[
            Shape::Usual(Format::Table),
            Shape::Usual(Format::Wide),
            Shape::Usual(Format::Json),
            Shape::Usual(Format::Jsonl),
            Shape::Usual(Format::Yaml),
            Shape::Usual(Format::Csv),
            Shape::ChangeEvent,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Shape::Usual(format) => format.to_possible_value(),
            Shape::ChangeEvent => {
                Some(PossibleValue::new("changeevent").help("kubechronicle's, one a line"))
            }
        }
    }
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut projection = Projection::default();
    let now = now();
    // A session belongs to a window it overlaps, so the window is no matter of single events.
    let requests = FilterArgs { since: None, until: None, ..args.filter.clone() };
    let question = Question {
        window: args.filter.window(now)?,
        filter: requests.build(now, &mut projection)?,
        types: args.types,
        states: args.states,
        longer_than: args.longer_than,
        is_interactive: args.interactive,
        command: args.command,
        shows_secrets: args.show_secrets,
    };
    warn_of_unknown_keys(projection.keys());
    let snapshot = args.resolve.snapshot(&args.source.nodes.cluster)?;
    let all = question.filter.only_watching();
    let sessions = ExecSessions::new(question, &mut projection);
    let (shape, output) = args.output.split();
    if args.follow.follow {
        let snapshot = snapshot.as_ref();
        let source = (&args.source, &args.follow);
        let limit = if args.limit == 0 { usize::MAX } else { args.limit };
        let asked = follow::Asked { shape, output: &output, snapshot, limit };
        return follow::run(source, &asked, &projection, sessions, out);
    }
    // What started before the window and still lasts left its only trace before it.
    let sources = args.source.sources(Window::default())?;
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &output);
    let mut folded = pipeline::fold(&sources.logs, &reading, &projection, &all, sessions);
    drop(drawn);
    let exit = sources.exit(&mut folded, &output)?;
    limit(&mut folded.report, args.limit);
    if let Some(snapshot) = &snapshot {
        folded.report.resolve(snapshot);
    }
    if let Some(mut containers) = Containers::of(&args.source) {
        folded.report.items.iter_mut().for_each(|it| containers.complete(it));
    }
    match shape {
        Shape::ChangeEvent => lines(folded.report.items.iter().map(ChangeEvent::from), out)?,
        Shape::Usual(_) => output.write(&folded.report, Some(&folded.input), out)?,
    }
    summary(&folded.input, &output, out)?;
    Ok(exit)
}

/// Keeps the first sessions, as many as are wanted, and notes how many there were.
fn limit(list: &mut ExecSessionList, limit: usize) {
    let n_found = list.items.len();
    if limit > 0 && n_found > limit {
        list.items.truncate(limit);
        exit::note(&format!("the first {limit} of {n_found} sessions"));
    }
}

/// One object a line.
fn lines(items: impl Iterator<Item = impl Serialize>, out: &mut dyn Write) -> io::Result<()> {
    for item in items {
        serde_json::to_writer(output::JsonText(out), &item)?;
        writeln!(out)?;
    }
    Ok(())
}

/// A span of time in microseconds.
fn longer_than(text: &str) -> Result<i64, String> {
    let hint = "give a span of time such as `30s`, `5m` or `1h`";
    let span: jiff::SignedDuration = text.parse().map_err(|_| hint.to_owned())?;
    i64::try_from(span.as_micros()).ok().filter(|it| *it >= 0).ok_or_else(|| hint.to_owned())
}
