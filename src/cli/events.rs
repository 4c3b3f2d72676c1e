//! `kubectl audit events`

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
    ops::ControlFlow,
};

use super::{
    Error, Exit,
    args::{FollowArgs, OutputArgs, SourceArgs, summary},
    exit,
    filter_args::{FilterArgs, now, warn_of_unknown_keys},
    resolve::{self, ResolveArgs},
};
use crate::{
    analysis::access::Resolver,
    decode::{InputSummary, Projection, Record},
    event::Event,
    filter::Filter,
    output::{Format, csv, escape, table, yaml},
    pipeline::{self, Reading, Watcher},
    rbac::Snapshot,
    report::{Cell, Column},
};

/// Print the matching events
///
/// As a table for reading, or as they are: `-o jsonl` gives the lines byte for byte. Several logs are
/// merged by stage timestamp.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # What bob did, as a table
  kubectl audit events --subject bob examples/audit.log

  # The refused requests, as the API server wrote them
  kubectl audit events --code 403 -o jsonl examples/audit.log

  # The five newest deletions
  kubectl audit events --verb delete --reverse --limit 5 examples/audit.log")]
pub struct Args {
    /// Print at most N events; 0 prints all
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    limit: usize,
    /// Newest first. Holds the matching events in memory, or as many as --limit
    #[arg(long)]
    reverse: bool,
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

impl Args {
    fn limit(&self) -> usize {
        if self.limit == 0 { usize::MAX } else { self.limit }
    }
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let mut projection = Projection::default();
    let filter = args.filter.build(now(), &mut projection)?;
    warn_of_unknown_keys(projection.keys());
    let snapshot = args.resolve.snapshot(&args.source.nodes.cluster)?;
    if args.follow.follow {
        return follow(&args, &projection, &filter, snapshot.as_ref(), out);
    }
    let sources = args.source.sources(filter.window)?;
    // What becomes part of a document must be JSON to its end.
    let is_document = matches!(args.output.output, Format::Json | Format::Yaml);
    let reading = args.source.reading();
    let mut reading = Reading { strict: reading.strict || is_document, ..reading };
    // Lines that come on the same terminal are progress enough.
    let is_silent = args.reverse || !io::stdout().is_terminal();
    let drawn = is_silent.then(|| sources.draw(&mut reading, &args.output));
    let mut writer = Writer::new(&args.output, snapshot.as_ref(), out);
    let mut last = VecDeque::new();
    let limit = args.limit();
    let (mut n, mut result) = (0_usize, Ok(()));
    let mut folded = pipeline::each(&sources.logs, &reading, &projection, &filter, &mut |line| {
        if args.reverse {
            last.push_back(line.to_vec());
            if last.len() > limit {
                last.pop_front();
            }
            return ControlFlow::Continue(());
        }
        if n < limit {
            result = writer.event(line);
            n += 1;
        }
        if n >= limit || result.is_err() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    drop(drawn);
    result?;
    n += last.len();
    last.iter().rev().try_for_each(|it| writer.event(it))?;
    writer.finish()?;
    let exit = sources.exit(&mut folded, &args.output)?;
    if n == 0 {
        exit::advise("No events found.");
    }
    summary(&folded.input, &args.output, out)?;
    Ok(exit)
}

/// Prints events as they are written; between logs by stage timestamp.
fn follow(
    args: &Args,
    projection: &Projection,
    filter: &Filter,
    snapshot: Option<&Snapshot>,
    out: &mut dyn Write,
) -> Result<Exit, Error> {
    let (followed, sources) = args.source.followed(filter.window, &args.follow)?;
    let left = args.limit();
    let writer = Writer::new(&args.output, snapshot, out);
    let mut stream = Stream { writer, left, result: Ok(()) };
    let mut folded =
        pipeline::follow(followed, &args.source.reading(), projection, filter, &mut stream);
    let Stream { mut writer, result, .. } = stream;
    result?;
    writer.finish()?;
    let exit = sources.exit(&mut folded, &args.output)?;
    summary(&folded.input, &args.output, out)?;
    Ok(exit)
}

/// Prints what is followed.
struct Stream<'o> {
    writer: Writer<'o>,
    /// How many more are wanted.
    left: usize,
    result: io::Result<()>,
}

impl Watcher for Stream<'_> {
    fn wants_order(&self) -> bool {
        true
    }

