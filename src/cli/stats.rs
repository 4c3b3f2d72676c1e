//! `kubectl audit stats`

use std::{
    io::{self, Write},
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{
    Error, Exit,
    args::{FollowArgs, OutputArgs, SourceArgs, summary},
    exit,
    filter_args::{FilterArgs, now, warn_of_unknown_keys},
    resolve::ResolveArgs,
    summary,
};
use crate::{
    analysis::{
        Analysis,
        access::Users,
        stats::{Counted, Question, Sort, Stats, StatsReport},
    },
    decode::{InputSummary, Projection, Record},
    event::Key,
    filter::{Filter, Watch},
    output,
    pipeline::{self, Watcher},
};

/// Count requests by any keys
///
/// A request is counted once, by the event that ends it; --events counts every event.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # Who did what
  kubectl audit stats -k user.username,verb examples/audit.log

  # Which requests were refused, by whom
  kubectl audit stats --code 403 -k user.username,objectRef.resource examples/audit.log

  # What fills the log: bytes by user agent, the five largest
  kubectl audit stats --events --bytes --sort bytes -k userAgent -l 5 examples/audit.log

  # Who they are today, by a dump of roles and bindings
  kubectl audit stats -k user.username --resolve --rbac examples/rbac.json examples/audit.log

  # The slowest resources
  kubectl audit stats --latency --sort latency -k verb,objectRef.resource -l 5 examples/audit.log")]
pub struct Args {
    /// Count by the values of this key; repeatable, or several with commas
    #[arg(short, long = "key", value_name = "KEY", value_delimiter = ',', default_value = "verb")]
    keys: Vec<Key>,
    /// Show at most N rows; 0 shows all
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    limit: usize,
    /// Count by each of the user's groups; -k has no effect
    #[arg(short, long)]
    groups: bool,
    /// Count every event, not each request once
    #[arg(long)]
    events: bool,
    /// Order of the rows
    #[arg(long, value_enum, default_value_t)]
    #[arg(requires_ifs = [("bytes", "bytes"), ("latency", "latency")])]
    sort: Sort,
    /// Add the bytes of the lines; `-o wide` prints them to the byte
    #[arg(long)]
    bytes: bool,
    /// Add how long the requests took: p50, p90, p99 (at most 1 % too high) and the longest
    #[arg(long)]
    latency: bool,
    /// Count per step of time, such as 5m or 1h
    #[arg(long, value_name = "D", value_parser = interval)]
    interval: Option<i64>,
    /// Keep at most N groups apart, count the others together
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    max_groups: usize,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    resolve: ResolveArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    follow: FollowArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut projection = Projection::default();
    let question = Question {
        keys: args.keys,
        by_group: args.groups,
        counted: if args.events { Counted::Events } else { Counted::Requests },
        sort: args.sort,
        limit: args.limit,
        max_groups: args.max_groups,
        bytes: args.bytes,
        latency: args.latency,
        interval: args.interval,
    };
    let asked = if question.by_group { Vec::new() } else { question.keys.clone() };
    let has_users = question.keys.iter().any(|it| it.to_string() == "user.username");
    let users = if has_users { "user" } else { "impersonatedUser" };
    let stats = Stats::new(question, &mut projection);
    let mut filter = args.filter.build(now(), &mut projection)?;
    for key in &asked {
        filter.watch(Watch::key(key, None, &mut projection));
    }
    warn_of_unknown_keys(projection.keys());
    let snapshot = args.resolve.snapshot(&args.source.nodes.cluster)?;
    if args.follow.follow {
        return follow(
            (&args.source, &args.follow),
            &args.output,
            &projection,
            &filter,
            stats,
            out,
        );
    }
    let sources = args.source.sources(filter.window)?;
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &args.output);
    let (mut folded, groups) = match &snapshot {
        None => (pipeline::fold(&sources.logs, &reading, &projection, &filter, stats), None),
        Some(_) => {
            let both = (stats, Users::new(users, &mut projection));
            let folded = pipeline::fold(&sources.logs, &reading, &projection, &filter, both);
            let (folded, groups) = folded.split();
            (folded, Some(groups))
        }
    };
    drop(drawn);
    let exit = sources.exit(&mut folded, &args.output)?;
    let mut report = folded.report;
    if let (Some(snapshot), Some(groups)) = (&snapshot, &groups) {
        report.resolve(snapshot, groups);
        if report.user_key().is_none() {
            exit::note("--resolve needs a key that names users, such as -k user.username");
        }
    }
    (report.total.events, report.total.requests) = (folded.input.events, folded.requests);
    if report.total.matched == 0 && report.others > 0 {
        exit::note(&format!(
            "{} match, but none ends a request: --events counts them",
            summary::count(report.others, "event")
        ));
    }
    args.output.write(&report, Some(&folded.input), out)?;
    if args.source.paths.is_empty() && folded.input.events == 0 && !args.output.quiet {
        exit::note(
            "no event was read from the nodes: `kubectl audit doctor` shows how auditing is set up",
        );
    }
    summary(&folded.input, &args.output, out)?;
    Ok(exit)
}

