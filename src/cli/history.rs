//! `kubectl audit history`

use std::{
    io::{self, Write},
    ops::ControlFlow,
};

use clap::{ValueEnum, builder::PossibleValue};
use serde_json::Value;

use super::{
    Error, Exit,
    args::{OutputArgs, SourceArgs, Sources, When, size, summary, timezone},
    exit,
    filter_args::{FilterArgs, now, warn_of_unknown_keys},
};
use crate::{
    analysis::history::{
        AtTime, Hidden, History, Item, Keep, LabelSelector, ObjectHistory, ObjectId, Question,
        Redactor, Selection, Target, clean, yaml,
    },
    decode::Projection,
    event::{Key, Timestamp},
    filter::{self, Filter, Window},
    output::{Format, JsonText, escape},
    pipeline::{self, Folded},
};

/// Show who changed an object, and what exactly changed
///
/// TARGET is RESOURCE/NAME (deploy/web; several names with commas), RESOURCE for all of it, or `all`.
/// Differences come from recorded bodies, or else from patches. Secret values are shown as hashes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # Who changed this deployment, and what?
  kubectl audit history deploy/web -n shop examples/changes.log

  # The same as unified differences
  kubectl audit history deploy/web -n shop -o diff examples/changes.log

  # The object as it was, to restore what somebody deleted
  kubectl audit history cm/settings -n shop --at 2026-12-01T02:33:03Z --clean examples/changes.log

  # Who changed what in a namespace in the last hour, in this cluster
  kubectl audit history all -n shop --since 1h")]
pub struct Args {
    /// The objects: RESOURCE/NAME[,NAME...], RESOURCE, or all
    #[arg(value_name = "TARGET")]
    target: Target,
    /// Objects with these labels, such as app=web,tier!=db; labels are known from bodies
    #[arg(short = 'l', long, value_name = "LABELS", value_parser = LabelSelector::parse)]
    selector: Option<LabelSelector>,
    /// Only changes of this field, such as spec.replicas
    #[arg(long, value_name = "KEY")]
    field: Option<Key>,
    /// Also show writes of the status
    #[arg(long)]
    status: bool,
    /// Also show dry runs
    #[arg(long)]
    dry_run: bool,
    /// Also show who read the object, by name or in a list
    #[arg(long)]
    reads: bool,
    /// Print the object as it was at this time: with -o yaml or json
    #[arg(long, value_name = "D|T")]
    at: Option<String>,
    /// With --at: leave out the fields of the server, ready for `kubectl apply`
    #[arg(long, requires = "at")]
    clean: bool,
    /// Show the values of Secrets, tokens and passwords
    #[arg(long)]
    show_secrets: bool,
    /// Leave out differences and forget bodies beyond this size
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    max_memory: usize,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    output: ShapeArgs,
}

/// The output flags of every command, with one format more.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct ShapeArgs {
    /// Output format: table, wide, json, jsonl (one object a line), yaml, csv, or diff
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

/// A format of every command, or the one of this command alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Common(Format),
    Diff,
}

impl ValueEnum for Shape {
    fn value_variants<'a>() -> &'a [Shape] {
        &[
            Shape::Common(Format::Table),
            Shape::Common(Format::Wide),
            Shape::Common(Format::Json),
            Shape::Common(Format::Jsonl),
            Shape::Common(Format::Yaml),
            Shape::Common(Format::Csv),
            Shape::Diff,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Shape::Common(format) => format.to_possible_value(),
            Shape::Diff => Some(PossibleValue::new("diff").help("As kubectl diff prints it")),
        }
    }
}

impl ShapeArgs {
    fn split(self) -> (Shape, OutputArgs) {
        let ShapeArgs { output: shape, no_headers, timezone, color, quiet } = self;
        let output = if let Shape::Common(format) = shape { format } else { Format::Jsonl };
        (shape, OutputArgs { output, no_headers, timezone, color, quiet })
    }
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let now = now();
    let mut projection = Projection::default();
    let at = args.at.as_deref().map(|text| filter::time(text, now)).transpose()?;
    let namespace = namespace(&args);
    let (shape, output) = args.output.split();
    let question = Question {
        shows_status: args.status,
        shows_dry_runs: args.dry_run,
        shows_reads: args.reads,
        field: args.field,
        selector: args.selector.unwrap_or_default(),
        at,
        keep: match shape {
            Shape::Diff => Keep::Text,
            Shape::Common(Format::Table | Format::Wide | Format::Csv) => Keep::Words,
            Shape::Common(_) => Keep::Operations,
        },
        redactor: if args.show_secrets { Redactor::transparent() } else { Redactor::new() },
        max_bytes: args.max_memory,
    };

