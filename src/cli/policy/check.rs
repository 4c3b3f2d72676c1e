//! `kubectl audit policy check`

use std::{io::Write, path::PathBuf};

use serde::Serialize;

use super::super::{
    Error, Exit,
    args::{OutputArgs, Sources, cores, summary},
    exit,
};
use crate::{
    analysis::policy_subjects::{Known, PolicySubjects},
    decode::Projection,
    filter::Filter,
    output::Format,
    pipeline::{self, Folded, Reading},
    policy::{
        baseline::{self, Baseline},
        embedded::{self, Place},
        lint::{self, Finding, Severity},
        load::{KubeVersion, Loaded},
    },
    report::{Cell, Column, Report, Table},
};

/// Find out whether the API server takes a policy, and what is wrong with it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # Would the API server start with it, and what would it not log?
  kubectl audit policy check examples/policy.yaml

  # As an older API server
  kubectl audit policy check --kube-version 1.30 examples/policy.yaml

  # Also whether its users are known to a log as those who authenticate
  kubectl audit policy check examples/policy.yaml --log examples/audit.log

  # Only what is wrong, for a script
  kubectl audit policy check -o json examples/policy.yaml | jq '.files[].findings'")]
pub struct Args {
    /// Policies; `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The release whose API server is meant [default: 1.36, and what older servers refuse is a warning]
    #[arg(long, value_name = "1.N")]
    kube_version: Option<KubeVersion>,
    /// Print at most N findings; 0 prints all
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    limit: usize,
    /// An audit log, or a folder of them, to look for the users and groups of the rules in; repeatable
    ///
    /// A policy looks at who authenticated. Who is only ever impersonated in the log makes a rule that
    /// never matches.
    #[arg(long = "log", value_name = "PATH")]
    logs: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct PolicyCheck {
    files: Vec<Checked>,
    /// Of rows in tables; 0 for all.
    #[serde(skip)]
    limit: usize,
    /// Whether a hint stands below its message, for people, and not beside it.
    #[serde(skip)]
    is_stacked: bool,
}

#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    /// Of a policy inside another document: where.
    embedded: Option<Place>,
    accepted: bool,
    errors: Vec<Refusal>,
    findings: Vec<Finding>,
    baseline: Vec<Baseline>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    message: String,
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let version = args.kube_version.unwrap_or_default();
    let mut loaded = Vec::new();
    for path in &args.files {
        let bytes = super::read(path)?;
        loaded.extend(load(&path.display().to_string(), &bytes, version));
    }
    let (known, read) = if args.logs.is_empty() {
        (Known::default(), None)
    } else {
        let (Folded { report, input, .. }, exit) = known(args, &loaded)?;
        (report, Some((input, exit)))
    };
    let files: Vec<Checked> =
        loaded.into_iter().map(|it| check(it, &known, args.kube_version.is_none())).collect();
    let has_found = files.iter().any(|it| {
        !it.accepted
            || it.findings.iter().any(is_serious)
            || it.baseline.iter().any(|it| !it.passed)
    });
    let report =
        PolicyCheck { files, limit: args.limit, is_stacked: args.output.output == Format::Table };
    let input = read.as_ref().map(|(input, _)| input);
    args.output.write(&report, input, out)?;
    let hidden = report.rows().len().saturating_sub(args.limit);
    if args.limit > 0 && hidden > 0 {
        exit::note(&format!("{hidden} more: --limit 0 prints all"));
    }
    if let Some(input) = input {
        summary(input, &args.output, out)?;
    }
    match read {
        Some((_, Exit::Partial)) => Ok(Exit::Partial),
        _ if has_found => Ok(Exit::Findings),
        _ => Ok(Exit::Done),
    }
}

/// A policy, the name of its file, and its place where that is not the file.
struct Read {
    file: String,
    embedded: Option<Place>,
    loaded: Loaded,
}

/// Reads a file, and the policies inside where it is none itself.
fn load(file: &str, bytes: &[u8], version: KubeVersion) -> Vec<Read> {
    let (loaded, inside) = embedded::load(bytes, version);
    let own = Read { file: file.to_owned(), embedded: None, loaded };
    let inside = inside.into_iter().map(|(place, loaded)| Read {
        file: file.to_owned(),
        embedded: Some(place),
        loaded,
    });
    std::iter::once(own).chain(inside).collect()
}

