//! `kubectl audit policy diff`

use std::{io::Write, path::PathBuf};

use super::super::{
    Error, Exit,
    args::{OutputArgs, SourceArgs, summary},
    exit,
    filter_args::{FilterArgs, now, warn_of_unknown_keys},
    limit::LimitArgs,
};
use crate::{
    analysis::policy_diff::PolicyDiff,
    decode::Projection,
    pipeline,
    policy::{Evaluator, load::KubeVersion},
};

/// Compare two policies on recorded requests: what would be seen no more, what newly stored
///
/// Each row is a change by a pair of rules, with one of the requests. What would be lost comes first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # What would we stop seeing?
  kubectl audit policy diff examples/policy.yaml examples/less.yaml examples/audit.log

  # Before a rollout: fail if anything changes
  kubectl audit policy diff --exit-code examples/policy.yaml examples/less.yaml examples/audit.log

  # The same as JSON lines
  kubectl audit policy diff examples/policy.yaml examples/less.yaml -o jsonl examples/audit.log")]
pub struct Args {
    /// The policy in force
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The policy to come
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Exit with status 1 if something changes
    #[arg(long)]
    exit_code: bool,
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
    output: OutputArgs,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let old = super::policy(&args.old, args.kube_version)?;
    let new = super::policy(&args.new, args.kube_version)?;
    let (old_ready, new_ready) = (Evaluator::new(&old), Evaluator::new(&new));
    let mut projection = Projection::default();
    let diff = PolicyDiff::new((&old, &old_ready), (&new, &new_ready), &mut projection);
    let filter = args.filter.build(now(), &mut projection)?;
    warn_of_unknown_keys(projection.keys());
    let sources = args.source.sources(filter.window)?;
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &args.output);
    let mut folded = pipeline::fold(&sources.logs, &reading, &projection, &filter, diff);
    drop(drawn);
    let exit = sources.exit(&mut folded, &args.output)?;
    let report = &folded.report;
    if report.unknown.requests > 0 && !args.output.quiet {
        let n = report.unknown.requests;
        exit::note(&format!("{n} requests were {}", report.unknown.why));
    }
    args.limit.write(report, (&args.output, Some(&folded.input)), out)?;
    summary(&folded.input, &args.output, out)?;
    let has_changed = args.exit_code && !report.changes.is_empty();
    Ok(if has_changed && exit == Exit::Done { Exit::Findings } else { exit })
}
