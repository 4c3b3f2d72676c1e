//! `kubectl audit policy`

use std::{
    io::{self, Read, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use serde::Serialize;

use super::{
    Error, Exit,
    args::{FollowArgs, OutputArgs, SourceArgs, summary},
    exit,
    filter_args::{FilterArgs, now, warn_of_unknown_keys},
    limit::{self, LimitArgs},
};
use crate::{
    analysis::judge::Judge,
    decode::{InputSummary, Projection, Record, Slot},
    event::{Level, Stage},
    output::Format,
    pipeline::{self, Watcher},
    policy::{Evaluator, Policy, Stages, embedded, load::KubeVersion},
};

mod check;
mod diff;
mod explain;
mod simulate;
mod suggest;

/// Judge audit policies as the API server does
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # Would the API server start with it, and what would it not log?
  kubectl audit policy check examples/policy.yaml

  # Which rule catches reading a secret?
  kubectl audit policy explain examples/policy.yaml get secrets db -n shop

  # How much smaller the log would be
  kubectl audit policy simulate examples/policy.yaml examples/audit.log")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Explain(explain::Args),
    /// What a policy says of each recorded event: level, rule, stages left out
    ///
    /// One JSON object a line, in the order of the log.
    #[command(after_help = EVALUATE)]
    Evaluate(LogArgs),
    /// What a policy would keep of a log: requests, events and bytes per rule
    ///
    /// What the log cannot show is told beside the numbers: what was recorded below the level that the
    /// policy asks for, and, where the cluster can be asked, how much its policy does not log.
    #[command(after_help = SIMULATE)]
    Simulate(simulate::Args),
    Diff(diff::Args),
    /// The recorded events as a policy would have had them logged
    ///
    /// One JSON object a line. Events are dropped, levels lowered, bodies and managed fields removed; a
    /// body that was not recorded is never invented.
    #[command(after_help = FILTER)]
    Filter(LogArgs),
    Suggest(suggest::Args),
}

const EVALUATE: &str = "Examples:
  # Which rule catches each request
  kubectl audit policy evaluate examples/policy.yaml examples/audit.log

  # Which requests no rule catches
  kubectl audit policy evaluate examples/policy.yaml examples/audit.log | jq 'select(.rule < 0)'

  # Of the log on the nodes
  kubectl audit policy evaluate examples/policy.yaml --since 10m";

const SIMULATE: &str = "Examples:
  # How much smaller the log would be
  kubectl audit policy simulate examples/policy.yaml examples/audit.log

  # Of a copy, with how much the policy in force keeps out of the log
  kubectl audit policy simulate examples/policy.yaml --calibrate examples/audit.log

  # What is left of the requests that were refused
  kubectl audit policy simulate examples/policy.yaml --code 403 examples/audit.log";

const FILTER: &str = "Examples:
  # The log as this policy would have made it
  kubectl audit policy filter examples/policy.yaml examples/audit.log > smaller.log

  # How many whole answers are left in it
  kubectl audit policy filter examples/policy.yaml examples/audit.log | grep -c RequestResponse

  # What it keeps of deletions
  kubectl audit policy filter examples/policy.yaml --verb delete examples/audit.log";

/// A policy, and the recorded events to apply it to.
#[derive(Debug, clap::Args)]
struct LogArgs {
    /// The policy
    #[arg(value_name = "FILE")]
    policy: PathBuf,
    /// The release whose API server is meant
    #[arg(long, value_name = "1.N", default_value = "1.36")]
    kube_version: KubeVersion,
    #[command(flatten)]
    limit: LimitArgs,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    follow: FollowArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    match args.command {
        Command::Check(args) => check::run(&args, out),
        Command::Explain(args) => explain::run(&args, out),
        Command::Diff(args) => diff::run(&args, out),
        Command::Simulate(args) => simulate::run(args, out),
        Command::Suggest(args) => suggest::run(&args, out),
        Command::Evaluate(args) => each(args, evaluate, out),
        Command::Filter(args) => each(args, filter, out),
    }
}

/// A policy's bytes, from standard input for `-`.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes),
        _ => std::fs::read(path),
    };
    read.map_err(|source| Error::PolicyFile { name: path.display().to_string(), source })
}

/// Reads a file that must be a policy.
fn policy(path: &Path, version: KubeVersion) -> Result<Policy, Error> {
    load(&path.display().to_string(), &read(path)?, version)
}

/// Reads what must be a policy.
fn load(name: &str, bytes: &[u8], version: KubeVersion) -> Result<Policy, Error> {
    let (loaded, _) = embedded::load(bytes, version);
    loaded.policy.ok_or_else(|| {
        let first = loaded.errors.into_iter().next();
        let (line, message, hint) =
            first.map_or((1, String::new(), None), |it| (it.line, it.message, it.hint));
        Error::Policy { name: name.to_owned(), line, message, hint }
    })
}