/// What the logs tell of the users and groups in the policies.
fn known(args: &Args, loaded: &[Read]) -> Result<(Folded<Known>, Exit), Error> {
    let mut projection = Projection::default();
    let policies = loaded.iter().filter_map(|it| it.loaded.policy.as_ref());
    let subjects = PolicySubjects::new(policies, &mut projection);
    let sources = Sources::of(&args.logs)?;
    let mut reading = Reading { threads: cores(), ..Reading::default() };
    let drawn = sources.draw(&mut reading, &args.output);
    let filter = Filter::default();
    let mut folded = pipeline::fold(&sources.logs, &reading, &projection, &filter, subjects);
    drop(drawn);
    let exit = sources.exit(&mut folded, &args.output)?;
    Ok((folded, exit))
}

/// What a pipeline should stop at.
fn is_serious(finding: &Finding) -> bool {
    finding.severity != Severity::Info
}

/// `is_any_version`: nobody said how old the servers are.
fn check(read: Read, known: &Known, is_any_version: bool) -> Checked {
    let Read { file, embedded, loaded } = read;
    let mut findings = lint::lint(&loaded);
    findings.extend(loaded.policy.iter().flat_map(|it| known.findings(it)));
    if is_any_version {
        findings.extend(loaded.policy.iter().flat_map(lint::by_version));
    }
    findings.sort_by_key(|it| it.line);
    let baseline = loaded.policy.as_ref().map(baseline::check).unwrap_or_default();
    let errors: Vec<Refusal> = loaded
        .errors
        .into_iter()
        .map(|it| Refusal { message: it.message, line: it.line, hint: it.hint })
        .collect();
    Checked { file, embedded, accepted: errors.is_empty(), errors, findings, baseline }
}

impl Report for PolicyCheck {
    const KIND: &'static str = "PolicyCheck";
    const EMPTY: &'static str = "Nothing found: the API server takes it as it is.";
    type Item = Checked;

    fn items(&self) -> &[Checked] {
        &self.files
    }

    fn tables(&self) -> Vec<Table> {
        let mut columns = vec![
            Column::text("FILE"),
            Column::number("LINE"),
            Column::text("SEVERITY"),
            Column::text("ID"),
            Column::text("MESSAGE"),
            Column::text("HINT"),
        ];
        let mut rows = Vec::new();
        for row in self.shown() {
            let [severity, id] = [row.severity, row.id].map(Cell::from);
            let (file, message) = (Cell::from(row.file), Cell::from(row.message));
            let mut cells = vec![file, row.line, severity, id, message];
            if !self.is_stacked {
                cells.push(Cell::from(row.hint));
                rows.push(cells);
                continue;
            }
            rows.push(cells);
            if !row.hint.is_empty() {
                let mut below = vec![Cell::Text(String::new()); 4];
                below.push(Cell::from(format!("hint: {}", row.hint)));
                rows.push(below);
            }
        }
        if self.is_stacked {
            columns.pop();
        }
        vec![Table { columns, rows }]
    }

    /// The hint below its message; long ones go on in the next line of the terminal.
    fn narrow_tables(&self) -> Option<Vec<Table>> {
        let columns =
            vec![Column::number("LINE"), Column::text("SEVERITY"), Column::text("MESSAGE")];
        let is_one = self.files.len() == 1;
        let mut rows = Vec::new();
        for row in self.shown() {
            let file = if is_one { String::new() } else { format!("{}: ", row.file) };
            let message = format!("{file}{} ({})", row.message, row.id);
            rows.push(vec![row.line, Cell::from(row.severity), Cell::from(message)]);
            if !row.hint.is_empty() {
                let blank = || Cell::Text(String::new());
                rows.push(vec![blank(), blank(), Cell::from(format!("hint: {}", row.hint))]);
            }
        }
        Some(vec![Table { columns, rows }])
    }
}

/// A finding, or why the server does not start.
struct Row {
    file: String,
    line: Cell,
    severity: &'static str,
    id: &'static str,
    message: String,
    hint: String,
}

impl PolicyCheck {
    /// As many rows as were asked for.
    fn shown(&self) -> impl Iterator<Item = Row> {
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        self.rows().into_iter().take(limit)
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for it in &self.files {
            let file = match &it.embedded {
                Some(place) => format!("{}:{}", it.file, place.field),
                None => it.file.clone(),
            };
            let mut add = |line: usize, severity, id, message: String, hint: String| {
                let line = if line == 0 { Cell::None } else { Cell::Number(line as u64) };
                rows.push(Row { file: file.clone(), line, severity, id, message, hint });
            };
            for err in &it.errors {
                let hint = err.hint.clone().unwrap_or_default();
                add(err.line, "error", "refused", err.message.clone(), hint);
            }
            for found in &it.findings {
                let (message, hint) = (found.message.clone(), found.hint.to_string());
                add(found.line, found.severity.as_str(), found.id, message, hint);
            }
            for base in it.baseline.iter().filter(|it| !it.passed) {
                add(0, "warning", base.id, base.message(), base.hint().to_owned());
            }
        }
        rows
    }
}
