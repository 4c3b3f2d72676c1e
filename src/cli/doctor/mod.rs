//! `kubectl audit doctor`

use std::io::Write;

use super::{
    Error, Exit,
    args::{NodeArgs, OutputArgs},
};
use crate::{
    cluster::{Cluster, metrics},
    filter::Window,
    source::{
        Place, SourceError,
        node::{self, ApiServer, NodeFile, audit_flags},
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
    let mut setup = AuditSetup { server: cluster.server().to_owned(), ..AuditSetup::default() };
    for server in &servers {
        let found = look(server, args)?;
        setup.findings.extend(findings::of(&found));
        setup.api_servers.push(found);
    }
    permissions(&cluster, &mut setup)?;
    clock_and_metrics(&cluster, &mut setup);
    args.output.write(&setup, None::<&()>, out)?;
    Ok(if setup.findings.is_empty() { Exit::Done } else { Exit::Findings })
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
        ..ServerSetup::default()
    };
    let mut found = args.nodes.of(&server.node).find(Window::default())?;
    setup.error = found.failed.pop().map(|it| it.to_string());
    let files: Vec<&NodeFile> = found
        .logs
        .iter()
        .flat_map(|it| &it.inputs)
        .filter_map(|it| match &it.place {
            Place::Node(file) => Some(file),
            _ => None,
        })
        .collect();
    setup.is_served = setup.error.is_none();
    setup.files = files.len() as u64;
    setup.bytes = files.iter().map(|it| it.size()).sum();
    let live = files.iter().rfind(|it| it.is_live());
    setup.log_path = live.or(files.last()).map(|it| it.path());
    let oldest = files.iter().filter_map(|it| it.first_time()).min();
    let hours =
        |it: jiff::Timestamp| jiff::Timestamp::now().duration_since(it).as_secs_f64() / 3_600.0;
    setup.hours = oldest.map(hours);
    Ok(setup)
}

/// What this user may not do that reading logs needs.
fn permissions(cluster: &Cluster, setup: &mut AuditSetup) -> Result<(), Error> {
    for (verb, resource, subresource) in [("list", "nodes", ""), ("get", "nodes", "proxy")] {
        if !cluster.may(verb, resource, subresource)? {
            let what = if subresource.is_empty() {
                resource.into()
            } else {
                format!("{resource}/{subresource}")
            };
            setup.findings.push(Finding {
                id: "permission",
                severity: "warning",
                node: None,
                message: format!("you may not `{verb}` `{what}`"),
                hint: "see which permissions it takes, and what they also allow, in docs/guide/nodes.md".into(),
            });
        }
    }
    Ok(())
}

/// How far our clock is off, and what the API server counts; where it lets us see it.
fn clock_and_metrics(cluster: &Cluster, setup: &mut AuditSetup) {
    let Ok(reply) = cluster.get("/metrics", None) else { return };
    let date = reply.date.as_deref().and_then(|it| jiff::fmt::rfc2822::parse(it).ok());
    if let Some(date) = date {
        let skew = jiff::Timestamp::now().duration_since(date.timestamp()).as_secs_f64();
        setup.clock_skew = Some(skew);
        // Its clock is told in whole seconds.
        if skew.abs() > 5.0 {
            setup.findings.push(Finding {
                id: "clock-skew",
                severity: "warning",
                node: None,
                message: format!("this machine's clock and the API server's differ by {skew:.0} s"),
                hint: "--since 10m counts back from this machine's clock: give a time instead"
                    .into(),
            });
        }
    }
    if reply.status != 200 {
        return;
    }
    let Ok(text) = reply.text(metrics::MAX_REPLY) else { return };
    setup.metrics = metrics::of_auditing(&text);
    let failed: f64 = setup
        .metrics
        .iter()
        .filter(|it| {
            it.name.ends_with("error_total") || it.name.ends_with("requests_rejected_total")
        })
        .map(|it| it.value)
        .sum();
    if failed > 0.0 {
        setup.findings.push(Finding {
            id: "lost-events",
            severity: "error",
            node: None,
            message: format!("the API server counts {failed} events that were not written, or requests refused for it"),
            // A body that is no JSON fails its event: server-side apply takes YAML.
            hint: "look for a full disk, a webhook that does not answer, or server-side apply in YAML, \
                   which no event at level Request can hold"
                .into(),
        });
    }
}
