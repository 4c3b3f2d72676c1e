//! `kubectl audit doctor`

use std::io::Write;

use super::{
    Error, Exit,
    args::{NodeArgs, OutputArgs},
};
use crate::{
    cluster::{Cluster, metrics::Own},
    filter::Window,
    source::{
        Place, SourceError,
        node::{self, ApiServer, NodeFile, NodeLogError, audit_flags},
    },
};

mod findings;
mod report;

use report::{AuditSetup, Finding, Flag, ServerSetup};

/// How auditing is set up in this cluster, and what is missing
///
/// Reads only. Exit status 1 if something was found.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # Of the current cluster
  kubectl audit doctor

  # Of another one, as somebody else
  kubectl audit doctor --context staging --as auditor

  # Only what was found, for a script
  kubectl audit doctor -o json | jq -r '.findings[].id'")]
pub struct Args {
    #[command(flatten)]
    nodes: NodeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let cluster = args.nodes.cluster.connect()?;
    let servers = node::api_servers(&cluster, &args.nodes.names).map_err(SourceError::Node)?;
    let is_only = args.nodes.names.is_empty() && servers.len() == 1 && servers[0].unknown.is_none();
    let mut setup = AuditSetup { server: cluster.server().to_owned(), ..AuditSetup::default() };

    for server in &servers {
        let mut found = look(server, args)?;
        ask(&mut found, node::own(&cluster, server, is_only));
        setup.findings.extend(findings::of(&found));
        setup.servers.push(found);
    }
    setup.findings.extend(findings::differences(&setup.servers));

    permissions(&cluster, &mut setup)?;
    args.output.write(&setup, None::<&()>, out)?;
    Ok(if setup.findings.is_empty() { Exit::Done } else { Exit::Findings })
}

/// What the server says of itself.
fn ask(setup: &mut ServerSetup, own: Own) {
    let now = jiff::Timestamp::now();
    setup.clock_skew = own.date.map(|date| now.duration_since(date).as_secs_f64());
    match own.unknown {
        None => setup.metrics = Some(own.metrics),
        Some(why) if setup.unknown.contains(&why) => {}
        Some(why) => setup.unknown.push(why),
    }
}

/// One API server: its flags, and its log as its node serves it.
fn look(server: &ApiServer, args: &Args) -> Result<ServerSetup, Error> {
    let known = audit_flags(server);
    let is_known = known.is_some();
    let flags = known.into_iter().flatten().map(|(name, value)| Flag { name, value });
    let flags: Vec<Flag> = flags.collect();
    let value = |name: &str| flags.iter().find(|it| it.name == name).map(|it| it.value.clone());
    let mut setup = ServerSetup {
        node: server.node.clone(),
        policy_file: value("audit-policy-file"),
        webhook: value("audit-webhook-config-file").is_some(),
        is_known,
        flags,
        unknown: server.unknown.iter().cloned().collect(),
        ..ServerSetup::default()
    };
    let mut found = args.nodes.of(&server.node).find(Window::default())?;
    let failed = found.failed.pop();
    // The findings about flags say it already, and what to do.
    let is_told = matches!(
        &failed,
        Some(SourceError::Node(NodeLogError::AuditOff { .. } | NodeLogError::WebhookOnly { .. }))
    );
    setup.is_served =
        failed.is_none() && !(is_known && value_of(&setup, "audit-log-path").is_none());
    setup.error = failed.filter(|_| !is_told).map(|it| it.to_string());
    let files: Vec<&NodeFile> = found
        .logs
        .iter()
        .flat_map(|it| &it.inputs)
        .filter_map(|it| match &it.place {
            Place::Node(file) => Some(file),
            _ => None,
        })
        .collect();
    setup.files = files.len() as u64;
    setup.bytes = files.iter().map(|it| it.size()).sum();
    let live = files.iter().rfind(|it| it.is_live());
    setup.log_path = live.or(files.last()).map(|it| it.path());
    let oldest = files.iter().filter_map(|it| it.first_time()).min();
    let hours =
        |it: jiff::Timestamp| jiff::Timestamp::now().duration_since(it).as_secs_f64() / 3_600.0;
    setup.hours = oldest.map(hours);
    let newest = live.and_then(|it| it.last_time());
    setup.newest_age =
        newest.map(|it| jiff::Timestamp::now().duration_since(it).as_secs_f64().max(0.0));
    Ok(setup)
}

fn value_of<'s>(setup: &'s ServerSetup, name: &str) -> Option<&'s str> {
    setup.flags.iter().find(|it| it.name == name).map(|it| it.value.as_str())
}

/// What this user may not do that reading logs needs. A right may be for certain nodes only.
fn permissions(cluster: &Cluster, setup: &mut AuditSetup) -> Result<(), Error> {
    let mut refused = Vec::new();
    if !cluster.may("list", "nodes", "", "")? {
        refused.push((None, "nodes"));
    }
    for server in &setup.servers {
        if !cluster.may("get", "nodes", "proxy", &server.node)? {
            refused.push((Some(server.node.clone()), "nodes/proxy"));
        }
    }

    for (node, what) in refused {
        let verb = if node.is_some() { "get" } else { "list" };
        setup.findings.push(Finding {
            id: "permission",
            severity: "warning",
            node,
            message: format!("you may not `{verb}` `{what}`"),
            hint:
                "see which permissions it takes, and what they also allow, in docs/guide/nodes.md"
                    .into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