    fn record(&mut self, record: &Record<'_>) -> ControlFlow<()> {
        if self.left > 0 {
            self.result = self.writer.event(record.line());
            self.left -= 1;
        }
        if self.left == 0 || self.result.is_err() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn pause(&mut self, _: &InputSummary, _: u64) -> ControlFlow<()> {
        self.result = self.writer.show();
        if self.result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn note(&mut self, note: &str) {
        exit::note(note);
    }
}

/// Rows that are looked at before the width of the columns is settled.
const FIRST_ROWS: usize = 500;

/// Events one after the other in a format.
struct Writer<'o> {
    args: &'o OutputArgs,
    /// Asked what each user is today, if somebody wants to know.
    resolver: Option<Resolver<'o>>,
    /// Whether columns for wide screens are shown, too.
    is_wide: bool,
    out: &'o mut dyn Write,
    n: usize,
    /// Rows until there are enough to settle the columns, and then none.
    rows: Vec<Vec<String>>,
    pages: Option<table::Pages>,
}

impl<'o> Writer<'o> {
    fn new(
        args: &'o OutputArgs,
        snapshot: Option<&'o Snapshot>,
        out: &'o mut dyn Write,
    ) -> Writer<'o> {
        let resolver = snapshot.map(Resolver::new);
        let is_wide = args.output != Format::Table;
        Writer { args, resolver, is_wide, out, n: 0, rows: Vec::new(), pages: None }
    }

    fn event(&mut self, line: &[u8]) -> io::Result<()> {
        self.n += 1;
        match self.args.output {
            Format::Jsonl => {
                self.out.write_all(line)?;
                self.out.write_all(b"\n")
            }
            Format::Json => {
                self.out.write_all(if self.n == 1 { JSON_START } else { b",\n" })?;
                self.out.write_all(line)
            }
            Format::Yaml => self.yaml(line),
            Format::Csv => {
                if self.n == 1 && !self.args.no_headers {
                    let columns = self.columns();
                    csv::header(
                        &columns.iter().map(|it| it.header.as_str()).collect::<Vec<_>>(),
                        self.out,
                    )?;
                }
                csv::row(&cells(line, self.is_wide, self.resolver.as_mut()), self.out)
            }
            Format::Table | Format::Wide => self.row(line),
        }
    }

    fn yaml(&mut self, line: &[u8]) -> io::Result<()> {
        if self.n == 1 {
            self.out.write_all(b"apiVersion: audit.k8s.io/v1\nkind: EventList\nitems:\n")?;
        }
        // What has no value (1e400, half of a surrogate pair, nested too deep) stays as it is
        // written: JSON is YAML, if blanks are blanks and other controls are escaped.
        let Ok(event) = serde_json::from_slice::<serde_json::Value>(line) else {
            let text = String::from_utf8_lossy(line).replace(['\t', '\r', '\n'], " ");
            return writeln!(self.out, "- {}", escape(&text));
        };
        let mut text = Vec::new();
        yaml(&event, &mut text)?;
        for (n, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            writeln!(self.out, "{}{line}", if n == 0 { "- " } else { "  " })?;
        }
        Ok(())
    }

    fn row(&mut self, line: &[u8]) -> io::Result<()> {
        let zone = &self.args.timezone;
        let cells = cells(line, self.is_wide, self.resolver.as_mut());
        self.rows.push(cells.iter().map(|it| table::show(it, zone)).collect());
        if self.rows.len() >= FIRST_ROWS { self.page() } else { Ok(()) }
    }

    fn columns(&self) -> Vec<Column> {
        columns(self.is_wide, self.resolver.is_some())
    }

