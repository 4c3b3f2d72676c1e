//! `kubectl audit rbac evaluate`

use std::{io::Write, ops::ControlFlow, path::PathBuf};

use super::super::{
    Error, Exit,
    args::{OutputArgs, SourceArgs, Sources, summary},
    filter_args::{FilterArgs, now, warn_of_unknown_keys},
    limit::LimitArgs,
    rbac_args::{self, RbacArgs},
};
use crate::{
    analysis::access::{
        Requests,
        evaluation::{Against, Evaluated, Evaluation, Verdicts},
    },
    decode::{Projection, Record},
    filter::Filter,
    output::Format,
    pipeline,
    rbac::Snapshot,
};

/// Try a planned RBAC on recorded requests: what would break, and what would open
///
/// Each request is judged as the API server's authorizer would, for the effective user. The table
/// tells per subject what changes against what was decided then, or against another RBAC; -o jsonl
/// tells of each event whether it is allowed, and by which bindings.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # What would break if these roles and bindings were all there is?
  kubectl audit rbac evaluate --rbac examples/rbac.json examples/audit.log

  # What changes if these manifests were applied to this cluster?
  kubectl audit rbac evaluate --rbac live --rbac new.yaml --against live examples/audit.log

  # Which bindings allowed each of these requests?
  kubectl audit rbac evaluate --rbac examples/ --subject alice -o jsonl examples/audit.log")]
pub struct Args {
    #[command(flatten)]
    rbac: RbacArgs,
    /// Compare with the RBAC of this file or folder, or `live` [default: with what was decided then]
    #[arg(long, value_name = "FILE|FOLDER|live", help_heading = "Which RBAC")]
    against: Option<PathBuf>,
    #[command(flatten)]
    limit: LimitArgs,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let snapshot = args.rbac.snapshot(&args.source.nodes.cluster)?;
    let is_partial = snapshot.is_partial();
    let mut projection = Projection::default();
    let filter = args.filter.build(now(), &mut projection)?;
    let exit = if args.output.output == Format::Jsonl {
        let line = Lines::new(&snapshot, &mut projection);
        let sources = sources(&args, &filter, &projection)?;
        lines(&args, &sources, &projection, &filter, line, out)?
    } else {
        let other = args
            .against
            .as_ref()
            .map(|it| rbac_args::snapshot(std::slice::from_ref(it), &args.source.nodes.cluster))
            .transpose()?;
        let against = other.as_ref().map_or(Against::Recorded, Against::Snapshot);
        let evaluation = Evaluation::new(&snapshot, against, &mut projection);
        let sources = sources(&args, &filter, &projection)?;
        let mut reading = args.source.reading();
        let drawn = sources.draw(&mut reading, &args.output);
        let mut folded = pipeline::fold(&sources.logs, &reading, &projection, &filter, evaluation);
        drop(drawn);
        let exit = sources.exit(&mut folded, &args.output)?;
        args.limit.write(&folded.report, (&args.output, Some(&folded.input)), out)?;
        summary(&folded.input, &args.output, out)?;
        exit
    };
    Ok(if is_partial { Exit::Partial } else { exit })
}

fn sources(args: &Args, filter: &Filter, projection: &Projection) -> Result<Sources, Error> {
    warn_of_unknown_keys(projection.keys());
    args.source.sources(filter.window)
}

/// Makes the line of an event.
#[derive(Clone)]
struct Lines<'s> {
    verdicts: Verdicts<'s>,
    requests: Requests,
    audit_id: crate::decode::Slot,
}

impl<'s> Lines<'s> {
    fn new(snapshot: &'s Snapshot, projection: &mut Projection) -> Lines<'s> {
        let audit_id = projection.want("auditID");
        Lines { verdicts: Verdicts::new(snapshot), requests: Requests::new(projection), audit_id }
    }

    fn write(&mut self, record: &Record<'_>, text: &mut Vec<u8>) {
        let verdict = self.verdicts.of(&self.requests.read(record));
        let audit_id = record.text(self.audit_id);
        let line = Evaluated { audit_id, stage: record.stage().as_str(), verdict };
        serde_json::to_writer(&mut *text, &line).expect("memory can be written");
        text.push(b'\n');
    }
}

fn lines(
    args: &Args,
    sources: &Sources,
    projection: &Projection,
    filter: &Filter,
    lines: Lines<'_>,
    out: &mut dyn Write,
) -> Result<Exit, Error> {
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &args.output);
    let (mut shown, mut result) = (args.limit.lines(), Ok(()));
    let mut lines = lines;
    let line = move |record: &Record<'_>, text: &mut Vec<u8>| lines.write(record, text);
    let mut take = |line: &[u8]| {
        result = shown.write(line, out);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let mut folded = pipeline::map(&sources.logs, &reading, projection, filter, &line, &mut take);
    drop(drawn);
    result?;
    let exit = sources.exit(&mut folded, &args.output)?;
    shown.finish(out)?;
    summary(&folded.input, &args.output, out)?;
    Ok(exit)
}
