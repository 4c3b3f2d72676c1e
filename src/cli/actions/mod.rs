//! `kubectl audit actions`

use std::{
    io::{self, Write},
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

use clap::{ValueEnum, builder::PossibleValue};

use super::{
    Error, Exit,
    args::{OutputArgs, SourceArgs, When, summary, timezone},
    exit,
    filter_args::{FilterArgs, now, warn_of_unknown_keys},
};
use crate::{
    analysis::actions::{
        Action, Linker, Totals, names,
        requests::{Digest, Digester},
    },
    decode::{Projection, Record},
    event::{Timestamp, resources},
    filter::{Filter, Window},
    output::{self, Format},
    pipeline::{self, Folded},
    report::actions::{ActionItem, ActionList, StepItem, dot},
};

/// Group requests into actions: what a person did, and everything that followed from it
///
/// One `kubectl delete namespace` is a hundred requests by ten identities. Each action shows who took the
/// decision and what controllers, schedulers and nodes did because of it, with a reason for each link.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # What happened here, and who did it
  kubectl audit actions examples/audit.log

  # What followed from each deletion
  kubectl audit actions --command delete -o tree examples/audit.log

  # Who deleted this config map
  kubectl audit actions --cause-of configmaps/erin-cm-1 examples/audit.log")]
pub struct Args {
    /// Actions of this command, such as delete, apply or `rollout restart`
    #[arg(long, value_name = "C")]
    command: Option<String>,
    /// Actions with a request for this object
    #[arg(long, value_name = "R/NAME", value_parser = object)]
    object: Option<(String, String)>,
    /// The action that caused this request, or that deleted or last changed this object
    #[arg(long, value_name = "AUDITID|R/NAME")]
    cause_of: Option<String>,
    /// Leave out consequences with a lower confidence, from 0 to 1
    #[arg(long, value_name = "N", default_value = "0", value_parser = confidence)]
    min_confidence: f64,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    output: ShapeArgs,
}

/// The output flags of every command, with two formats more.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct ShapeArgs {
    /// Output format: table, wide, tree, json, jsonl, yaml, csv, dot (Graphviz)
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
        let output = if let Shape::Common(format) = shape { format } else { Format::Table };
        (shape, OutputArgs { output, no_headers, timezone, color, quiet })
    }
}

/// A format of every command, or one of this command alone.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Common(Format),
    Tree,
    Dot,
}

impl ValueEnum for Shape {
    fn value_variants<'a>() -> &'a [Shape] {
        &[
            Shape::Common(Format::Table),
            Shape::Common(Format::Wide),
            Shape::Tree,
            Shape::Common(Format::Json),
            Shape::Common(Format::Jsonl),
            Shape::Common(Format::Yaml),
            Shape::Common(Format::Csv),
            Shape::Dot,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Shape::Common(format) => format.to_possible_value(),
            Shape::Tree => {
                Some(PossibleValue::new("tree").help("Each action with its consequences"))
            }
            Shape::Dot => Some(PossibleValue::new("dot").help("A graph for Graphviz")),
        }
    }
}

/// An object as `RESOURCE/NAME`.
fn object(text: &str) -> Result<(String, String), String> {
    let (resource, name) = text
        .split_once('/')
        .filter(|(resource, name)| !resource.is_empty() && !name.is_empty())
        .ok_or("give a resource and a name, such as `pods/web-1`")?;
    Ok((plural(resource), name.to_owned()))
}

/// A resource as events have it: also from a kind, a singular or a short name.
fn plural(resource: &str) -> String {
    let long = resources::long_name(resource);
    if long != resource {
        return long.to_owned();
    }
    let lower = resource.to_lowercase();
    if lower.ends_with('s') && !lower.ends_with("ss") {
        return lower;
    }
    names::resource_of_kind(&lower, "")
}

fn confidence(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "give a number from 0 to 1")?;
    if (0.0..=1.0).contains(&number) {
        Ok(number)
    } else {
        Err("give a number from 0 to 1".to_owned())
    }
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let cause_of = args.cause_of.as_deref().map(|text| match object(text) {
        Ok((resource, name)) => Target::Object(resource, name),
        Err(_) => Target::Request(text.to_owned()),
    });
    let is_searching = args.object.is_some() || cause_of.is_some();
    let namespace = args.filter.namespace.clone().filter(|_| !args.filter.all_namespaces);
    let mut projection = Projection::default();
    let now = now();
    let filter = FilterArgs {
        namespace: args.filter.namespace.clone().filter(|_| !is_searching),
        ..args.filter
    };
    let filter = filter.build(now, &mut projection)?;
    warn_of_unknown_keys(projection.keys());

    let (shape, output) = args.output.split();
    let keeps_steps =
        is_searching || !matches!(shape, Shape::Common(Format::Table | Format::Wide | Format::Csv));
    let mut items = Vec::new();
    let mut take = |action: Action| {
        let mut item = ActionItem::new(&action, args.min_confidence);
        let is_wanted = item.matches
            && args.command.as_ref().is_none_or(|command| item.is_command(command))
            && args
                .object
                .as_ref()
                .is_none_or(|(resource, name)| item.touches(resource, name, namespace.as_deref()))
            && cause_of
                .as_ref()
                .is_none_or(|target| target.step(&item, namespace.as_deref()).is_some());
        if is_wanted {
            if !keeps_steps {
                item.shorten();
            }
            items.push(item);
        }
    };
    let sources = args.source.sources(widened(filter.window))?;
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &output);
    let mut folded =
        link(&sources.logs, &reading, &mut projection, &filter, Linker::default(), &mut take);
    drop(drawn);
    let exit = sources.exit(&mut folded, &output)?;

    if let Some(target) = &cause_of {
        target.keep_cause(&mut items, namespace.as_deref());
    }
    let mut report = ActionList { items, total: folded.report.into() };
    report.sort();
    if !output.quiet {
        note_of_limits(&folded.report);
    }
    match shape {
        Shape::Tree => tree(&report, &output, out)?,
        Shape::Dot => write!(out, "{}", dot(&report.items))?,
        Shape::Common(_) => output.write(&report, Some(&folded.input), out)?,
    }
    summary(&folded.input, &output, out)?;
    Ok(exit)
}

