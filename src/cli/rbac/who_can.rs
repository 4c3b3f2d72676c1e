//! `kubectl audit rbac who-can`

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use serde::Serialize;

use super::super::{
    Error, Exit,
    args::{OutputArgs, SourceArgs, summary},
    filter_args::{FilterArgs, now},
    limit::LimitArgs,
    rbac_args::RbacArgs,
};
use crate::{
    analysis::access::{Use, Uses},
    decode::{InputSummary, Projection},
    event::Timestamp,
    pipeline,
    rbac::{GrantName, MASTERS, Subject, What, WhoCan, subject},
    report::{Cell, Column, Report, Table},
};

/// Who may do this, through which bindings; with logs also who of them did
///
/// Groups are told as groups. With -A a right in any namespace counts; without -n and -A a request for all namespaces, or for a resource that has
/// none, is meant. Members of system:masters may do everything, whatever the bindings say.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # Who can read secrets in the namespace shop?
  kubectl audit rbac who-can get secrets -n shop

  # Who could delete this, and who did?
  kubectl audit rbac who-can delete configmaps -n team-a --rbac examples/ examples/audit.log

  # Who may fetch the metrics, by a dump of the roles and bindings?
  kubectl audit rbac who-can get /metrics --rbac examples/rbac.json")]
pub struct Args {
    /// The verb, as in get, list, create, delete
    #[arg(value_name = "VERB")]
    asked_verb: String,
    /// The resource, as in pods, pods/exec or deployments.apps; or a path, as in /metrics
    #[arg(value_name = "RESOURCE[/SUB][.GROUP]")]
    asked_resource: String,
    /// The name of the object
    #[arg(value_name = "NAME")]
    object: Option<String>,
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

pub fn run(mut args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    if let Some(name) = args.object.take_if(|it| is_path(it)) {
        args.source.paths.insert(0, name.into());
    }
    let snapshot = args.rbac.snapshot(&args.source.nodes.cluster)?;
    let question = WhoCan {
        verb: args.asked_verb.clone(),
        what: What::parse(&args.asked_resource),
        namespace: args.filter.namespace.clone().unwrap_or_default(),
        name: args.object.clone().unwrap_or_default(),
    };
    let used = if has_logs(&args.source) { Some(uses(&args, &question)?) } else { None };
    let mut items: Vec<Able> = snapshot
        .who_can(&question, args.filter.all_namespaces)
        .into_iter()
        .map(|(subject, grants)| Able {
            used: None,
            subject,
            grants: grants.iter().map(|it| it.name()).collect(),
        })
        .collect();
    if !items.iter().any(|it| is_masters(&it.subject)) {
        let subject =
            Subject { kind: "Group".to_owned(), name: MASTERS.to_owned(), namespace: None };
        items.push(Able { subject, grants: Vec::new(), used: None });
    }
    let (input, exit) = match used {
        None => (None, Exit::Done),
        Some((users, input, exit)) => {
            items.iter_mut().for_each(|it| it.used = Some(Used::of(&it.subject, &users)));
            (Some(input), exit)
        }
    };
    let report = WhoCanReport { items };
    args.limit.write(&report, (&args.output, input.as_ref()), out)?;
    if let Some(input) = &input {
        summary(input, &args.output, out)?;
    }
    Ok(if snapshot.is_partial() { Exit::Partial } else { exit })
}

/// No object's name holds a slash, and who has a file of this name here most likely means it.
fn is_path(name: &str) -> bool {
    name == "-" || name.contains('/') || std::path::Path::new(name).exists()
}

/// Without a word about logs none are read: the bindings answer the question.
fn has_logs(source: &SourceArgs) -> bool {
    let nodes = &source.nodes;
    !source.paths.is_empty() || !nodes.names.is_empty() || nodes.log_path.is_some()
}

fn is_masters(subject: &Subject) -> bool {
    subject.kind == "Group" && subject.name == MASTERS
}

type Users = BTreeMap<String, Use>;

fn uses(args: &Args, question: &WhoCan) -> Result<(Users, InputSummary, Exit), Error> {
    let mut projection = Projection::default();
    let uses = Uses::new(question, &mut projection);
    let filter = args.filter.build(now(), &mut projection)?;
    let sources = args.source.sources(filter.window)?;
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &args.output);
    let mut folded = pipeline::fold(&sources.logs, &reading, &projection, &filter, uses);
    drop(drawn);
    let exit = sources.exit(&mut folded, &args.output)?;
    Ok((folded.report, folded.input, exit))
}

#[derive(Debug, Serialize)]
struct WhoCanReport {
    items: Vec<Able>,
}

/// A subject that may do it.
#[derive(Debug, Serialize)]
struct Able {
    subject: Subject,
    grants: Vec<GrantName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<Used>,
}

/// Whether it did.
#[derive(Debug, Default, Serialize)]
struct Used {
    requests: u64,
    last: Option<Timestamp>,
    /// The users, where the subject is a group.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    by: BTreeSet<String>,
}

impl Used {
    fn of(subject: &Subject, users: &Users) -> Used {
        let is_group = subject.kind == "Group";
        let name = match (subject.kind.as_str(), &subject.namespace) {
            ("ServiceAccount", Some(namespace)) => subject::username(namespace, &subject.name),
            _ => subject.name.clone(),
        };
        let mut used = Used::default();
        for (user, it) in users {
            if if is_group { it.groups.contains(&name) } else { *user == name } {
                used.requests += it.requests;
                used.last = used.last.max(it.last);
                if is_group {
                    used.by.insert(user.clone());
                }
            }
        }
        used
    }
}

impl Report for WhoCanReport {
    const KIND: &'static str = "WhoCan";
    const EMPTY: &'static str = "No grants found.";
    type Item = Able;

    fn items(&self) -> &[Able] {
        &self.items
    }

    fn tables(&self) -> Vec<Table> {
        let has_logs = self.items.iter().any(|it| it.used.is_some());
        let mut columns =
            vec![Column::text("SUBJECT"), Column::text("BINDING"), Column::text("ROLE")];
        if has_logs {
            columns.extend([Column::number("REQUESTS"), Column::text("LAST")]);
            columns.push(Column::text("BY").shrinking());
        }
        let mut rows = Vec::new();
        for it in &self.items {
            let used = |is_first: bool| match it.used.as_ref().filter(|_| is_first) {
                Some(it) => {
                    let by: Vec<&str> = it.by.iter().map(String::as_str).collect();
                    vec![
                        Cell::Number(it.requests),
                        it.last.map_or(Cell::None, |it| Cell::Time(it.0)),
                        Cell::from(by.join(", ")),
                    ]
                }
                None => vec![Cell::Text(String::new()); if has_logs { 3 } else { 0 }],
            };
            if it.grants.is_empty() {
                let mut row = vec![
                    Cell::from(it.subject.label()),
                    Cell::None,
                    Cell::from("everything, before RBAC"),
                ];
                row.extend(used(true));
                rows.push(row);
            }
            for (n, grant) in it.grants.iter().enumerate() {
                let mut row = vec![
                    Cell::from(it.subject.label()),
                    Cell::from(grant.binding.path()),
                    Cell::from(grant.role.path()),
                ];
                row.extend(used(n == 0));
                rows.push(row);
            }
        }
        vec![Table { columns, rows }]
    }
}
