//! The name of the command behind an action, from the requests of its client.

use super::{
    Action,
    facts::Change,
    requests::{ObjectKey, Request},
    roles,
};

/// What was typed after `kubectl`, without flags and names; alternatives are joined by ` or `.
pub fn command(action: &Action) -> String {
    let Some(first) = action.roots.first() else { return String::new() };
    let tool = roles::tool(&first.identity.user_agent);
    let roots: Vec<&Request> = action.roots.iter().map(|root| &**root).collect();
    match tool {
        "Helm" | "helm" => helm(&roots),
        "kubectl" | "oc" => kubectl(&roots),
        _ if tool.starts_with("kubectl-") => {
            format!("{} {}", tool.trim_start_matches("kubectl-"), main_verb(&roots))
        }
        _ => main_verb(&roots),
    }
}

/// Whether all writes of the action were dry runs.
pub fn is_dry_run(action: &Action) -> bool {
    let mut writes = action.roots.iter().filter(|root| is_change(root)).peekable();
    writes.peek().is_some() && writes.all(|root| root.is_dry_run())
}

/// The object that the action is about: that of its first write, else of its first read with a name,
/// else of its first request.
pub fn object(action: &Action) -> Option<(ObjectKey, String)> {
    let roots = &action.roots;
    let of = |root: &std::sync::Arc<Request>| (root.object(), root.group.to_string());
    let release = || {
        roots.iter().find_map(|root| {
            let rest = root.name.strip_prefix("sh.helm.release.v1.")?;
            let name = rest.rsplit_once(".v").map_or(rest, |(name, _)| name);
            Some((
                ObjectKey {
                    resource: "releases".into(),
                    namespace: root.namespace.clone(),
                    name: name.into(),
                },
                String::new(),
            ))
        })
    };
    let is_helm = roots
        .first()
        .is_some_and(|root| matches!(roles::tool(&root.identity.user_agent), "Helm" | "helm"));
    is_helm
        .then(release)
        .flatten()
        .or_else(|| roots.iter().find(|root| is_change(root)).map(of))
        .or_else(|| {
            let has_name = |root: &&std::sync::Arc<Request>| {
                root.is_resource()
                    && !root.name.is_empty()
                    && !root.resource.starts_with("selfsubject")
            };
            roots.iter().find(has_name).map(of)
        })
        .or_else(|| roots.iter().find(|root| root.is_resource()).map(of))
}

/// A write that changes an object, or a session into one.
fn is_change(root: &Request) -> bool {
    (root.is_write() || root.is_stream())
        && root.is_resource()
        && !root.resource.ends_with("reviews")
}

fn main_verb(roots: &[&Request]) -> String {
    let root = roots.iter().find(|root| is_change(root)).or(roots.first());
    root.map_or(String::new(), |root| root.verb.to_string())
}

fn helm(roots: &[&Request]) -> String {
    let releases = || roots.iter().filter(|root| root.name.starts_with("sh.helm.release.v1."));
    let version = |root: &Request| {
        root.name.rsplit_once(".v").and_then(|(_, n)| n.parse::<u64>().ok()).unwrap_or(1)
    };
    let created = releases().find(|root| &*root.verb == "create").map(|root| version(root));
    let is_deleted = releases().any(|root| &*root.verb == "delete");
    let has_writes = roots.iter().any(|root| is_change(root));
    match created {
        Some(1) => "helm install or helm upgrade".to_owned(),
        Some(version) => {
            // A rollback reads an older version by name.
            let is_rollback = releases().any(|root| {
                &*root.verb == "get" && root.code == 200 && self::version(root) + 1 < version
            });
            let has_schema = roots.iter().any(|root| root.path().starts_with("/openapi"));
            if is_rollback && !has_schema {
                "helm rollback or helm upgrade".to_owned()
            } else {
                "helm upgrade or helm rollback".to_owned()
            }
        }
        None if is_deleted => "helm uninstall".to_owned(),
        None if has_writes => "helm upgrade".to_owned(),
        None if !roots
            .iter()
            .any(|root| &*root.resource == "secrets" || &*root.resource == "configmaps") =>
        {
            main_verb(roots)
        }
        None => {
            let has_status = releases().any(|root| &*root.verb == "get")
                || roots.iter().any(|root| {
                    root.parameter("labelSelector").is_some_and(|all| all.contains("name="))
                });
            if has_status { "helm status or helm get or helm history" } else { "helm list" }
                .to_owned()
        }
    }
}

fn version(root: &Request) -> u64 {
    root.name.rsplit_once(".v").and_then(|(_, n)| n.parse().ok()).unwrap_or(1)
}