/// What `--cause-of` names.
enum Target {
    Request(String),
    Object(String, String),
}

impl Target {
    /// The step of an action that it names: of an object its deletion, else its last change.
    fn step<'i>(&self, item: &'i ActionItem, namespace: Option<&str>) -> Option<&'i StepItem> {
        match self {
            Target::Request(id) => item.steps.iter().find(|step| step.audit_id == *id),
            Target::Object(resource, name) => {
                let is_change = |step: &&StepItem| {
                    step.is_write()
                        && step.subresource.as_deref().is_none_or(|sub| sub != "status")
                        && step.code.is_none_or(|code| code < 400)
                        && step.is_about(resource, name, namespace)
                };
                let deletion = item.steps.iter().find(|step| is_change(step) && is_deletion(step));
                deletion.or_else(|| item.steps.iter().rev().find(is_change))
            }
        }
    }

    /// Keeps the action of the deletion, or else that of the last change.
    fn keep_cause(&self, items: &mut Vec<ActionItem>, namespace: Option<&str>) {
        let rank = |item: &ActionItem| {
            self.step(item, namespace).map(|step| (is_deletion(step), step.time))
        };
        let Some(best) = items.iter().filter_map(rank).max() else { return };
        items.retain(|item| rank(item) == Some(best));
    }
}

fn is_deletion(step: &StepItem) -> bool {
    step.verb == "delete" || step.subresource.as_deref() == Some("eviction")
}

/// Causes may lie before a window, and consequences after it.
fn widened(window: Window) -> Window {
    const MARGIN: i64 = 600_000_000;
    Window {
        since: window.since.map(|time| Timestamp(time.0.saturating_sub(MARGIN))),
        until: window.until.map(|time| Timestamp(time.0.saturating_add(MARGIN))),
    }
}

/// Reads logs in order and links their requests; threads that read make digests, this one links them.
pub(super) fn link(
    logs: &[crate::source::Log],
    reading: &pipeline::Reading,
    projection: &mut Projection,
    filter: &Filter,
    mut linker: Linker,
    take: &mut dyn FnMut(Action),
) -> Folded<Totals> {
    let slab = Arc::new(Mutex::new(Slab::default()));
    let filled = slab.clone();
    let mut digester = Digester::default();
    let digest = move |record: &Record<'_>, text: &mut Vec<u8>| {
        let Some(event) = record.event() else { return };
        match digester.digest(&event, record.log(), filter.matches(record)) {
            Digest::Nothing => {}
            Digest::Background => text.push(0),
            Digest::Request(request) => {
                let index = filled.lock().expect("no holder panics").put(Digest::Request(request));
                text.extend_from_slice(&index.to_le_bytes());
            }
        }
    };
    let within = Filter::within(widened(filter.window));
    let folded = pipeline::map(logs, reading, projection, &within, &digest, &mut |line| {
        let digest = match line.try_into().map(usize::from_le_bytes) {
            Ok(index) => slab.lock().expect("no holder panics").take(index),
            Err(_) => Digest::Background,
        };
        linker.observe(digest, take);
        ControlFlow::Continue(())
    });
    let totals = linker.finish(take);
    Folded {
        report: totals,
        requests: folded.requests,
        input: folded.input,
        failed: folded.failed,
        notes: folded.notes,
        notices: folded.notices,
    }
}

/// Digests on their way from the threads that read to the one that links.
#[derive(Default)]
struct Slab {
    all: Vec<Option<Digest>>,
    free: Vec<usize>,
}

impl Slab {
    fn put(&mut self, digest: Digest) -> usize {
        if let Some(index) = self.free.pop() {
            self.all[index] = Some(digest);
            return index;
        }
        self.all.push(Some(digest));
        self.all.len() - 1
    }

    fn take(&mut self, index: usize) -> Digest {
        self.free.push(index);
        self.all.get_mut(index).and_then(Option::take).unwrap_or(Digest::Nothing)
    }
}

/// Says what the bounds of memory cost.
fn note_of_limits(totals: &Totals) {
    if totals.dropped_objects > 0 {
        exit::note(&format!(
            "{} objects were forgotten early: too many at once; links to them are missing",
            totals.dropped_objects
        ));
    }
    if totals.dropped_steps > 0 {
        exit::note(&format!(
            "{} requests are counted but not listed: their actions had too many",
            totals.dropped_steps
        ));
    }
}

/// Each action with the tree of its consequences.
fn tree(report: &ActionList, output: &OutputArgs, out: &mut dyn Write) -> io::Result<()> {
    if report.items.is_empty() && !output.quiet {
        exit::say("No action found.");
    }
    for item in &report.items {
        let time = item.from.to_jiff().map_or_else(String::new, |time| {
            time.to_zoned(output.timezone.clone()).strftime("%Y-%m-%dT%H:%M:%S").to_string()
        });
        writeln!(out, "{time} {}", output::escape(&item.summary))?;
        for line in item.tree() {
            writeln!(out, "{}{}", "  ".repeat(line.depth), output::escape(&line.text))?;
        }
    }
    Ok(())
}
