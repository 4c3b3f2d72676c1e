//! `kubectl audit policy check`

use std::{io::Write, path::PathBuf};

use serde::Serialize;

use super::super::{
    Error, Exit,
    args::{OutputArgs, Sources, cores, summary},
};
use crate::{
    analysis::policy_subjects::{Known, PolicySubjects},
    decode::Projection,
    filter::Filter,
    pipeline::{self, Folded, Reading},
    policy::{
        baseline::{self, Baseline},
        lint::{self, Finding, Severity},
        load::{self, KubeVersion, Loaded},
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
    /// The release whose API server is meant
    #[arg(long, value_name = "1.N", default_value = "1.36")]
    kube_version: KubeVersion,
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
}

#[derive(Debug, Serialize)]
struct Checked {
    file: String,
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
    let mut loaded = Vec::new();
    for path in &args.files {
        let file = path.display().to_string();
        loaded.push((file, load::load(&super::read(path)?, args.kube_version)));
    }
    let (known, read) = if args.logs.is_empty() {
        (Known::default(), None)
    } else {
        let (Folded { report, input, .. }, exit) = known(args, &loaded)?;
        (report, Some((input, exit)))
    };
    let files: Vec<Checked> =
        loaded.into_iter().map(|(file, loaded)| check(file, loaded, &known)).collect();
    let has_found = files.iter().any(|it| {
        !it.accepted
            || it.findings.iter().any(is_serious)
            || it.baseline.iter().any(|it| !it.passed)
    });
    let report = PolicyCheck { files };
    let input = read.as_ref().map(|(input, _)| input);
    args.output.write(&report, input, out)?;
    if let Some(input) = input {
        summary(input, &args.output, out)?;
    }
    match read {
        Some((_, Exit::Partial)) => Ok(Exit::Partial),
        _ if has_found => Ok(Exit::Findings),
        _ => Ok(Exit::Done),
    }
}

/// What the logs tell of the users and groups in the policies.
fn known(args: &Args, loaded: &[(String, Loaded)]) -> Result<(Folded<Known>, Exit), Error> {
    let mut projection = Projection::default();
    let policies = loaded.iter().filter_map(|(_, it)| it.policy.as_ref());
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

fn check(file: String, loaded: Loaded, known: &Known) -> Checked {
    let mut findings = lint::lint(&loaded);
    findings.extend(loaded.policy.iter().flat_map(|it| known.findings(it)));
    findings.sort_by_key(|it| it.line);
    let baseline = loaded.policy.as_ref().map(baseline::check).unwrap_or_default();
    let errors: Vec<Refusal> = loaded
        .errors
        .into_iter()
        .map(|it| Refusal { message: it.message, line: it.line, hint: it.hint })
        .collect();
    Checked { file, accepted: errors.is_empty(), errors, findings, baseline }
}

impl Report for PolicyCheck {
    const KIND: &'static str = "PolicyCheck";
    const EMPTY: &'static str = "Nothing found: the API server takes it as it is.";
    type Item = Checked;

    fn items(&self) -> &[Checked] {
        &self.files
    }

    fn tables(&self) -> Vec<Table> {
        let columns = vec![
            Column::text("FILE"),
            Column::number("LINE"),
            Column::text("SEVERITY"),
            Column::text("ID"),
            Column::text("MESSAGE").shrinking(),
            Column::text("HINT").wide(),
        ];
        let mut rows = Vec::new();
        for it in &self.files {
            let mut row = |line: usize, severity: &str, id: &str, message: String, hint: &str| {
                let line = if line == 0 { Cell::None } else { Cell::Number(line as u64) };
                let texts = [severity, id, &message, hint].map(Cell::from);
                let [severity, id, message, hint] = texts;
                rows.push(vec![Cell::from(it.file.as_str()), line, severity, id, message, hint]);
            };
            for err in &it.errors {
                row(
                    err.line,
                    "error",
                    "refused",
                    err.message.clone(),
                    err.hint.as_deref().unwrap_or_default(),
                );
            }
            for found in &it.findings {
                row(
                    found.line,
                    found.severity.as_str(),
                    found.id,
                    found.message.clone(),
                    found.hint,
                );
            }
            for base in it.baseline.iter().filter(|it| !it.passed) {
                row(
                    0,
                    "warning",
                    base.id,
                    format!("not logged: {}", base.missing.join(", ")),
                    "add rules for these",
                );
            }
        }
        vec![Table { columns, rows }]
    }
}