/// Counts on and on: redrawn in place on a terminal, else as snapshots; at the end the final state.
fn follow(
    (source, following): (&SourceArgs, &FollowArgs),
    output: &OutputArgs,
    projection: &Projection,
    filter: &Filter,
    stats: Stats,
    out: &mut dyn Write,
) -> Result<Exit, Error> {
    let (followed, sources) = source.followed(filter.window, following)?;
    let is_terminal = output.look().width.is_some();
    let mut live =
        Live { stats, output, is_terminal, shown: Instant::now(), events: 0, result: Ok(()), out };
    let mut folded = pipeline::follow(followed, &source.reading(), projection, filter, &mut live);
    if folded.failed.is_empty() || folded.input.events > 0 {
        let _ = live.show(&folded.input, folded.requests);
    }
    let Live { result, out, .. } = live;
    result?;
    let exit = sources.exit(&mut folded, output)?;
    summary(&folded.input, output, out)?;
    Ok(exit)
}

/// How often a snapshot is printed where nothing can be redrawn.
const SNAPSHOT: Duration = Duration::from_secs(10);

/// Counts, and shows them now and then.
struct Live<'o> {
    stats: Stats,
    output: &'o OutputArgs,
    is_terminal: bool,
    shown: Instant,
    /// How many there were when it was shown.
    events: u64,
    result: io::Result<()>,
    out: &'o mut dyn Write,
}

impl Live<'_> {
    fn show(&mut self, input: &InputSummary, requests: u64) -> ControlFlow<()> {
        (self.shown, self.events) = (Instant::now(), input.events);
        let mut report = self.stats.clone().finish();
        (report.total.events, report.total.requests) = (input.events, requests);
        self.result = self.draw(&report, input);
        if self.result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn draw(&mut self, report: &StatsReport, input: &InputSummary) -> io::Result<()> {
        if self.is_terminal {
            // To the upper left corner, and nothing below.
            self.out.write_all(b"\x1b[H\x1b[2J")?;
        }
        output::write(report, Some(input), self.output.output, &self.output.look(), self.out)?;
        self.out.flush()
    }
}

impl Watcher for Live<'_> {
    fn record(&mut self, record: &Record<'_>) -> ControlFlow<()> {
        self.stats.observe(record);
        ControlFlow::Continue(())
    }

    fn pause(&mut self, input: &InputSummary, requests: u64) -> ControlFlow<()> {
        let wait = if self.is_terminal { Duration::from_secs(1) } else { SNAPSHOT };
        if input.events == self.events || self.shown.elapsed() < wait {
            return ControlFlow::Continue(());
        }
        self.show(input, requests)
    }

    fn note(&mut self, note: &str) {
        exit::note(note);
    }
}

/// A span of time in microseconds, more than none.
fn interval(text: &str) -> Result<i64, String> {
    let hint = "give a span of time such as `30s`, `5m` or `1h`";
    let span: jiff::SignedDuration = text.parse().map_err(|_| hint.to_owned())?;
    i64::try_from(span.as_micros()).ok().filter(|it| *it > 0).ok_or_else(|| hint.to_owned())
}
