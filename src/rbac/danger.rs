//! Rights with which one can become somebody else, read secrets, or leave the cluster's walls.
//!
//! Source: "Role Based Access Control Good Practices" of the Kubernetes documentation, and what each
//! right does in the API server.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ALL, Binding, PolicyRule};

/// A right that is worth a look, and why.
struct Danger {
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch"];
const CHANGE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];
const STREAM: &[&str] = &["get", "create"];

const fn danger(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
) -> Danger {
    Danger { group, resource, verbs, why }
}

const WORKLOAD: &str =
    "runs containers as any service account of the namespace, with any of its secrets";
const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// The worst first.
const DANGERS: &[Danger] = &[
    danger("", "secrets", READ, "reads passwords, keys and tokens"),
    danger(
        "",
        "nodes/proxy",
        &["get", "create", "update", "patch", "delete"],
        "reaches the kubelet: runs commands in every pod of the node, past admission and with less of a trace",
    ),
    danger("", "pods/exec", STREAM, "runs commands in containers, with their service account"),
    danger("", "pods/attach", STREAM, "takes over the input and output of running containers"),
    danger("", "pods/ephemeralcontainers", &["update", "patch"], "adds containers to running pods"),
    danger("", "pods/portforward", STREAM, "reaches ports that no network policy opens to it"),
    danger("", "serviceaccounts/token", &["create"], "issues tokens of service accounts"),
    danger("", "users", &["impersonate"], "acts as any user"),
    danger("", "groups", &["impersonate"], "acts as a member of any group, system:masters too"),
    danger("", "serviceaccounts", &["impersonate"], "acts as service accounts"),
    danger(
        RBAC,
        "clusterroles",
        &["escalate", "bind"],
        "gives itself rights that it does not have",
    ),
    danger(RBAC, "roles", &["escalate", "bind"], "gives itself rights that it does not have"),
    danger(
        RBAC,
        "clusterrolebindings",
        WRITE,
        "gives its own rights to others, in the whole cluster",
    ),
    danger(RBAC, "rolebindings", WRITE, "gives its own rights to others"),
    danger(
        "certificates.k8s.io",
        "certificatesigningrequests/approval",
        &["update", "patch"],
        "approves client certificates, with any name",
    ),
    danger(
        "certificates.k8s.io",
        "signers",
        &["approve", "sign"],
        "issues client certificates, with any name",
    ),
    danger(
        ADMISSION,
        "mutatingwebhookconfigurations",
        CHANGE,
        "reads and changes every object that is written",
    ),
    danger(
        ADMISSION,
        "validatingwebhookconfigurations",
        CHANGE,
        "reads every object that is written, and can switch checks off",
    ),
    danger(ADMISSION, "mutatingadmissionpolicies", CHANGE, "changes every object that is written"),
    danger(ADMISSION, "validatingadmissionpolicies", CHANGE, "can switch checks off"),
    danger(ADMISSION, "validatingadmissionpolicybindings", CHANGE, "can switch checks off"),
    danger(
        "apiregistration.k8s.io",
        "apiservices",
        WRITE,
        "answers for the API server, and sees what is sent there",
    ),
    danger("", "pods", WRITE, WORKLOAD),
    danger("apps", "deployments", WRITE, WORKLOAD),
    danger("apps", "daemonsets", WRITE, WORKLOAD),
    danger("apps", "statefulsets", WRITE, WORKLOAD),
    danger("apps", "replicasets", WRITE, WORKLOAD),
    danger("batch", "jobs", WRITE, WORKLOAD),
    danger("batch", "cronjobs", WRITE, WORKLOAD),
    danger("", "replicationcontrollers", WRITE, WORKLOAD),
    danger("", "persistentvolumes", WRITE, "mounts any folder of a node"),
    danger("", "nodes", &["update", "patch", "delete"], "moves pods to nodes of its choice"),
    danger("", "namespaces", &["update", "patch"], "changes the labels that pod security goes by"),
];

/// A dangerous right that a role gives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Dangerous {
    /// As in `secrets: get list`.
    pub right: String,
    pub why: &'static str,
    /// Where: a namespace, or `None` for the whole cluster.
    pub namespace: Option<String>,
    /// Only these objects, if any are named.
    pub names: Vec<String>,
}

impl Dangerous {
    /// As in `secrets: get list`, or `users: impersonate (alice)` if only some objects are meant.
    pub fn label(&self) -> String {
        match self.names.as_slice() {
            [] => self.right.clone(),
            names => format!("{} ({})", self.right, names.join(", ")),
        }
    }
}

/// Why a right is worth a look if it is one for some names only: not for all that it could be.
fn limited_why(danger: &Danger) -> &'static str {
    match (danger.resource, danger.verbs) {
        ("users", ["impersonate"]) => "acts as these users",
        ("groups", ["impersonate"]) => "acts as a member of these groups",
        ("serviceaccounts", ["impersonate"]) => "acts as these service accounts",
        ("clusterroles" | "roles", ["escalate", "bind"]) => {
            "gives itself these roles, or puts rights into them that it does not have"
        }
        ("signers", _) => "issues client certificates of these signers",
        _ => danger.why,
    }
}

