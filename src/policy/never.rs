//! Names in a rule that no request has: the rule, or that entry of it, never matches.

use std::borrow::Cow;

use super::{
    GroupResources, Policy, Rule,
    lint::{Finding, Severity},
};
use crate::event::resources;

/// A name that no request has.
struct Problem {
    id: &'static str,
    /// As in `` `kube-*` in namespaces ``.
    what: String,
    why: Cow<'static, str>,
    hint: Cow<'static, str>,
}

/// At most one finding for each rule.
pub(super) fn findings(policy: &Policy) -> Vec<Finding> {
    policy.rules.iter().enumerate().filter_map(|(n, rule)| finding(rule, n)).collect()
}

fn finding(rule: &Rule, n: usize) -> Option<Finding> {
    let mut problems = Vec::new();
    problems.extend(rule.users.iter().filter_map(|it| user(it)));
    problems.extend(rule.user_groups.iter().filter_map(|it| group(it)));
    problems.extend(verbs(rule));
    problems.extend(rule.namespaces.iter().filter_map(|it| {
        let what = "namespaces";
        exact(it, "never-matching-namespace", what, "name each namespace, or leave them out")
    }));
    for entry in &rule.resources {
        problems.extend(self::entry(entry));
    }
    problems.extend(rule.non_resource_urls.iter().filter_map(|it| url(it)));
    problems.extend(names_with_create(rule));

    // Long lists of the same mistake are one mistake.
    let first = problems.first()?;
    let (id, hint) = (first.id, first.hint.clone());
    let mut parts: Vec<String> = Vec::new();
    for (at, problem) in problems.iter().enumerate().take(MAX_NAMED) {
        let is_like_next = problems.get(at + 1).is_some_and(|it| it.why == problem.why);
        let why = if is_like_next && at + 1 < MAX_NAMED { "" } else { &problem.why };
        let colon = if why.is_empty() { "" } else { ": " };
        parts.push(format!("{} never matches{colon}{why}", problem.what));
    }
    if problems.len() > MAX_NAMED {
        parts.push(format!("and {} more", problems.len() - MAX_NAMED));
    }
    let message = parts.join("; ");
    let severity = Severity::Warning;
    Some(Finding { id, severity, rule: Some(n), line: rule.line, message, hint })
}

/// How many names of a rule a message has.
const MAX_NAMED: usize = 8;

const LETTERS: &str = "it is compared letter by letter, and `*` is no wildcard here";

fn quoted(name: &str, list: &str) -> String {
    format!("`{name}` in {list}")
}

/// A template that nobody filled in.
fn is_template(name: &str) -> bool {
    name.contains("{{") || name.contains("${")
}

/// A name with a wildcard where only whole names count.
fn exact(
    name: &str,
    id: &'static str,
    list: &str,
    hint: impl Into<Cow<'static, str>>,
) -> Option<Problem> {
    let what = quoted(name, list);
    if is_template(name) {
        let hint = "render the template first".into();
        return Some(Problem { id, what, why: "it is a template".into(), hint });
    }
    name.contains('*').then(|| Problem { id, what, why: LETTERS.into(), hint: hint.into() })
}

/// Groups that API servers and kubeadm give.
const GROUPS: [&str; 7] = [
    "system:masters",
    "system:nodes",
    "system:authenticated",
    "system:unauthenticated",
    "system:serviceaccounts",
    "system:bootstrappers",
    "kubeadm:cluster-admins",
];

/// Users that clusters have.
const USERS: [&str; 8] = [
    "system:anonymous",
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "system:kube-proxy",
    "system:cloud-controller-manager",
    "kubernetes-admin",
    "kube-apiserver-kubelet-client",
];

fn is_group(name: &str) -> bool {
    GROUPS.contains(&name)
        || name.starts_with("system:serviceaccounts:")
        || name.starts_with("system:bootstrappers:")
}

