//! `kubectl audit policy simulate`

use std::{collections::BTreeMap, io::Write};

use super::{
    super::{
        Error, Exit,
        args::{SourceArgs, summary},
        exit,
        filter_args::{now, warn_of_unknown_keys},
    },
    LogArgs,
};
use crate::{
    analysis::simulation::{Counted, PolicySimulation, Simulation},
    cluster::metrics::Metric,
    decode::Projection,
    event::Level,
    pipeline,
    policy::Evaluator,
    source::node,
};

/// A log, and whether its API server is asked too.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    log: LogArgs,
    /// Ask the cluster how many requests its policy does not log [default: without a PATH]
    ///
    /// From the API server's own counts since it started, apiserver_audit_level_total of /metrics.
    #[arg(long)]
    calibrate: bool,
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let Args { log: args, calibrate } = args;
    let policy = super::policy(&args.policy, args.kube_version)?;
    let evaluator = Evaluator::new(&policy);
    let mut projection = Projection::default();
    let simulation = Simulation::new(&policy, &evaluator, &mut projection);
    let filter = args.filter.build(now(), &mut projection)?;
    warn_of_unknown_keys(projection.keys());
    let sources = args.source.sources(filter.window)?;
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &args.output);
    let mut folded = pipeline::fold(&sources.logs, &reading, &projection, &filter, simulation);
    drop(drawn);
    let exit = sources.exit(&mut folded, &args.output)?;
    if calibrate || args.source.paths.is_empty() {
        match counts(&args.source) {
            Ok(levels) => folded.report.counted = Counted::new(levels, folded.requests),
            Err(why) if calibrate => exit::note(&format!("unknown: {why}")),
            Err(_) => {}
        }
    }
    if !args.output.quiet {
        notes(&folded.report).iter().for_each(|it| exit::note(it));
    }
    args.limit.write(&folded.report, (&args.output, Some(&folded.input)), out)?;
    summary(&folded.input, &args.output, out)?;
    Ok(exit)
}

/// What the API servers that wrote the logs have counted: each is asked at its own address, for behind a
/// balancer anyone might answer. Of files, --node says which server wrote them.
///
/// # Errors
/// Why that is unknown.
fn counts(source: &SourceArgs) -> Result<BTreeMap<Level, u64>, String> {
    let cluster = source.nodes.cluster.connect().map_err(|err| err.to_string())?;
    let all = node::api_servers(&cluster, &[]).map_err(|err| err.to_string())?;
    let is_only = all.len() == 1 && all[0].unknown.is_none();
    let names = &source.nodes.names;
    if !source.paths.is_empty() && !is_only && names.is_empty() {
        let n = all.len();
        return Err(format!(
            "which of {n} API servers wrote the log; --node NAME says so, and its counts are asked for"
        ));
    }

    let mut metrics = Vec::new();
    for server in all.iter().filter(|it| names.is_empty() || names.contains(&it.node)) {
        let own = node::own(&cluster, server, is_only);
        if let Some(why) = own.unknown {
            return Err(format!("what the API server of `{}` counts: {why}", server.node));
        }
        metrics.extend(own.metrics);
    }
    Ok(by_level(&metrics))
}

/// How many requests an API server has judged at each level.
fn by_level(metrics: &[Metric]) -> BTreeMap<Level, u64> {
    let of = |level: Level| {
        let label = format!("level=\"{level}\"");
        let of_level = metrics
            .iter()
            .filter(|it| it.name == "apiserver_audit_level_total" && it.labels == label);
        (level, of_level.map(|it| it.value as u64).sum())
    };
    [Level::None, Level::Metadata, Level::Request, Level::RequestResponse].map(of).into()
}

/// What the log cannot show.
fn notes(report: &PolicySimulation) -> Vec<String> {
    let mut notes = Vec::new();
    let unknown = report.unknown;
    if unknown.requests > 0 {
        notes.push(format!("{} requests were {}", unknown.requests, unknown.why));
    }
    if unknown.events > 0 {
        notes.push(format!(
            "the policy writes {} events of stage RequestReceived that the log does not have",
            unknown.events
        ));
    }
    if let Some(counted) = &report.counted {
        notes.push(format!(
            "{} % of the {} requests since the API servers of the log started were not logged by their policy, and no \
             number here holds them: with this share the log's time had about {} requests",
            counted.percent_unlogged, counted.requests, counted.estimated_requests
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::metrics::of_auditing;

    #[test]
    fn levels() {
        let text = "apiserver_audit_event_total 9\n\
                    apiserver_audit_level_total{level=\"None\"} 30\n\
                    apiserver_audit_level_total{level=\"RequestResponse\"} 1.5e+06\n";
        let levels = by_level(&of_auditing(text));
        assert_eq!(levels[&Level::None], 30);
        assert_eq!(levels[&Level::Metadata], 0);
        assert_eq!(levels[&Level::RequestResponse], 1_500_000);
    }
}