/// Makes a line of an event, by the policy's word; none for what is left out.
#[derive(Clone)]
struct Lines<'p> {
    judge: Judge<'p>,
    audit_id: Slot,
    step: fn(&mut Lines<'p>, &Record<'_>, &mut Vec<u8>),
}

/// Takes the events in their order.
fn each(
    args: LogArgs,
    step: for<'p> fn(&mut Lines<'p>, &Record<'_>, &mut Vec<u8>),
    out: &mut dyn Write,
) -> Result<Exit, Error> {
    if !matches!(args.output.output, Format::Table | Format::Jsonl) {
        return Err(Error::OnlyLines);
    }
    let evaluator = Evaluator::new(&policy(&args.policy, args.kube_version)?);
    let mut projection = Projection::default();
    let judge = Judge::new(&evaluator, &mut projection);
    let mut lines = Lines { judge, audit_id: projection.want("auditID"), step };
    let filter = args.filter.build(now(), &mut projection)?;
    warn_of_unknown_keys(projection.keys());
    if args.follow.follow {
        let (followed, sources) = args.source.followed(filter.window, &args.follow)?;
        let shown = args.limit.lines();
        let mut stream = Stream { lines, shown, text: Vec::new(), out: &mut *out, result: Ok(()) };
        let reading = args.source.reading();
        let mut folded = pipeline::follow(followed, &reading, &projection, &filter, &mut stream);
        stream.result?;
        let exit = sources.exit(&mut folded, &args.output)?;
        summary(&folded.input, &args.output, out)?;
        return Ok(exit);
    }
    let sources = args.source.sources(filter.window)?;
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &args.output);
    let (mut shown, mut result) = (args.limit.lines(), Ok(()));
    let line =
        move |record: &Record<'_>, text: &mut Vec<u8>| (lines.step)(&mut lines, record, text);
    let mut take = |line: &[u8]| {
        result = shown.write(line, out);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let mut folded = pipeline::map(&sources.logs, &reading, &projection, &filter, &line, &mut take);
    drop(drawn);
    result?;
    let exit = sources.exit(&mut folded, &args.output)?;
    if shown.is_empty() {
        exit::advise("No events found.");
    }
    shown.finish(out)?;
    summary(&folded.input, &args.output, out)?;
    Ok(exit)
}

/// Makes lines of events as they are written.
struct Stream<'o, 'p> {
    lines: Lines<'p>,
    shown: limit::Lines,
    text: Vec<u8>,
    out: &'o mut dyn Write,
    result: io::Result<()>,
}

impl Stream<'_, '_> {
    fn go_on(&self) -> ControlFlow<()> {
        if self.result.is_ok() { self.shown.go_on() } else { ControlFlow::Break(()) }
    }
}

impl Watcher for Stream<'_, '_> {
    fn wants_order(&self) -> bool {
        true
    }

    fn record(&mut self, record: &Record<'_>) -> ControlFlow<()> {
        self.text.clear();
        (self.lines.step)(&mut self.lines, record, &mut self.text);
        self.result = self.shown.write(&self.text, self.out);
        self.go_on()
    }

    fn pause(&mut self, _: &InputSummary, _: u64) -> ControlFlow<()> {
        self.result = self.out.flush();
        self.go_on()
    }

    fn note(&mut self, note: &str) {
        exit::note(note);
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Evaluation<'a> {
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: Stage,
    level: Level,
    rule: i64,
    omit_stages: Stages,
    omit_managed_fields: bool,
    logged: bool,
}

fn evaluate(lines: &mut Lines<'_>, record: &Record<'_>, text: &mut Vec<u8>) {
    let config = lines.judge.judge(record);
    let evaluation = Evaluation {
        audit_id: &record.text(lines.audit_id),
        stage: record.stage(),
        level: config.level,
        rule: config.rule.map_or(-1, |it| it as i64),
        omit_stages: config.omit_stages,
        omit_managed_fields: config.omit_managed_fields,
        logged: config.logs(record.stage()),
    };
    serde_json::to_writer(&mut *text, &evaluation).expect("memory can be written");
    text.push(b'\n');
}

fn filter(lines: &mut Lines<'_>, record: &Record<'_>, text: &mut Vec<u8>) {
    let config = lines.judge.judge(record);
    match lines.judge.apply(record, &config) {
        Ok(None) => {}
        Ok(Some(line)) => {
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        Err(err) => record.reject(err.to_string()),
    }
}