fn kubectl(roots: &[&Request]) -> String {
    let name = resource_command(roots).unwrap_or_else(|| other_command(roots));
    name.to_owned()
}

/// The command of a run that asked for no object.
fn other_command(roots: &[&Request]) -> &'static str {
    let paths: Vec<&str> = roots.iter().map(|root| root.path()).collect();
    if paths.contains(&"/version") {
        return "version";
    }
    if paths.iter().any(|path| path.starts_with("/apis/metrics.k8s.io")) {
        return "top";
    }
    if paths.iter().any(|path| path.starts_with("/openapi")) {
        return "explain or apply";
    }
    let is_discovery = roots.iter().all(|root| root.is_discovery());
    if is_discovery {
        let is_raw = roots.len() == 1 && !roots[0].has_parameter("timeout");
        return if is_raw { "get" } else { "api-resources or api-versions or get" };
    }
    "get"
}

fn resource_command(roots: &[&Request]) -> Option<&'static str> {
    let on_objects: Vec<&Request> =
        roots.iter().copied().filter(|root| root.is_resource()).collect();
    on_objects.first()?;
    if let Some(review) = on_objects.iter().find(|root| root.resource.starts_with("selfsubject")) {
        return Some(if &*review.resource == "selfsubjectreviews" {
            "auth whoami"
        } else {
            "auth can-i"
        });
    }
    if on_objects
        .iter()
        .any(|root| &*root.resource == "pods.metrics.k8s.io" || &*root.group == "metrics.k8s.io")
    {
        return Some("top");
    }

    let has_sub = |sub: &str| on_objects.iter().any(|root| &*root.subresource == sub);
    if has_sub("ephemeralcontainers") {
        return Some("debug");
    }
    if let Some(exec) = on_objects.iter().rev().find(|root| &*root.subresource == "exec") {
        let command = exec.parameter("command").unwrap_or_default();
        return Some(if command == "tar" { "cp" } else { "exec" });
    }
    for (sub, command) in [("attach", "attach"), ("portforward", "port-forward"), ("log", "logs")] {
        if has_sub(sub) {
            return Some(command);
        }
    }
    let is_drain_list = |root: &Request| {
        &*root.verb == "list"
            && &*root.resource == "pods"
            && root.parameter("fieldSelector").is_some_and(|all| all.starts_with("spec.nodeName"))
    };
    let writes: Vec<&Request> = on_objects.iter().copied().filter(|root| root.is_write()).collect();
    let writes_node = writes.iter().any(|root| &*root.resource == "nodes");
    if has_sub("eviction") || (writes_node && on_objects.iter().any(|root| is_drain_list(root))) {
        return Some("drain");
    }
    if !writes.is_empty() {
        return Some(write_command(roots, &writes));
    }
    Some(read_command(roots, &on_objects))
}

fn write_command(roots: &[&Request], writes: &[&Request]) -> &'static str {
    if writes.iter().all(|root| matches!(&*root.verb, "delete" | "deletecollection")) {
        return "delete";
    }
    let has_manager = |name: &str| writes.iter().any(|root| root.field_manager() == name);
    if writes.iter().all(|root| root.is_dry_run()) {
        let is_diff = has_manager("kubectl-client-side-apply") && !has_schema_before_reads(roots);
        return match (is_diff, has_manager("kubectl-client-side-apply") || has_manager("kubectl")) {
            (true, _) => "diff or apply",
            (false, true) => "apply or diff",
            _ => "diff or create",
        };
    }
    let first = writes.iter().copied().find(|root| !root.is_dry_run()).unwrap_or(writes[0]);
    let manager = first.field_manager();
    let facts = first.facts.as_deref();
    let change = facts.map_or(Change::Unknown, |facts| facts.change);
    match &*first.subresource {
        "scale" => return "scale",
        "token" => return "create token",
        "approval" => return "certificate",
        _ => {}
    }
    match &*manager {
        "kubectl-edit" => return "edit",
        "kubectl-client-side-apply" => return "apply",
        "kubectl-last-applied" => return "apply",
        "kubectl-expose" => return "expose",
        "kubectl-autoscale" => return "autoscale",
        "kubectl-run" => return "run",
        "kubectl-label" => return "label",
        "kubectl-annotate" => return "annotate",
        "kubectl-taint" => return "taint",
        "kubectl-patch" => return "patch",
        "kubectl-replace" => return "replace",
        "kubectl-set" => {
            return match change {
                Change::Image => "set image",
                Change::Env => "set env",
                Change::Unknown => "set image or set env or set resources",
                _ => "set env or set image or set resources",
            };
        }
        "kubectl-rollout" => {
            return match change {
                Change::Restart => "rollout restart",
                Change::Pause => "rollout pause",
                Change::Resume => "rollout resume",
                _ => "rollout restart or rollout pause or rollout resume",
            };
        }
        "kubectl-create" => return create_command(roots, first),
        "kubectl" if first.verb.as_ref() == "patch" => return "apply",
        _ => {}
    }
    if first.has_parameter("force") && &*first.verb == "patch" {
        return "apply";
    }
    match (&*first.verb, &*first.resource) {
        ("patch", "nodes") => match change {
            Change::Cordon => "cordon",
            Change::Uncordon => "uncordon",
            Change::Taints => "taint",
            _ => "cordon or uncordon",
        },
        ("patch", "deployments" | "statefulsets" | "daemonsets") if has_history(roots) => {
            "rollout undo"
        }
        ("patch", _) => match change {
            Change::Pause if &*first.resource == "deployments" => "rollout pause",
            Change::Resume if &*first.resource == "deployments" => "rollout resume",
            _ => "patch",
        },
        ("create", "pods") if manager.is_empty() => "run or create",
        ("create", _) => create_command(roots, first),
        ("update", _) => "replace",
        _ => "apply or patch",
    }
}