fn user(name: &str) -> Option<Problem> {
    let id = "never-matching-user";
    let account = name.strip_prefix("system:serviceaccount:");
    if name.contains('*') && !is_template(name) {
        let hint: Cow<'static, str> = match account.map(|it| it.split_once(':')) {
            _ if name == "*" => "leave out `users` to match every user".into(),
            _ if name.starts_with("system:node:") => {
                "write `userGroups: [\"system:nodes\"]`".into()
            }
            Some(Some((namespace, _))) if !namespace.contains('*') => {
                format!("write `userGroups: [\"system:serviceaccounts:{namespace}\"]`").into()
            }
            Some(_) => "write `userGroups: [\"system:serviceaccounts\"]`".into(),
            None => "name each user, or their group in `userGroups`".into(),
        };
        return exact(name, id, "users", hint);
    }
    let problem = |why: &'static str, hint: Cow<'static, str>| {
        Some(Problem { id, what: quoted(name, "users"), why: why.into(), hint })
    };
    if is_group(name) {
        return problem(
            "it is a group, not a user",
            format!("write `userGroups: [\"{name}\"]`").into(),
        );
    }
    if name.is_empty() {
        return problem(
            "no user has an empty name",
            "leave out `users` to match every user".into(),
        );
    }
    let is_whole = |it: &str| {
        it.split_once(':').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty() && !b.contains(':'))
    };
    if account.is_some_and(|it| !is_template(it) && !is_whole(it)) {
        let hint = "write `system:serviceaccount:NAMESPACE:NAME`, or a namespace's group \
                    `system:serviceaccounts:NAMESPACE` in `userGroups`";
        return problem("a service account has a namespace and a name", hint.into());
    }
    exact(name, id, "users", "")
}

fn group(name: &str) -> Option<Problem> {
    let id = "never-matching-group";
    let is_user = USERS.contains(&name)
        || name.starts_with("system:node:")
        || name.starts_with("system:serviceaccount:");
    if is_user && !name.contains('*') {
        let what = quoted(name, "userGroups");
        let hint = format!("write `users: [\"{name}\"]`").into();
        return Some(Problem { id, what, why: "it is a user, not a group".into(), hint });
    }
    let hint = match name {
        "*" => "leave out `userGroups` to match every group",
        _ if name.starts_with("system:serviceaccount") => {
            "write `system:serviceaccounts`, or `system:serviceaccounts:NAMESPACE`"
        }
        _ if name.starts_with("system:node") => "write `userGroups: [\"system:nodes\"]`",
        _ => "name each group",
    };
    exact(name, id, "userGroups", hint)
}

/// Verbs of requests for resources.
const VERBS: [&str; 9] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "proxy"];
/// Methods of requests for other paths.
const METHODS: [&str; 8] = ["get", "post", "put", "patch", "delete", "head", "options", "connect"];

fn verbs(rule: &Rule) -> Vec<Problem> {
    let is_about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
    let is_about_paths = !rule.non_resource_urls.is_empty();
    let has_method = rule.verbs.iter().any(|it| METHODS.contains(&it.as_str()));
    let is_never = |verb: &&String| {
        let (is_verb, is_method) =
            (VERBS.contains(&verb.as_str()), METHODS.contains(&verb.as_str()));
        match () {
            () if is_about_resources => !is_verb,
            // Beside a method the verbs of resources do no harm.
            () if is_about_paths => !(is_method || is_verb && has_method),
            () => !is_verb && !is_method,
        }
    };
    let problem = |verb: &String| {
        let id = "never-matching-verb";
        let what = quoted(verb, "verbs");
        let lower = verb.to_ascii_lowercase();
        let (why, hint): (Cow<'static, str>, Cow<'static, str>) = match lower.as_str() {
            "*" => (LETTERS.into(), "leave out `verbs` to match every verb".into()),
            _ if is_template(verb) => {
                ("it is a template".into(), "render the template first".into())
            }
            _ if lower != *verb && VERBS.contains(&lower.as_str()) => {
                ("verbs are lower case".into(), format!("write `{lower}`").into())
            }
            "exec" | "attach" | "portforward" | "port-forward" | "log" | "logs" => (
                "it is a subresource, and no verb".into(),
                "name the subresource, as in `resources: [{group: \"\", resources: [pods/exec]}]`"
                    .into(),
            ),
            "post" if is_about_resources => {
                ("the verb of a POST to a resource is `create`".into(), "write `create`".into())
            }
            "put" if is_about_resources => {
                ("the verb of a PUT to a resource is `update`".into(), "write `update`".into())
            }
            _ if is_about_paths && VERBS.contains(&lower.as_str()) => (
                "the verb of a request for a path is its method".into(),
                "write `get`, `post`, `put`, `delete` or `head`".into(),
            ),
            _ => (
                "no request has this verb".into(),
                "verbs are get, list, watch, create, update, patch, delete, deletecollection"
                    .into(),
            ),
        };
        Problem { id, what, why, hint }
    };
    rule.verbs.iter().filter(is_never).map(problem).collect()
}