    /// Writes the rows that wait; the first of them settle the columns.
    fn page(&mut self) -> io::Result<()> {
        if self.pages.is_none() {
            let mut look = self.args.look();
            look.width = look.width.filter(|_| !self.is_wide);
            let columns = self.columns();
            let mut widths = table::Widths::new(&columns, &look);
            self.rows.iter().for_each(|it| widths.add(it));
            self.pages = Some(table::Pages {
                widths: widths.fit(look.width),
                columns,
                look,
                has_header: false,
            });
        }
        let Some(pages) = &mut self.pages else { return Ok(()) };
        pages.header(self.out)?;
        pages.write(self.rows.drain(..), self.out)
    }

    /// Shows at once what was printed so far.
    fn show(&mut self) -> io::Result<()> {
        if !self.rows.is_empty() {
            self.page()?;
        }
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        match self.args.output {
            Format::Json if self.n == 0 => {
                writeln!(
                    self.out,
                    r#"{{"apiVersion":"audit.k8s.io/v1","kind":"EventList","metadata":{{}},"items":[]}}"#
                )
            }
            Format::Json => self.out.write_all(b"\n]}\n"),
            Format::Yaml if self.n == 0 => {
                self.out.write_all(b"apiVersion: audit.k8s.io/v1\nkind: EventList\nitems: []\n")
            }
            Format::Table | Format::Wide if !self.rows.is_empty() => self.page(),
            _ => Ok(()),
        }
    }
}

const JSON_START: &[u8] =
    b"{\"apiVersion\":\"audit.k8s.io/v1\",\"kind\":\"EventList\",\"metadata\":{},\"items\":[\n";

fn columns(is_wide: bool, has_identity: bool) -> Vec<Column> {
    let mut columns = vec![
        Column::text("TIME"),
        Column::text("USER"),
        Column::text("VERB"),
        Column::text("NAMESPACE"),
        Column::text("OBJECT").shrinking(),
        Column::code("CODE"),
        Column::text("SOURCE"),
        Column::text("STAGE").wide(),
        Column::text("LEVEL").wide(),
        Column::text("LATENCY").wide(),
        Column::text("DECISION").wide(),
        Column::text("AGENT").wide(),
        Column::text("AUDITID").wide(),
    ];
    if has_identity {
        columns.extend(resolve::columns());
    }
    columns.retain(|it| is_wide || !it.is_wide);
    columns
}

/// An event as a row of the [`columns`]: whose request, for what, from the trustworthy end of the way
/// it came.
fn cells(line: &[u8], is_wide: bool, resolver: Option<&mut Resolver<'_>>) -> Vec<Cell> {
    let Ok(event) = serde_json::from_slice::<Event<'_>>(line) else {
        let mut cells = vec![Cell::None; columns(is_wide, resolver.is_some()).len()];
        cells[4] = Cell::from(String::from_utf8_lossy(line).as_ref());
        return cells;
    };
    let object = event.object_ref.as_ref();
    let decision = event.annotations.get("authorization.k8s.io/decision");
    let mut cells = vec![
        event.stage_timestamp.map_or(Cell::None, |it| Cell::Time(it.0)),
        user(&event),
        verb(&event),
        object.map_or(Cell::None, |it| Cell::from(&*it.namespace)),
        what(&event),
        event
            .response_status
            .as_ref()
            .and_then(|it| it.code)
            .map_or(Cell::None, |it| Cell::from(it.to_string())),
        event.source_ips.last().map_or(Cell::None, |it| Cell::from(&**it)),
    ];
    if is_wide {
        let times = event.request_received_timestamp.zip(event.stage_timestamp);
        let latency = times.map(|(from, to)| (to.0 - from.0) as f64 / 1e6);
        cells.extend([
            Cell::from(event.stage.as_str()),
            Cell::from(event.level.as_str()),
            latency.filter(|it| *it >= 0.0).map_or(Cell::None, Cell::Seconds),
            decision.map_or(Cell::None, |it| Cell::from(&**it)),
            Cell::from(&*event.user_agent),
            Cell::from(&*event.audit_id),
        ]);
    }
    if let Some(resolver) = resolver {
        let (known, allowed_now) = resolver.judge(&event.as_authorized());
        let was_allowed = decision.map(|it| it == "allow");
        cells.extend(resolve::cells(&known, allowed_now, was_allowed, is_wide));
    }
    cells
}