fn has_schema_before_reads(roots: &[&Request]) -> bool {
    let schema = roots.iter().position(|root| root.path().starts_with("/openapi"));
    let read = roots.iter().position(|root| root.is_resource());
    schema.is_some_and(|schema| read.is_none_or(|read| schema < read))
}

fn has_history(roots: &[&Request]) -> bool {
    roots.iter().any(|root| {
        &*root.verb == "list" && matches!(&*root.resource, "replicasets" | "controllerrevisions")
    })
}

fn create_command(roots: &[&Request], first: &Request) -> &'static str {
    let has_schema = roots.iter().any(|root| root.path().starts_with("/openapi"));
    if has_schema {
        return "create";
    }
    match &*first.resource {
        "jobs" => "create job",
        "cronjobs" => "create cronjob",
        "deployments" => "create deployment",
        "configmaps" => "create configmap",
        "secrets" => "create secret",
        "namespaces" => "create namespace",
        "services" => "create service",
        "serviceaccounts" => "create sa or create serviceaccount",
        "roles" => "create role",
        "rolebindings" => "create rolebinding",
        "clusterroles" => "create clusterrole",
        "clusterrolebindings" => "create clusterrolebinding",
        "ingresses" => "create ingress",
        "poddisruptionbudgets" => "create pdb or create poddisruptionbudget",
        "resourcequotas" => "create quota",
        "priorityclasses" => "create priorityclass",
        _ => "create",
    }
}

fn read_command(roots: &[&Request], on_objects: &[&Request]) -> &'static str {
    let schema = roots.iter().position(|root| root.path().starts_with("/openapi"));
    let first_read = roots.iter().position(|root| root.is_resource()).unwrap_or(0);
    let has_events = on_objects.iter().any(|root| {
        &*root.verb == "list"
            && &*root.resource == "events"
            && root.parameter("fieldSelector").is_some_and(|all| all.contains("involvedObject"))
    });
    if has_events {
        return "describe";
    }
    let named_get = on_objects.iter().any(|root| &*root.verb == "get" && !root.name.is_empty());
    let watch =
        on_objects.iter().find(|root| &*root.verb == "watch" || root.has_parameter("watch"));
    if let Some(watch) = watch {
        let by_name =
            watch.parameter("fieldSelector").is_some_and(|all| all.starts_with("metadata.name="));
        let is_workload = matches!(&*watch.resource, "deployments" | "statefulsets" | "daemonsets");
        return match (by_name, is_workload, named_get) {
            (true, true, _) => "rollout status or wait",
            (true, false, _) => "wait or get",
            _ => "get",
        };
    }
    if let Some(schema) = schema {
        return if schema < first_read { "apply or get" } else { "diff or apply" };
    }
    let has_history = has_history(roots);
    let has_limit = on_objects.iter().any(|root| root.has_parameter("limit"));
    let first = on_objects[0];
    if has_history && !has_limit && on_objects.len() > 1 {
        return "rollout history";
    }
    let is_workload = matches!(&*first.resource, "deployments" | "statefulsets" | "daemonsets");
    if &*first.verb == "list" && is_workload && !has_limit {
        return "rollout history";
    }
    if on_objects.iter().all(|root| root.has_failed())
        && &*first.resource == "pods"
        && named_get
        && first.code == 403
    {
        return "get or exec";
    }
    "get"
}