/// The dangerous rights that a binding gives, the worst first.
pub fn of(binding: &Binding) -> Vec<Dangerous> {
    let namespace = binding.namespace.as_deref().map(str::to_owned);
    let rules = binding.rules();
    let dangerous = |right: String, why, names: &[String]| Dangerous {
        right,
        why,
        namespace: namespace.clone(),
        names: names.to_vec(),
    };
    let has = |of: &[String]| of.iter().any(|it| it == ALL);
    if let Some(rule) =
        rules.iter().find(|it| has(&it.verbs) && has(&it.api_groups) && has(&it.resources))
    {
        return vec![dangerous("*: *".to_owned(), "may do everything", &rule.resource_names)];
    }
    DANGERS
        .iter()
        // A namespaced binding gives nothing of what has no namespace.
        .filter(|it| namespace.is_none() || !is_cluster_scoped(it))
        .flat_map(|danger| {
            let rights = rights(rules, danger).into_iter();
            rights.map(|(names, verbs)| {
                let why = if names.is_empty() { danger.why } else { limited_why(danger) };
                dangerous(format!("{}: {verbs}", danger.resource), why, &names)
            })
        })
        .collect()
}

/// The dangerous verbs that rules give together; apart, where they name objects.
fn rights(rules: &[PolicyRule], danger: &Danger) -> BTreeMap<Vec<String>, String> {
    let (resource, sub) = danger.resource.split_once('/').unwrap_or((danger.resource, ""));
    let mut by_names: BTreeMap<Vec<String>, Vec<&PolicyRule>> = BTreeMap::new();
    for rule in rules {
        if rule.covers_group(danger.group) && rule.covers_kind(resource, sub) {
            by_names.entry(rule.resource_names.clone()).or_default().push(rule);
        }
    }
    let verbs = |(names, rules): (_, Vec<&PolicyRule>)| (names, verbs(&rules, danger.verbs));
    by_names.into_iter().map(verbs).filter(|(_, verbs)| !verbs.is_empty()).collect()
}

/// Those of the dangerous verbs that a rule gives; `*` if it gives all there are.
fn verbs(rules: &[&PolicyRule], dangerous: &[&str]) -> String {
    if rules.iter().any(|it| it.verbs.iter().any(|it| it == ALL)) {
        return ALL.to_owned();
    }
    let given = dangerous.iter().filter(|verb| rules.iter().any(|it| it.covers_verb(verb)));
    given.copied().collect::<Vec<_>>().join(" ")
}

fn is_cluster_scoped(danger: &Danger) -> bool {
    let resource = danger.resource.split('/').next().unwrap_or_default();
    matches!(
        resource,
        "nodes" | "users" | "groups" | "persistentvolumes" | "clusterroles" | "clusterrolebindings"
    ) || matches!(danger.group, ADMISSION | "apiregistration.k8s.io" | "certificates.k8s.io")
}

#[cfg(test)]
mod tests {
    use super::super::{Objects, Snapshot};
    use super::*;

    #[track_caller]
    fn check(namespace: Option<&str>, rules: &str, expected: &str) {
        let place = namespace.map_or(String::new(), |it| format!(r#""namespace":"{it}","#));
        let kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
        let text = format!(
            r#"{{"kind":"ClusterRole","metadata":{{"name":"r"}},"rules":{rules}}}
               {{"kind":"{kind}","metadata":{{{place}"name":"b"}},"roleRef":{{"kind":"ClusterRole","name":"r"}},"subjects":[]}}"#
        );
        let (objects, errors): (Objects, _) = super::super::load::load(text.as_bytes());
        assert!(errors.is_empty(), "{errors:?}");
        let snapshot = Snapshot::new(objects);
        let found: Vec<_> = of(&snapshot.bindings()[0]).into_iter().map(|it| it.right).collect();
        assert_eq!(found.join("; "), expected, "{rules}");
    }

    #[test]
    fn rights() {
        check(None, r#"[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]"#, "*: *");
        check(
            None,
            r#"[{"apiGroups":[""],"resources":["secrets"],"verbs":["list","get","delete"]}]"#,
            "secrets: get list",
        );
        check(None, r#"[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]}]"#, "");
        check(None, r#"[{"apiGroups":[""],"resources":["*/exec"],"verbs":["*"]}]"#, "pods/exec: *");
        check(
            None,
            r#"[{"apiGroups":[""],"resources":["nodes/proxy"],"verbs":["get"]}]"#,
            "nodes/proxy: get",
        );
        check(
            Some("a"),
            r#"[{"apiGroups":[""],"resources":["nodes/proxy","secrets"],"verbs":["get"]}]"#,
            "secrets: get",
        );
        check(
            None,
            r#"[{"apiGroups":["apps"],"resources":["deployments"],"verbs":["patch"]}]"#,
            "deployments: patch",
        );
        check(
            None,
            r#"[{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"],"verbs":["bind"]}]"#,
            "roles: bind",
        );
    }
}
