//! `kubectl audit who`

use std::{borrow::Cow, io::Write};

use serde::Serialize;

use super::{
    Error, Exit,
    args::{OutputArgs, SourceArgs, summary},
    exit,
    filter_args::{FilterArgs, now},
    rbac_args::RbacArgs,
};
use crate::{
    analysis::access::{
        left_out::Include,
        portrait::{Portrait, Seen},
    },
    decode::{InputSummary, Projection},
    pipeline,
    rbac::{
        MASTERS, ObjectName, PolicyRule, RoleRef, Snapshot, Subject,
        danger::{self, Dangerous},
        subject::{self, Kind},
    },
    report::{Cell, Column, Report, Table},
};

/// Everything about one user or service account: rights, the dangerous ones first, and what it did
///
/// Works with a log, a cluster (or a dump of it), or both. What no cluster knows, as the groups of a
/// user, comes from the log; what no log knows, as the roles, from the cluster.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # What is this service account, and what did it do?
  kubectl audit who team-a/builder --rbac examples/rbac.json examples/audit.log

  # Its rights alone, by a dump of roles and bindings
  kubectl audit who mallory --rbac examples/rbac.json

  # A user who is known by a certificate, with a group that the log does not show
  kubectl audit who alice --group ops --rbac examples/rbac.json")]
pub struct Args {
    /// A user name, or NAMESPACE/NAME of a service account
    #[arg(value_name = "SUBJECT")]
    who: String,
    /// A further group of it; repeatable
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Also take requests that somebody else made as the account, through impersonation
    #[arg(long)]
    include_impersonated: bool,
    /// Read no logs
    #[arg(long, conflicts_with = "paths")]
    no_logs: bool,
    /// Ask no cluster for roles and bindings
    #[arg(long, conflicts_with = "rbac")]
    no_rbac: bool,
    #[command(flatten)]
    rbac: RbacArgs,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is known of a user.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    subject: Subject,
    /// User, ServiceAccount, Node, ControlPlane or Anonymous.
    identity: &'static str,
    exists: Option<bool>,
    groups: Vec<String>,
    grants: Vec<Given>,
    privileged: Vec<String>,
    dangers: Vec<Danger>,
    seen: Option<Seen>,
    used_by: Vec<String>,
}

/// A binding that applies, and what it gives.
#[derive(Debug, Serialize)]
struct Given {
    binding: ObjectName,
    role: RoleRef,
    via: String,
    rules: Vec<PolicyRule>,
    /// There is no such role: the binding gives nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    missing: bool,
}

#[derive(Debug, Serialize)]
struct Danger {
    #[serde(flatten)]
    dangerous: Dangerous,
    binding: ObjectName,
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let name = subject::parse(&args.who).into_owned();
    let (snapshot, has_missed) = snapshot(&args)?;
    let seen = if has_logs(&args) { Some(portrait(&args, &name)?) } else { None };
    let (seen, input, exit) = match seen {
        Some((seen, input, exit)) => (Some(seen), Some(input), exit),
        None => (None, None, Exit::Done),
    };
    let identity = identity(&name, &args.group, snapshot.as_ref(), seen);
    args.output.write(&identity, input.as_ref(), out)?;
    if let Some(input) = &input {
        summary(input, &args.output, out)?;
    }
    let is_partial = has_missed || snapshot.is_some_and(|it| it.is_partial());
    Ok(if is_partial { Exit::Partial } else { exit })
}

/// Without a path the logs of the cluster are read, but not beside a dump: that one is for offline.
fn has_logs(args: &Args) -> bool {
    let nodes = &args.source.nodes;
    let is_asked =
        !args.source.paths.is_empty() || !nodes.names.is_empty() || nodes.log_path.is_some();
    is_asked || !args.no_logs && args.rbac.rbac.is_empty()
}

/// The RBAC to look into. Beside a log that was named the cluster may be missing; whether it should
/// have answered is told too.
fn snapshot(args: &Args) -> Result<(Option<Snapshot>, bool), Error> {
    if args.no_rbac {
        return Ok((None, false));
    }
    match args.rbac.snapshot(&args.source.nodes.cluster) {
        Ok(snapshot) => Ok((Some(snapshot), false)),
        Err(Error::Cluster(err)) if args.rbac.rbac.is_empty() && !args.source.paths.is_empty() => {
            let is_configured = !matches!(err, crate::cluster::ClusterError::NoCluster);
            if is_configured {
                exit::warn(&Error::Cluster(err));
            } else {
                exit::note(&format!("{err}: its roles are not known; --rbac names a dump of them"));
            }
            Ok((None, is_configured))
        }
        Err(err) => Err(err),
    }
}

