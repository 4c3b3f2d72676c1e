//! `kubectl audit rbac generate`

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use serde::Serialize;

use super::super::{
    Error, Exit,
    args::{OutputArgs, SourceArgs, summary},
    exit,
    filter_args::{FilterArgs, now},
    rbac_args::RbacArgs,
};
use crate::{
    analysis::access::{
        coverage::Window,
        left_out::Include,
        needs::{Need, Needs},
    },
    decode::Projection,
    output::Format,
    pipeline,
    rbac::{
        ALL, PolicyRule, RoleRef, Snapshot, Subject,
        manifest::{self, BindingManifest, ObjectMeta, RoleManifest},
        subject,
    },
};

/// Make the least roles that allow what subjects really did
///
/// Prints roles and bindings that `kubectl apply` takes. What was refused, what somebody else did as the
/// account through impersonation, and what every user may do anyway, is left out. Without --subject or --selector: for everybody but the system's own users.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # The least roles for one service account (several: with commas)
  kubectl audit rbac generate --subject team-a/builder --rbac examples/ examples/audit.log

  # For whatever the pods with this label run as
  kubectl audit rbac generate --selector app=tool --rbac examples/rbac.json examples/audit.log

  # Looser: reading means get, list and watch
  kubectl audit rbac generate --subject alice --expand-verbs --rbac examples/ examples/audit.log")]
pub struct Args {
    /// For the service accounts of the pods with these labels, as in app=web,tier=front
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// Name at most N objects in a rule; more, and the rule is for any name
    #[arg(long, value_name = "N", default_value_t = 5)]
    max_names: usize,
    /// Give a Role per namespace for at most N namespaces; more, and it is for the whole cluster
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_namespaces: usize,
    /// Who may get, list or watch may do all three, as clients that cache need it
    #[arg(long)]
    expand_verbs: bool,
    /// Also cover requests that were refused
    #[arg(long)]
    include_denied: bool,
    /// Also take requests that somebody else made as the account, through impersonation
    #[arg(long)]
    include_impersonated: bool,
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
    let snapshot = snapshot(&args)?;
    let mut users = BTreeSet::new();
    for name in args.filter.subject.iter().flat_map(|it| it.split(',')) {
        users.insert(subject::parse(name.trim()).into_owned());
    }
    if let Some(selector) = &args.selector {
        users.extend(accounts(selector, snapshot.as_ref()));
        if users.is_empty() {
            return Err(Error::NoPods { selector: selector.clone() });
        }
    }
    let mut projection = Projection::default();
    let requests = FilterArgs { subject: None, ..args.filter.clone() };
    let filter = requests.build(now(), &mut projection)?;
    let include = Include { impersonated: args.include_impersonated, denied: args.include_denied };
    let needs = Needs::new(users.clone(), args.max_names, &mut projection).including(include);
    let sources = args.source.sources(filter.window)?;
    let mut reading = args.source.reading();
    let drawn = sources.draw(&mut reading, &args.output);
    let mut folded = pipeline::fold(&sources.logs, &reading, &projection, &filter, needs);
    drop(drawn);
    let exit = sources.exit(&mut folded, &args.output)?;
    for user in users.iter().filter(|it| !folded.report.users.contains_key(*it)) {
        exit::note(&format!("`{user}` made no request that counts: no role for it"));
    }
    folded.report.left_out.notes().iter().for_each(|note| exit::note(note));
    if let Some(warning) = &folded.report.window.warning {
        exit::warning(warning);
    }
    let mut objects = Vec::new();
    for (user, need) in &folded.report.users {
        objects.extend(manifests(user, need, &args, &folded.report.window, snapshot.as_ref()));
    }
    write(&objects, args.output.output, out)?;
    summary(&folded.input, &args.output, out)?;
    Ok(exit)
}

