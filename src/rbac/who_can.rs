//! The reverse question: who may do this.

use std::collections::BTreeMap;

use super::{Grant, PolicyRule, Snapshot, Subject};
use crate::event::Target;

/// A verb, and what it is to be done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhoCan {
    pub verb: String,
    pub what: What,
    /// Empty for any request without one, and for cluster-wide ones.
    pub namespace: String,
    /// Empty where none is meant: rules that are limited to names then do not count.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Resource {
        /// `None` for any.
        group: Option<String>,
        resource: String,
        subresource: String,
    },
    Path(String),
}

impl What {
    /// Reads `RESOURCE[/SUB][.GROUP]` or `/PATH`. Without a group that of Kubernetes' own resource of
    /// this name is meant; of a name that is none of its own, any.
    pub fn parse(text: &str) -> What {
        if text.starts_with('/') {
            return What::Path(text.to_owned());
        }
        let (path, group) = match text.split_once('.') {
            Some((path, group)) => (path, Some(group.to_owned())),
            None => (text, None),
        };
        let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
        let resource =
            SHORT.iter().find(|(short, _)| *short == resource).map_or(resource, |(_, long)| long);
        let group = group.or_else(|| own_group(resource).map(str::to_owned));
        What::Resource { group, resource: resource.to_owned(), subresource: subresource.to_owned() }
    }
}

impl WhoCan {
    /// Whether a rule allows it.
    pub fn is_allowed_by(&self, rule: &PolicyRule) -> bool {
        rule.covers_verb(&self.verb)
            && match &self.what {
                What::Path(path) => rule.covers_path(path),
                What::Resource { group, resource, subresource } => {
                    rule.covers_kind(resource, subresource)
                        && rule.covers_name(&self.name)
                        && match group {
                            Some(group) => rule.covers_group(group),
                            None => !rule.api_groups.is_empty(),
                        }
                }
            }
    }

    /// Whether a request is of this kind.
    pub fn is_about(&self, target: &Target<'_>) -> bool {
        match (&self.what, target) {
            (What::Path(mine), Target::Path(path)) => path == mine,
            (What::Resource { group, resource, subresource }, Target::Resource(it)) => {
                it.resource == *resource
                    && it.subresource == *subresource
                    && group.as_ref().is_none_or(|group| it.api_group == *group)
                    && (self.namespace.is_empty() || it.namespace == self.namespace)
                    && (self.name.is_empty() || it.name == self.name)
            }
            _ => false,
        }
    }
}

impl Snapshot {
    /// The subjects that a binding allows it, each with its bindings. With `any_namespace` bindings in
    /// every namespace count.
    pub fn who_can(
        &self,
        question: &WhoCan,
        any_namespace: bool,
    ) -> BTreeMap<Subject, Vec<Grant<'_>>> {
        let mut found: BTreeMap<Subject, Vec<Grant<'_>>> = BTreeMap::new();
        let is_path = matches!(question.what, What::Path(_));
        for (id, binding) in self.bindings().iter().enumerate() {
            let reaches = match &binding.namespace {
                None => true,
                Some(_) if is_path => false,
                Some(it) => any_namespace || **it == *question.namespace,
            };
            if !reaches || !binding.rules().iter().any(|it| question.is_allowed_by(it)) {
                continue;
            }
            for subject in &binding.subjects {
                let mut named = subject.clone();
                if subject.kind == "ServiceAccount" && subject.namespace.is_none() {
                    named.namespace = binding.namespace.as_deref().map(str::to_owned);
                }
                let grants = found.entry(named).or_default();
                if grants.last().is_none_or(|it| it.id != id) {
                    grants.push(Grant { id, binding, subject });
                }
            }
        }
        found
    }
}

/// The group of Kubernetes' own resource of this name.
fn own_group(resource: &str) -> Option<&'static str> {
    OWN.iter().find(|(_, all)| all.contains(&resource)).map(|(group, _)| *group)
}

/// kubectl's short names.
const SHORT: &[(&str, &str)] = &[
    ("cm", "configmaps"),
    ("csr", "certificatesigningrequests"),
    ("crd", "customresourcedefinitions"),
    ("deploy", "deployments"),
    ("ds", "daemonsets"),
    ("ep", "endpoints"),
    ("ev", "events"),
    ("ing", "ingresses"),
    ("netpol", "networkpolicies"),
    ("no", "nodes"),
    ("ns", "namespaces"),
    ("po", "pods"),
    ("pv", "persistentvolumes"),
    ("pvc", "persistentvolumeclaims"),
    ("rs", "replicasets"),
    ("sa", "serviceaccounts"),
    ("sc", "storageclasses"),
    ("sts", "statefulsets"),
    ("svc", "services"),
];

/// Kubernetes' own resources by group, those that more than one group has under its main one.
const OWN: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "bindings",
            "configmaps",
            "endpoints",
            "events",
            "limitranges",
            "namespaces",
            "nodes",
            "persistentvolumeclaims",
            "persistentvolumes",
            "pods",
            "podtemplates",
            "replicationcontrollers",
            "resourcequotas",
            "secrets",
            "serviceaccounts",
            "services",
            "users",
            "groups",
        ],
    ),
    (
        "admissionregistration.k8s.io",
        &[
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "mutatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "validatingwebhookconfigurations",
        ],
    ),
    ("apiextensions.k8s.io", &["customresourcedefinitions"]),
    ("apiregistration.k8s.io", &["apiservices"]),
    ("apps", &["controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"]),
    ("authentication.k8s.io", &["selfsubjectreviews", "tokenreviews", "uids", "userextras"]),
    (
        "authorization.k8s.io",
        &[
            "localsubjectaccessreviews",
            "selfsubjectaccessreviews",
            "selfsubjectrulesreviews",
            "subjectaccessreviews",
        ],
    ),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    ("certificates.k8s.io", &["certificatesigningrequests", "clustertrustbundles", "signers"]),
    ("coordination.k8s.io", &["leases"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("flowcontrol.apiserver.k8s.io", &["flowschemas", "prioritylevelconfigurations"]),
    (
        "networking.k8s.io",
        &["ingressclasses", "ingresses", "ipaddresses", "networkpolicies", "servicecidrs"],
    ),
    ("node.k8s.io", &["runtimeclasses"]),
    ("policy", &["poddisruptionbudgets"]),
    (
        "rbac.authorization.k8s.io",
        &["clusterrolebindings", "clusterroles", "rolebindings", "roles"],
    ),
    (
        "resource.k8s.io",
        &["deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"],
    ),
    ("scheduling.k8s.io", &["priorityclasses"]),
    (
        "storage.k8s.io",
        &[
            "csidrivers",
            "csinodes",
            "csistoragecapacities",
            "storageclasses",
            "volumeattachments",
            "volumeattributesclasses",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, group: Option<&str>, resource: &str, subresource: &str) {
        let expected = What::Resource {
            group: group.map(str::to_owned),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
        };
        assert_eq!(What::parse(text), expected, "{text}");
    }

    #[test]
    fn resources() {
        check("pods", Some(""), "pods", "");
        check("po", Some(""), "pods", "");
        check("pods/exec", Some(""), "pods", "exec");
        check("pods.metrics.k8s.io", Some("metrics.k8s.io"), "pods", "");
        check("deployments/scale.apps", Some("apps"), "deployments", "scale");
        check("deployments", Some("apps"), "deployments", "");
        check("widgets", None, "widgets", "");
        check("*", None, "*", "");
        assert_eq!(What::parse("/metrics"), What::Path("/metrics".to_owned()));
    }
}
