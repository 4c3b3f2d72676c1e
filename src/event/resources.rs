//! Kubernetes' own resources: their groups, kubectl's short names, and what they have below them.

/// A resource by the name that kubectl knows it by too, as `po` for `pods`.
pub fn long_name(resource: &str) -> &str {
    SHORT.iter().find(|(short, _)| *short == resource).map_or(resource, |(_, long)| long)
}

/// Whether this group is one of Kubernetes' own.
pub fn is_own_group(group: &str) -> bool {
    OWN.iter().any(|(it, _)| *it == group)
}

/// Whether a group of Kubernetes' own has this resource.
pub fn has(group: &str, resource: &str) -> bool {
    OWN.iter().any(|(it, all)| *it == group && all.contains(&resource))
}

/// Whether any resource has this subresource.
pub fn is_subresource(name: &str) -> bool {
    SUBRESOURCES.contains(&name)
}

/// The resources that a person may mean by this name, as kubectl reads one: a plural, a singular, a
/// kind or a short name, in any case. Of a name that is not Kubernetes' own, also what its plural may be.
pub fn meant_by(name: &str) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    if own_group(name).is_some() {
        return vec![lower];
    }
    let long = long_name(&lower);
    let is_meant = |it: &&&str| **it == long || singular(it) == long;
    let own = OWN.iter().flat_map(|(_, all)| *all).find(is_meant);
    let mut meant = vec![name.to_owned()];
    match own {
        Some(own) => meant.push((*own).to_owned()),
        None => meant.extend([lower.clone(), plural(&lower)]),
    }
    meant.dedup();
    meant
}

/// As kubectl makes one: `ingresses`, `networkpolicies`, `pods`.
fn singular(plural: &str) -> String {
    let stem = |end| plural.strip_suffix(end);
    match (stem("ies"), stem("sses"), stem("statuses"), stem("s")) {
        (Some(stem), ..) => format!("{stem}y"),
        (_, Some(stem), ..) => format!("{stem}ss"),
        (.., Some(stem), _) => format!("{stem}status"),
        (.., Some(stem)) => stem.to_owned(),
        _ => plural.to_owned(),
    }
}

/// As API machinery guesses one (`meta.UnsafeGuessKindToResource`).
fn plural(singular: &str) -> String {
    match singular.as_bytes() {
        [.., b's'] => format!("{singular}es"),
        [stem @ .., b'y'] => format!("{}ies", String::from_utf8_lossy(stem)),
        _ => format!("{singular}s"),
    }
}

/// Every resource of Kubernetes' own.
pub fn all() -> impl Iterator<Item = &'static str> {
    OWN.iter().flat_map(|(_, all)| all.iter().copied())
}

/// Every subresource that a request can name.
const SUBRESOURCES: &[&str] = &[
    "approval",
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "finalize",
    "log",
    "portforward",
    "proxy",
    "resize",
    "scale",
    "status",
    "token",
];

/// The group of Kubernetes' own resource of this name.
pub fn own_group(resource: &str) -> Option<&'static str> {
    OWN.iter().find(|(_, all)| all.contains(&resource)).map(|(group, _)| *group)
}

/// kubectl's short names.
const SHORT: &[(&str, &str)] = &[
    ("cj", "cronjobs"),
    ("cm", "configmaps"),
    ("cs", "componentstatuses"),
    ("csr", "certificatesigningrequests"),
    ("crd", "customresourcedefinitions"),
    ("crds", "customresourcedefinitions"),
    ("deploy", "deployments"),
    ("ds", "daemonsets"),
    ("ep", "endpoints"),
    ("ev", "events"),
    ("hpa", "horizontalpodautoscalers"),
    ("ing", "ingresses"),
    ("limits", "limitranges"),
    ("netpol", "networkpolicies"),
    ("no", "nodes"),
    ("ns", "namespaces"),
    ("pc", "priorityclasses"),
    ("pdb", "poddisruptionbudgets"),
    ("po", "pods"),
    ("pv", "persistentvolumes"),
    ("pvc", "persistentvolumeclaims"),
    ("quota", "resourcequotas"),
    ("rc", "replicationcontrollers"),
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
            "componentstatuses",
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
    fn check(name: &str, expected: &[&str]) {
        assert_eq!(meant_by(name), expected, "{name}");
    }

    #[test]
    fn names_that_kubectl_takes() {
        check("pods", &["pods"]);
        check("pod", &["pod", "pods"]);
        check("po", &["po", "pods"]);
        check("Pods", &["Pods", "pods"]);
        check("Deployment", &["Deployment", "deployments"]);
        check("deploy", &["deploy", "deployments"]);
        check("Ingress", &["Ingress", "ingresses"]);
        check("NetworkPolicy", &["NetworkPolicy", "networkpolicies"]);
        check("Endpoints", &["Endpoints", "endpoints"]);
        check("componentstatus", &["componentstatus", "componentstatuses"]);
        check("IngressClass", &["IngressClass", "ingressclasses"]);
        check("lease", &["lease", "leases"]);
        check("hpa", &["hpa", "horizontalpodautoscalers"]);
    }

    #[test]
    fn names_of_others() {
        check("widget", &["widget", "widgets"]);
        check("VirtualService", &["VirtualService", "virtualservice", "virtualservices"]);
        check("gitrepository", &["gitrepository", "gitrepositories"]);
        check("widgets", &["widgets", "widgetses"]);
    }
}
