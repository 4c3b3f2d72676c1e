//! `kubectl audit rbac unused`

use std::io::Write;

use super::super::{
    Error, Exit,
    args::{OutputArgs, SourceArgs, summary},
    exit,
    filter_args::{FilterArgs, now},
    limit::LimitArgs,
    rbac_args::RbacArgs,
};
use crate::{
    analysis::access::{
        left_out::Include,
        patch,
        unused::{Scope, UnusedGrants},
        usage::Usage,
    },
    decode::Projection,
    pipeline,
    rbac::subject,
};

/// Find grants that were not used, per rule and verb
///
/// What was denied is not used. How much time the logs cover comes first: a log of two hours proves
/// little. What Kubernetes itself brings (controllers, discovery) is left out. With --subject only the
/// grants of that user are looked at, and only what that user did.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # What does this service account hold and not use?
  kubectl audit rbac unused --subject team-a/builder --rbac examples/rbac.json examples/audit.log

  # The same of everybody, by a dump of the roles and bindings
  kubectl audit rbac unused --rbac examples/rbac.json examples/audit.log

  # The roles with only what was used, to review and apply
  kubectl audit rbac unused --rbac examples/rbac.json --patch examples/audit.log")]
pub struct Args {
    /// Print the roles with only what was used, as manifests to review
    #[arg(long, conflicts_with = "limit")]
    patch: bool,
    /// Also what Kubernetes itself brings
    #[arg(long)]
    system: bool,
    /// Exit with status 1 if something was not used
    #[arg(long)]
    exit_code: bool,
    /// Also take requests that somebody else made as the account, through impersonation
    #[arg(long)]
    include_impersonated: bool,
    #[command(flatten)]
    limit: LimitArgs,
    #[command(flatten)]
    rbac: RbacArgs,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let snapshot = args.rbac.snapshot(&args.source.nodes.cluster)?;
    let mut projection = Projection::default();
    // Who and where choose grants, not events: a log is as long as all of its events are.
    let FilterArgs { subject, namespace, all_namespaces, .. } = args.filter.clone();
    let namespace = namespace.filter(|_| !all_namespaces);
    let requests = FilterArgs { subject: None, namespace: None, ..args.filter.clone() };
    let filter = requests.build(now(), &mut projection)?;
    let only = subject.as_deref().map(|it| subject::parse(it).into_owned());
    let include = Include { impersonated: args.include_impersonated, ..Include::default() };
    let usage = Usage::new(&snapshot, only.clone(), &mut projection).including(include);
    let sources = args.source.sources(filter.window)?;
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &args.output);
    let mut folded = pipeline::fold(&sources.logs, &reading, &projection, &filter, usage);
    drop(drawn);
    let exit = sources.exit(&mut folded, &args.output)?;
    let used = folded.report;
    let bindings = only.map(|it| {
        let groups = used.groups.iter().map(|it| it.as_str().into());
        let user = subject::user(&it, groups);
        snapshot.grants_for(&user).iter().map(|it| it.id).collect()
    });
    let scope = Scope { namespace, bindings, has_system: args.system };
    used.left_out.notes().iter().for_each(|note| exit::note(note));
    let report = UnusedGrants::of(&snapshot, &used, &scope);
    if let Some(warning) = &report.window.warning {
        exit::warning(warning);
    }
    if args.patch {
        patch::write(&snapshot, &used, &scope, &report.window, out)?;
    } else {
        args.limit.write(&report, (&args.output, Some(&folded.input)), out)?;
    }
    summary(&folded.input, &args.output, out)?;
    if snapshot.is_partial() || exit == Exit::Partial {
        return Ok(Exit::Partial);
    }
    Ok(if args.exit_code && !report.items.is_empty() { Exit::Findings } else { exit })
}