/// The roles that are there already. Without a word about them, and without a cluster, none are.
fn snapshot(args: &Args) -> Result<Option<Snapshot>, Error> {
    match args.rbac.snapshot(&args.source.nodes.cluster) {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(Error::Cluster(err)) if args.rbac.rbac.is_empty() && !args.source.paths.is_empty() => {
            exit::note(&format!("{err}: roles that are there already are not known"));
            Ok(None)
        }
        Err(err) => Err(err),
    }
}

/// The users that the pods with these labels run as.
fn accounts(selector: &str, snapshot: Option<&Snapshot>) -> BTreeSet<String> {
    let wanted: Vec<(&str, Option<&str>)> = selector
        .split(',')
        .map(|it| match it.split_once('=') {
            Some((key, value)) => (key.trim(), Some(value.trim_start_matches('=').trim())),
            None => (it.trim(), None),
        })
        .collect();
    let pods = snapshot.map_or(&[][..], Snapshot::pods).iter().filter(|pod| {
        wanted.iter().all(|(key, value)| match (pod.metadata.labels.get(*key), value) {
            (Some(has), Some(value)) => has == value,
            (has, None) => has.is_some(),
            (None, Some(_)) => false,
        })
    });
    pods.map(|it| subject::username(&it.metadata.namespace, it.service_account())).collect()
}

/// A manifest, and what to say of it.
enum Object {
    Role(RoleManifest),
    Binding(BindingManifest, Option<String>),
}

/// The manifests of one subject: per scope a role and its binding, or the binding to a role that fits.
fn manifests(
    user: &str,
    need: &Need,
    args: &Args,
    window: &Window,
    snapshot: Option<&Snapshot>,
) -> Vec<Object> {
    let subject = subject::Kind::of(user).subject(user);
    let name = role_name(&subject);
    let mut objects = Vec::new();
    for (namespace, rules) in need.rules(args.expand_verbs, args.max_namespaces) {
        let metadata = ObjectMeta {
            name: name.clone(),
            namespace: namespace.clone(),
            annotations: annotations(need, window),
        };
        let fitting = snapshot.and_then(|it| fitting(it, namespace.as_deref(), &rules));
        let (role, comment) = match fitting {
            Some(role) => {
                let comment = format!("{} allows exactly this already", role.path());
                (role, Some(comment))
            }
            None => {
                let role = RoleManifest::new(metadata.clone(), rules);
                let role_ref = role.role_ref();
                objects.push(Object::Role(role));
                (role_ref, None)
            }
        };
        let binding = BindingManifest::new(metadata, role, std::slice::from_ref(&subject));
        objects.push(Object::Binding(binding, comment));
    }
    objects
}

/// What a reviewer must know of where it came from.
fn annotations(need: &Need, window: &Window) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    let mut add = |key: &str, value: String| {
        annotations.insert(format!("kubectl-audit/{key}"), value);
    };
    add("requests", need.requests.to_string());
    if let (Some(from), Some(to)) = (window.from, window.to) {
        add("from", from.to_string());
        add("to", to.to_string());
    }
    annotations
}

/// A name that an object of RBAC may have: no slash, no percent sign, not too long.
fn role_name(subject: &Subject) -> String {
    let namespace = subject.namespace.as_ref().map(|it| format!("{it}:")).unwrap_or_default();
    let name: String = format!("audit:{namespace}{}", subject.name)
        .chars()
        .map(|it| if it == '/' || it == '%' || it.is_control() { '-' } else { it })
        .collect();
    name.chars().take(200).collect()
}

/// A role that allows exactly these rules, wherever the binding could name it.
fn fitting(snapshot: &Snapshot, namespace: Option<&str>, rules: &[PolicyRule]) -> Option<RoleRef> {
    let wanted = expanded(rules);
    let mut fitting: Vec<RoleRef> = snapshot
        .roles()
        .filter(|it| {
            let of = it.metadata.namespace.as_str();
            (of.is_empty() || Some(of) == namespace) && expanded(&it.rules) == wanted
        })
        .map(|it| RoleRef {
            kind: if it.metadata.namespace.is_empty() { "ClusterRole" } else { "Role" }.to_owned(),
            name: it.metadata.name.clone(),
        })
        .collect();
    // A Role of the namespace before a ClusterRole, which others may change.
    fitting.sort_by(|a, b| (&b.kind, &a.name).cmp(&(&a.kind, &b.name)));
    fitting.into_iter().next()
}