    // Whatever happened before a window tells what objects were like at its start.
    let shown =
        FilterArgs { namespace: None, ..args.filter.clone() }.build(now, &mut projection)?;
    let until = at.map(|at| Timestamp(at.0.saturating_add(LONGEST)));
    let window = Window { since: None, until: until.or(shown.window.until) };
    let selection = Selection::new(args.target.clone(), namespace, args.reads, &mut projection);
    warn_of_unknown_keys(projection.keys());
    let sources = args.source.sources(window)?;
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &output);

    let is_single = args.target.is_single();
    let mut history = History::new(question, args.target);
    let line = |record: &crate::decode::Record<'_>, text: &mut Vec<u8>| {
        selection.line(record, shown.matches(record), text);
    };
    let all = Filter::within(window);
    let mut take = |text: &[u8]| {
        history.take(text);
        ControlFlow::Continue(())
    };
    let folded = pipeline::map(&sources.logs, &reading, &projection, &all, &line, &mut take);
    drop(drawn);

    match at {
        Some(at) => {
            let objects = history.finish_at();
            let show = AtArgs { at, is_clean: args.clean, is_single, shape };
            print_at(objects, &show, &sources, folded, &output, out)
        }
        None => print(&history.finish(), shape, &sources, folded, &output, out),
    }
}

/// How long a request that changes something may take.
const LONGEST: i64 = 60_000_000;

/// The namespace that is asked for, or that of the kubeconfig's context.
fn namespace(args: &Args) -> Option<String> {
    if args.filter.all_namespaces {
        return None;
    }
    let given = args.filter.namespace.clone();
    given.or_else(|| {
        let of_context = args.source.nodes.cluster.connection().namespace()?;
        exit::note(&format!("in namespace `{of_context}`, that of the context; -A means all"));
        Some(of_context)
    })
}

fn print(
    history: &ObjectHistory,
    shape: Shape,
    sources: &Sources,
    mut folded: Folded<()>,
    output: &OutputArgs,
    out: &mut dyn Write,
) -> Result<Exit, Error> {
    let exit = sources.exit(&mut folded, output)?;
    match shape {
        Shape::Diff => {
            let has_color = output.look().has_color;
            let shown = history.items.iter().filter(|item| !item.is_idle());
            let mut is_empty = true;
            for item in shown {
                print_diff(item, has_color, out)?;
                is_empty = false;
            }
            if is_empty && !output.quiet {
                exit::say("No changes found.");
            }
        }
        Shape::Common(_) => output.write(history, Some(&folded.input), out)?,
    }
    out.flush()?;
    if !output.quiet {
        notes(history.hidden);
    }
    summary(&folded.input, output, out)?;
    Ok(exit)
}

/// Tells what is not shown, and how it can be.
fn notes(hidden: Hidden) {
    let note = |n: u64, one: &str, many: &str, rest: &str| {
        if n > 0 {
            exit::note(&format!("{n} {} {rest}", if n == 1 { one } else { many }));
        }
    };
    note(hidden.status, "status write", "status writes", "not shown (--status shows them)");
    note(hidden.dry_runs, "dry run", "dry runs", "not shown (--dry-run shows them)");
    note(
        hidden.unknown,
        "change",
        "changes",
        "without a recorded difference: the log does not tell whether the field was changed",
    );
    note(hidden.differences, "difference", "differences", "left out: too large (--max-memory)");
    note(
        hidden.bodies,
        "body",
        "bodies",
        "forgotten to save memory (--max-memory): the next difference of that object may be missing",
    );
}