/// The user that counted, and who authenticated if that was another.
fn user(event: &Event<'_>) -> Cell {
    let name = &event.user.username;
    match &event.impersonated_user {
        Some(other) => Cell::from(format!("{name} as {}", other.username)),
        None => Cell::from(&**name),
    }
}

/// The verb, with a mark if nothing was stored.
fn verb(event: &Event<'_>) -> Cell {
    let mark = if event.is_dry_run() { " (dry run)" } else { "" };
    Cell::from(format!("{}{mark}", event.verb))
}

/// `pods/web-0/exec`, or the path of what is no resource.
fn what(event: &Event<'_>) -> Cell {
    let refused = event.refused_impersonation();
    let refused = refused.map_or(String::new(), |it| format!("cannot {}: ", it.label()));
    let Some(object) = &event.object_ref else {
        let path = event.request_uri.split('?').next().unwrap_or_default();
        return Cell::from(format!("{refused}{path}"));
    };
    let group =
        if object.api_group.is_empty() { String::new() } else { format!(".{}", object.api_group) };
    let mut text = format!("{refused}{}{group}", object.resource);
    for part in [&object.name, &object.subresource] {
        if !part.is_empty() {
            text += &format!("/{part}");
        }
    }
    Cell::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let shown: Vec<_> = cells(line.as_bytes(), true, None)
            .iter()
            .map(|it| table::show(it, &jiff::tz::TimeZone::UTC))
            .collect();
        assert_eq!(shown[..7].join(" | "), expected);
        assert_eq!(shown.len(), columns(true, false).len());
    }

    #[test]
    fn a_resource() {
        check(
            r#"{"verb":"get","user":{"username":"ann"},"sourceIPs":["9.9.9.9","10.0.0.7"],"objectRef":{"resource":"pods","namespace":"shop","name":"web-0","subresource":"exec"},"responseStatus":{"code":101},"stageTimestamp":"2026-01-02T03:04:05.123456Z"}"#,
            "2026-01-02T03:04:05.123Z | ann | get | shop | pods/web-0/exec | 101 | 10.0.0.7",
        );
    }

    #[test]
    fn impersonated_on_a_path() {
        check(
            r#"{"verb":"get","requestURI":"/healthz?verbose","user":{"username":"ann"},"impersonatedUser":{"username":"bob"}}"#,
            "<none> | ann as bob | get | <none> | /healthz | <none> | <none>",
        );
    }

    #[test]
    fn broken_behind_the_head() {
        check(
            r#"{"verb":x}"#,
            "<none> | <none> | <none> | <none> | {\"verb\":x} | <none> | <none>",
        );
    }

    /// What `-o yaml` writes for a line.
    fn yaml_of(line: &str) -> String {
        #[derive(clap::Parser)]
        struct Output {
            #[command(flatten)]
            args: OutputArgs,
        }
        let Output { args } = clap::Parser::parse_from(["x", "-o", "yaml"]);
        let mut out = Vec::new();
        let mut writer = Writer::new(&args, None, &mut out);
        writer.event(line.as_bytes()).expect("memory can be written");
        writer.finish().expect("the same");
        String::from_utf8(out).expect("YAML is text")
    }

    #[test]
    fn yaml() {
        let list = "apiVersion: audit.k8s.io/v1\nkind: EventList\nitems:\n- ";
        for (line, expected) in [
            (
                r#"{"verb":"no","user":{"username":"1e3"}}"#,
                "verb: \"no\"\n  user:\n    username: \"1e3\"\n",
            ),
            ("{\t\"verb\":\"a\u{9b}b\",\"n\":1e999}", "{ \"verb\":\"a\\u009bb\",\"n\":1e999}\n"),
            (r#"{"verb":"\ud800"}"#, "{\"verb\":\"\\ud800\"}\n"),
        ] {
            assert_eq!(yaml_of(line), format!("{list}{expected}"));
        }
    }
}