fn portrait(args: &Args, name: &str) -> Result<(Seen, InputSummary, Exit), Error> {
    let mut projection = Projection::default();
    let include = Include { impersonated: args.include_impersonated, ..Include::default() };
    let portrait = Portrait::new(name, &mut projection).including(include);
    let filter = args.filter.build(now(), &mut projection)?;
    let sources = args.source.sources(filter.window)?;
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &args.output);
    let mut folded = pipeline::fold(&sources.logs, &reading, &projection, &filter, portrait);
    drop(drawn);
    let exit = sources.exit(&mut folded, &args.output)?;
    folded.report.left_out.notes().iter().for_each(|note| exit::note(note));
    Ok((folded.report, folded.input, exit))
}

fn identity(
    name: &str,
    groups: &[String],
    snapshot: Option<&Snapshot>,
    seen: Option<Seen>,
) -> Identity {
    let kind = Kind::of(name);
    let known = seen.iter().flat_map(|it| &it.groups).chain(groups).map(|it| Cow::Borrowed(&**it));
    let user = subject::user(name, known);
    let mut identity = Identity {
        subject: kind.subject(name),
        identity: kind.as_str(),
        exists: snapshot.and_then(|it| it.identity(&user).exists),
        groups: user.groups.iter().map(|it| it.to_string()).collect(),
        grants: Vec::new(),
        privileged: Vec::new(),
        dangers: Vec::new(),
        used_by: Vec::new(),
        seen: None,
    };
    if user.groups.iter().any(|it| it == MASTERS) {
        identity.privileged.push("*: *".to_owned());
    }
    for grant in snapshot.map(|it| it.grants_for(&user)).unwrap_or_default() {
        let binding = grant.binding;
        identity.grants.push(Given {
            binding: binding.object_name(),
            role: binding.role_ref.clone(),
            via: grant.subject.label(),
            rules: binding.rules().to_vec(),
            missing: binding.role.is_none(),
        });
        for dangerous in danger::of(binding) {
            let right = dangerous.label();
            if !identity.privileged.contains(&right) {
                identity.privileged.push(right);
            }
            identity.dangers.push(Danger { dangerous, binding: binding.object_name() });
        }
    }
    if let (Some(snapshot), Kind::ServiceAccount { namespace, name }) = (snapshot, kind) {
        let pods = snapshot.pods_of(namespace, name);
        identity.used_by =
            pods.map(|it| format!("Pod {}/{}", it.metadata.namespace, it.metadata.name)).collect();
        identity.used_by.sort();
    }
    identity.seen = seen;
    identity
}

impl Report for Identity {
    const KIND: &'static str = "Identity";
    type Item = Identity;

    fn items(&self) -> &[Identity] {
        std::slice::from_ref(self)
    }

    fn tables(&self) -> Vec<Table> {
        let mut tables = vec![self.facts()];
        tables.push(self.danger_table());
        tables.push(self.grant_table());
        if let Some(seen) = &self.seen {
            tables.push(deeds(seen));
            tables.push(credentials(seen));
            tables.push(denials(seen));
        }
        tables.retain(|it| !it.rows.is_empty());
        tables
    }
}

impl Identity {
    fn facts(&self) -> Table {
        // Without headers: `Name:   value`, as kubectl describes an object.
        let columns = vec![Column::text(""), Column::text("").shrinking()];
        let mut rows = Vec::new();
        let mut add = |name: &str, value: String| {
            if !value.is_empty() {
                rows.push(vec![Cell::from(format!("{name}:")), Cell::Text(value)]);
            }
        };
        add("Subject", self.subject.label());
        add("Kind", self.identity.to_owned());
        let exists = match self.exists {
            Some(true) => "yes",
            Some(false) => "no: it is gone",
            None => "",
        };
        add("Exists", exists.to_owned());
        add("Groups", self.groups.join(", "));
        if self.groups.iter().any(|it| it == MASTERS) {
            add("Allowed", format!("everything, before RBAC: it is in {MASTERS}"));
        }
        add("Used by", self.used_by.join(", "));
        if let Some(seen) = &self.seen {
            let time = |it: Option<crate::event::Timestamp>| {
                it.map_or_else(|| "?".to_owned(), |it| it.to_string())
            };
            let period = match seen.requests {
                0 => "never in these logs".to_owned(),
                n => format!("{n} requests, {} to {}", time(seen.from), time(seen.to)),
            };
            add("Seen", period);
            if seen.denied > 0 {
                add("Denied", seen.denied.to_string());
            }
            let logins = seen.logins.iter().map(|login| {
                format!("{} {} (last {})", login.count, login.decision, time(login.last))
            });
            add("Logins", logins.collect::<Vec<_>>().join(", "));
            let address = |ip: &String| match seen.claimed_source_ips.contains(ip) {
                true => format!("{ip} (claimed)"),
                false => ip.clone(),
            };
            add("From", seen.source_ips.iter().map(address).collect::<Vec<_>>().join(", "));
            add("With", list(&seen.user_agents));
            add("In the cloud", list(&seen.cloud_identities));
            let counts = |all: &std::collections::BTreeMap<String, u64>| {
                all.iter().map(|(name, n)| format!("{name} ({n})")).collect::<Vec<_>>().join(", ")
            };
            add("Acted as", counts(&seen.impersonated));
            add("Impersonated by", counts(&seen.impersonated_by));
        }
        Table { columns, rows }
    }