/// A difference under a line that says who made it.
fn print_diff(item: &Item, has_color: bool, out: &mut dyn Write) -> io::Result<()> {
    let time = item.time.map(|time| time.to_string()).unwrap_or_default();
    let namespace = match &*item.object.namespace {
        "" => String::new(),
        namespace => format!(" -n {namespace}"),
    };
    let verb =
        item.subresource.as_ref().map_or(item.verb.clone(), |it| format!("{} {it}", item.verb));
    let code = item.code.map(|code| format!(", {code}")).unwrap_or_default();
    let dry_run = if item.dry_run { ", dry run" } else { "" };
    let user = item.effective_user();
    let mut line = format!("# {time} {user}: {verb} {}{namespace}{code}{dry_run}", item.object);
    if item.text.is_empty() && !item.words.is_empty() {
        line += &format!(" ({})", item.words);
    }
    paint(&line, has_color, "1", out)?;

    for line in item.text.lines() {
        let color = match line.as_bytes() {
            [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => "1",
            [b'-', ..] => "31",
            [b'+', ..] => "32",
            [b'@', ..] => "36",
            _ => "",
        };
        paint(line, has_color, color, out)?;
    }
    writeln!(out)
}

fn paint(line: &str, has_color: bool, color: &str, out: &mut dyn Write) -> io::Result<()> {
    // The tab before the time of a file name is ours.
    let line =
        line.split('\t').map(|part| escape(part).into_owned()).collect::<Vec<_>>().join("\t");
    match has_color && !color.is_empty() {
        true => writeln!(out, "\x1b[{color}m{line}\x1b[0m"),
        false => writeln!(out, "{line}"),
    }
}

/// How objects at a time are shown.
struct AtArgs {
    at: Timestamp,
    is_clean: bool,
    is_single: bool,
    shape: Shape,
}

fn print_at(
    objects: Vec<(ObjectId, AtTime)>,
    show: &AtArgs,
    sources: &Sources,
    mut folded: Folded<()>,
    output: &OutputArgs,
    out: &mut dyn Write,
) -> Result<Exit, Error> {
    let exit = sources.exit(&mut folded, output)?;
    if objects.is_empty() {
        return Err(Error::History {
            message: format!("no request before {} names the object", show.at),
            hint: "without --at its whole history is shown, and -A looks in all namespaces"
                .to_owned(),
        });
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (id, at) in objects {
        match at {
            AtTime::Body(value) if show.is_clean => found.push(clean(value)),
            AtTime::Body(value) => found.push(value),
            other => missing.push(explain(&id, &other, show.at)),
        }
    }
    if (found.is_empty() || show.is_single)
        && let Some((message, hint)) = missing.pop()
    {
        return Err(Error::History { message, hint });
    }
    if !output.quiet {
        missing.iter().for_each(|(message, _)| exit::note(message));
    }
    print_objects(&found, show.shape, out)?;

    out.flush()?;
    let has_hash = found.iter().any(|value| value.to_string().contains("\"sha256:"));
    if has_hash && !output.quiet {
        exit::warning("secret values are shown as hashes: do not apply this");
        exit::advise("hint: --show-secrets prints them as they were recorded");
    }
    summary(&folded.input, output, out)?;
    Ok(exit)
}

fn print_objects(found: &[Value], shape: Shape, out: &mut dyn Write) -> Result<(), Error> {
    match (shape, found) {
        (Shape::Common(Format::Table | Format::Yaml), found) => {
            for (n, value) in found.iter().enumerate() {
                if n > 0 {
                    writeln!(out, "---")?;
                }
                out.write_all(yaml(value).as_bytes())?;
            }
        }
        (Shape::Common(Format::Json), [value]) => {
            serde_json::to_writer_pretty(JsonText(out), value).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        (Shape::Common(Format::Json), found) => {
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": found});
            serde_json::to_writer_pretty(JsonText(out), &list).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        (Shape::Common(Format::Jsonl), found) => {
            for value in found {
                serde_json::to_writer(JsonText(out), value).map_err(io::Error::from)?;
                writeln!(out)?;
            }
        }
        _ => {
            return Err(Error::History {
                message: "--at prints objects as yaml, json or jsonl".to_owned(),
                hint: "give `-o yaml`, or leave --at out to see the changes".to_owned(),
            });
        }
    }
    Ok(())
}

/// Why an object is not shown, and what to do.
fn explain(id: &ObjectId, at: &AtTime, time: Timestamp) -> (String, String) {
    let (what, last) = match at {
        AtTime::Deleted(last) => ("had been deleted", last),
        AtTime::Unknown(last) => ("is not recorded", last),
        AtTime::Body(_) => ("is not recorded", &None),
    };
    let by = last.as_ref().map_or(String::new(), |last| {
        let when = last.time.map(|time| format!(" at {time}")).unwrap_or_default();
        format!(": the last write was a {} by {}{when}, level {}", last.verb, last.user, last.level)
    });
    let hint = match (at, last.as_ref().and_then(|last| last.time)) {
        (AtTime::Deleted(_), Some(when)) => {
            format!("--at {} is the moment before", Timestamp(when.0 - 1))
        }
        _ => {
            "bodies are recorded at level RequestResponse, and patches at level Request".to_owned()
        }
    };
    (format!("{id} {what} at {time}{by}"), hint)
}