/// Groups and resources that Kubernetes does not have. Of groups that are not its own nothing is
/// said: they may be anybody's.
fn entry(entry: &GroupResources) -> Vec<Problem> {
    let GroupResources { group, resources, resource_names } = entry;
    let mut problems = Vec::new();
    if matches!(group.as_str(), "core" | "v1" | "legacy") {
        problems.push(Problem {
            id: "never-matching-resource",
            what: format!("`{group}` as a group"),
            why: "no API group has this name".into(),
            hint: "the core group is the empty text: `group: \"\"`".into(),
        });
    }
    if resources::is_own_group(group) {
        problems.extend(resources.iter().filter_map(|it| resource(group, it)));
    }
    problems.extend(resource_names.iter().filter_map(|it| {
        let hint = "name each object, or leave out `resourceNames`";
        exact(it, "never-matching-name", "resourceNames", hint)
    }));
    problems
}

fn resource(group: &str, item: &str) -> Option<Problem> {
    let (resource, sub) = item.split_once('/').unwrap_or((item, "*"));
    let is_known = resource == "*" || resources::has(group, resource);
    if is_known && (sub == "*" || resources::is_subresource(sub)) {
        return None;
    }
    let place = if group.is_empty() { "the core group" } else { group };
    let hint: Cow<'static, str> = "`kubectl api-resources` lists the names and groups".into();
    let meant = resources::meant_by(resource).into_iter().find(|it| resources::has(group, it));
    let lower = resource.to_ascii_lowercase();
    let (why, hint) = if is_known {
        (format!("there is no subresource `{sub}`"), hint)
    } else if let Some(meant) = meant {
        (
            format!("{place} has no `{resource}`; did you mean `{meant}`?"),
            format!("write `{meant}`").into(),
        )
    } else if let Some(other) = resources::own_group(&lower) {
        let named = if other.is_empty() { "the core group" } else { other };
        (
            format!("{place} has no `{resource}`: it is in {named}"),
            format!("write `group: \"{other}\"`").into(),
        )
    } else {
        (format!("{place} has no `{resource}`"), hint)
    };
    let what = quoted(item, "resources");
    Some(Problem { id: "never-matching-resource", what, why: why.into(), hint })
}

/// A path of resources is no path of `nonResourceURLs`, whatever comes behind it.
///
/// Source: `apiserver/pkg/endpoints/request/requestinfo.go`.
fn url(url: &str) -> Option<Problem> {
    let path = url.trim_end_matches('*');
    let n = path.split('/').filter(|it| !it.is_empty()).count();
    let is_resource =
        (path.starts_with("/api/") && n >= 3) || (path.starts_with("/apis/") && n >= 4);
    let id = "never-matching-url";
    is_resource.then(|| Problem {
        id,
        what: quoted(url, "nonResourceURLs"),
        why: "it is a path of resources".into(),
        hint: "choose by `resources` and `namespaces`".into(),
    })
}