/// Every single thing that rules allow; a wildcard stands for itself.
fn expanded(rules: &[PolicyRule]) -> BTreeSet<[&str; 4]> {
    let mut all = BTreeSet::new();
    for rule in rules {
        let names: Vec<&str> = match rule.resource_names.as_slice() {
            [] => vec![ALL],
            names => names.iter().map(String::as_str).collect(),
        };
        for verb in &rule.verbs {
            for path in &rule.non_resource_urls {
                all.insert([verb, "/", path, ""]);
            }
            for (group, resource) in rule
                .api_groups
                .iter()
                .flat_map(|group| rule.resources.iter().map(move |it| (group, it)))
            {
                all.extend(names.iter().map(|name| [verb.as_str(), group, resource, name]));
            }
        }
    }
    all
}

/// YAML documents, or one List.
fn write(objects: &[Object], format: Format, out: &mut dyn Write) -> Result<(), Error> {
    if matches!(format, Format::Json | Format::Jsonl) {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Item<'o> {
            Role(&'o RoleManifest),
            Binding(&'o BindingManifest),
        }
        let items: Vec<Item<'_>> = objects
            .iter()
            .map(|it| match it {
                Object::Role(it) => Item::Role(it),
                Object::Binding(it, _) => Item::Binding(it),
            })
            .collect();
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items});
        serde_json::to_writer_pretty(&mut *out, &list).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    for object in objects {
        writeln!(out, "---")?;
        let yaml = match object {
            Object::Role(it) => manifest::yaml(it),
            Object::Binding(it, comment) => {
                if let Some(comment) = comment {
                    writeln!(out, "# {}", crate::output::escape(comment))?;
                }
                manifest::yaml(it)
            }
        };
        out.write_all(yaml.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::load;

    const ROLES: &str = "
kind: ClusterRole
metadata: {name: lister}
rules: [{apiGroups: [''], resources: [pods, services], verbs: [list]}]
---
kind: Role
metadata: {name: own-lister, namespace: a}
rules:
- {apiGroups: [''], resources: [services], verbs: [list]}
- {apiGroups: [''], resources: [pods], verbs: [list]}
---
kind: ClusterRole
metadata: {name: wider}
rules: [{apiGroups: [''], resources: [pods, services], verbs: [list, get]}]
";

    #[track_caller]
    fn check(namespace: Option<&str>, resources: &[&str], expected: Option<&str>) {
        let (objects, errors) = load::load(ROLES.as_bytes());
        assert_eq!(errors, []);
        let rule = PolicyRule {
            api_groups: vec![String::new()],
            resources: resources.iter().map(|&it| it.to_owned()).collect(),
            verbs: vec!["list".to_owned()],
            ..PolicyRule::default()
        };
        let found = fitting(&Snapshot::new(objects), namespace, &[rule]).map(|it| it.path());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn roles_that_fit_exactly_are_bound_again() {
        check(None, &["pods", "services"], Some("ClusterRole/lister"));
        check(Some("a"), &["pods", "services"], Some("Role/own-lister"));
        check(Some("b"), &["pods", "services"], Some("ClusterRole/lister"));
        check(None, &["pods"], None);
    }

    #[test]
    fn names_that_rbac_takes() {
        let name = |text: &str| role_name(&subject::Kind::of(text).subject(text));
        assert_eq!(name("system:serviceaccount:a:b"), "audit:a:b");
        assert_eq!(name("https://idp/#x%2F"), "audit:https:--idp-#x-2F");
        assert_eq!(name(&"x".repeat(999)).len(), 200);
    }
}