    fn danger_table(&self) -> Table {
        let columns = vec![
            Column::text("DANGEROUS"),
            Column::text("WHERE"),
            Column::text("BINDING"),
            Column::text("WHY").shrinking(),
        ];
        let rows = self.dangers.iter().map(|it| {
            let right = it.dangerous.label();
            let place = it.dangerous.namespace.as_deref().unwrap_or("everywhere");
            vec![
                Cell::from(right),
                Cell::from(place),
                Cell::from(it.binding.path()),
                Cell::from(it.dangerous.why),
            ]
        });
        Table { rows: rows.collect(), columns }
    }

    fn grant_table(&self) -> Table {
        let columns = vec![
            Column::text("BINDING"),
            Column::text("ROLE"),
            Column::text("VIA"),
            Column::number("RULES"),
            Column::text("ALLOWS").wide(),
        ];
        let rows = self.grants.iter().map(|it| {
            let role = it.role.path();
            let rules: Vec<String> = it.rules.iter().map(rule).collect();
            vec![
                Cell::from(it.binding.path()),
                Cell::from(if it.missing { format!("{role} (missing)") } else { role }),
                Cell::from(it.via.as_str()),
                Cell::Number(it.rules.len() as u64),
                Cell::from(rules.join("; ")),
            ]
        });
        Table { rows: rows.collect(), columns }
    }
}

fn list(all: &std::collections::BTreeSet<String>) -> String {
    all.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A rule in a line.
fn rule(it: &PolicyRule) -> String {
    let what: Vec<&str> =
        it.resources.iter().chain(&it.non_resource_urls).map(String::as_str).collect();
    format!("{} on {}", it.verbs.join(","), what.join(","))
}

/// What it did most often; documents have all.
fn deeds(seen: &Seen) -> Table {
    const MOST: usize = 20;
    let columns = vec![
        Column::text("DID"),
        Column::text("RESOURCE").shrinking(),
        Column::number("REQUESTS"),
        Column::text("LAST"),
    ];
    let rows = seen.did.iter().take(MOST).map(|deed| {
        vec![
            Cell::from(deed.verb.as_str()),
            Cell::from(deed.resource.as_str()),
            Cell::Number(deed.count),
            deed.last.map_or(Cell::None, |last| Cell::Time(last.0)),
        ]
    });
    let mut rows: Vec<Vec<Cell>> = rows.collect();
    if let Some(others) = seen.did.get(MOST..).filter(|others| !others.is_empty()) {
        let count = others.iter().map(|deed| deed.count).sum();
        let last = others.iter().filter_map(|deed| deed.last).max();
        rows.push(vec![
            Cell::from("…"),
            Cell::from(format!("{} others", others.len())),
            Cell::Number(count),
            last.map_or(Cell::None, |last| Cell::Time(last.0)),
        ]);
    }
    Table { columns, rows }
}

fn credentials(seen: &Seen) -> Table {
    let columns = vec![
        Column::text("CREDENTIAL"),
        Column::number("REQUESTS"),
        Column::text("FIRST"),
        Column::text("LAST"),
        Column::text("POD"),
        Column::text("ISSUED-BY"),
        Column::text("ISSUED").wide(),
        Column::text("NODE").wide(),
    ];
    let time = |it: Option<crate::event::Timestamp>| it.map_or(Cell::None, |it| Cell::Time(it.0));
    let rows = seen.credentials.iter().map(|(id, it)| {
        vec![
            Cell::from(id.as_str()),
            Cell::Number(it.requests),
            time(it.first),
            time(it.last),
            Cell::from(it.pod.clone()),
            Cell::from(it.issued_by.clone()),
            time(it.issued_at),
            Cell::from(it.node.clone()),
        ]
    });
    Table { rows: rows.collect(), columns }
}

fn denials(seen: &Seen) -> Table {
    let columns = vec![Column::text("DENIED"), Column::number("REQUESTS")];
    let rows =
        seen.denials.iter().map(|(what, n)| vec![Cell::from(what.as_str()), Cell::Number(*n)]);
    let impersonations = seen
        .impersonation_refused
        .iter()
        .map(|refused| vec![Cell::from(refused.label.as_str()), Cell::Number(refused.count)]);
    Table { rows: rows.chain(impersonations).collect(), columns }
}