/// A create has no name in its URL, and a collection has many.
fn names_with_create(rule: &Rule) -> Option<Problem> {
    let verb = rule.verbs.iter().find(|it| matches!(it.as_str(), "create" | "deletecollection"))?;
    let has_names = !rule.resources.is_empty()
        && rule.resources.iter().all(|it| {
            // A subresource is created below a name.
            !it.resource_names.is_empty() && !it.resources.iter().any(|it| it.contains('/'))
        });
    has_names.then(|| Problem {
        id: "names-with-create",
        what: format!("`{verb}` with resourceNames"),
        why: format!("no `{verb}` has a name in its URL").into(),
        hint: "a rule of its own, without resourceNames, for this verb".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::load::{KubeVersion, load};

    /// The finding of one rule, or an empty text.
    fn found(rule: &str) -> String {
        let text = format!(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {{level: Metadata, {rule}}}\n"
        );
        let loaded = load(text.as_bytes(), KubeVersion::default());
        assert_eq!(loaded.errors, [], "{rule}");
        let found = findings(&loaded.policy.expect("no errors"));
        assert!(found.len() <= 1, "{found:?}");
        found.first().map_or(String::new(), |it| format!("{}: {} ({})", it.id, it.message, it.hint))
    }

    #[track_caller]
    fn check(rule: &str, expected: &[&str]) {
        let found = found(rule);
        assert!(found.contains("never matches"), "{rule}: {found}");
        for text in expected {
            assert!(found.contains(text), "{rule}: {text} is missing in {found}");
        }
    }

    #[track_caller]
    fn fine(rule: &str) {
        assert_eq!(found(rule), "", "{rule}");
    }

    #[test]
    fn wildcards_among_users_and_groups() {
        let kube_system = "`userGroups: [\"system:serviceaccounts:kube-system\"]`";
        check(
            "users: ['system:serviceaccount:kube-system:*']",
            &["never-matching-user", kube_system],
        );
        check("users: ['system:serviceaccount:*:builder']", &["[\"system:serviceaccounts\"]"]);
        check("users: ['system:node:*']", &["`system:node:*` in users", "system:nodes"]);
        check("users: ['*']", &["leave out `users`"]);
        check("users: [alice, 'ops-*']", &["`ops-*`"]);
        check("userGroups: ['*']", &["never-matching-group", "leave out"]);
        check("userGroups: ['system:serviceaccounts:*']", &["`system:serviceaccounts`"]);
        fine("users: [alice, 'system:serviceaccount:ci:deployer', 'system:node:a']");
        fine("userGroups: ['system:nodes', ops]");
    }

    #[test]
    fn groups_among_users_and_users_among_groups() {
        check(
            "users: ['system:masters']",
            &["a group, not a user", "`userGroups: [\"system:masters\"]`"],
        );
        check("users: ['system:serviceaccounts:kube-system']", &["a group"]);
        check(
            "userGroups: ['system:kube-proxy']",
            &["a user, not a group", "`users: [\"system:kube-proxy\"]`"],
        );
        check("userGroups: ['system:serviceaccount:ci:bot']", &["a user"]);
        check("userGroups: ['system:node:a']", &["a user"]);
        check("users: ['system:serviceaccount:ci']", &["a namespace and a name"]);
        check("users: ['']", &["empty"]);
    }

    #[test]
    fn verbs_that_no_request_has() {
        check("verbs: [exec]", &["never-matching-verb", "`exec` in verbs", "subresource"]);
        check("verbs: [get, GET]", &["`GET`", "write `get`"]);
        check("verbs: ['*']", &["leave out `verbs`"]);
        check("verbs: [read]", &["`read`"]);
        check("verbs: [impersonate]", &["no request has this verb"]);
        check("verbs: [post], resources: [{group: ''}]", &["write `create`"]);
        check("verbs: [list], nonResourceURLs: ['/healthz*']", &["`list`"]);
        fine("verbs: [get, list, watch], nonResourceURLs: ['/healthz*']");
        fine("verbs: [head, post], nonResourceURLs: ['/healthz*']");
        fine("verbs: [get, list, watch, create, update, patch, delete, deletecollection]");
    }

    #[test]
    fn names_are_compared_letter_by_letter() {
        check("namespaces: ['kube-*']", &["never-matching-namespace", "`kube-*` in namespaces"]);
        check("namespaces: ['*']", &["`*`"]);
        check(
            "resources: [{group: '', resources: [configmaps], resourceNames: ['prod-*']}]",
            &["never-matching-name", "`prod-*` in resourceNames"],
        );
        check("namespaces: ['{{ .Values.namespace }}']", &["a template"]);
        fine("namespaces: [kube-system, '']");
    }

    #[test]
    fn paths_of_resources() {
        for path in [
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases*",
            "/apis/apps/v1/deployments",
            "/api/v1/namespaces/*",
            "/api/v1/pods*",
        ] {
            check(&format!("nonResourceURLs: ['{path}']"), &["never-matching-url", path]);
        }
        fine("nonResourceURLs: ['/api*', '/apis/*', '/api/v1', '/apis/apps/v1*', '/version', '*']");
    }

    #[test]
    fn resources_and_groups() {
        check(
            "resources: [{group: core, resources: [pods]}]",
            &["`core` as a group", "empty text"],
        );
        check("resources: [{group: '', resources: [pod]}]", &["did you mean `pods`?"]);
        check("resources: [{group: '', resources: [deployments]}]", &["it is in apps"]);
        check("resources: [{group: '', resources: [pods/logs]}]", &["`pods/logs`"]);
        fine("resources: [{group: example.com, resources: [anything]}]");
    }

    #[test]
    fn one_finding_names_all() {
        check(
            "users: ['a*', 'b*'], namespaces: ['c*']",
            &["`a*` in users", "`b*` in users", "`c*` in namespaces"],
        );
    }
}
