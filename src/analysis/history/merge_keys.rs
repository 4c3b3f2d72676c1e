//! How lists of Kubernetes' own objects are merged: by which key, or as a set.
//!
//! Source: the tags `patchStrategy`, `patchMergeKey`, `listType` and `listMapKey` of
//! `staging/src/k8s.io/api/*/*/types.go` and `apimachinery/pkg/apis/meta/v1/types.go`, Kubernetes 1.36.
//! A list that is not in the tables is replaced as a whole.

/// How a list is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// Its entries are objects with this key.
    Keyed {
        /// For a strategic merge patch.
        key: &'static str,
        /// For server-side apply.
        apply_keys: &'static [&'static str],
    },
    /// Its entries are plain values, each once.
    Set,
}

const fn keyed(key: &'static str, apply_keys: &'static [&'static str]) -> Merge {
    Merge::Keyed { key, apply_keys }
}

/// Lists below the spec of a pod.
const POD: &[(&str, Merge)] = &[
    ("containers", keyed("name", &["name"])),
    ("initContainers", keyed("name", &["name"])),
    ("ephemeralContainers", keyed("name", &["name"])),
    ("volumes", keyed("name", &["name"])),
    ("imagePullSecrets", keyed("name", &["name"])),
    ("hostAliases", keyed("ip", &["ip"])),
    ("topologySpreadConstraints", keyed("topologyKey", &["topologyKey", "whenUnsatisfiable"])),
    ("resourceClaims", keyed("name", &["name"])),
    ("schedulingGates", keyed("name", &["name"])),
];

/// Lists below a container.
const CONTAINER: &[(&str, Merge)] = &[
    ("env", keyed("name", &["name"])),
    ("ports", keyed("containerPort", &["containerPort", "protocol"])),
    ("volumeMounts", keyed("mountPath", &["mountPath"])),
    ("volumeDevices", keyed("devicePath", &["devicePath"])),
];

const CONTAINER_LISTS: [&str; 3] = ["containers[].", "initContainers[].", "ephemeralContainers[]."];

/// Lists of other resources, by resource and path.
const OTHERS: &[(&str, &str, Merge)] = &[
    ("services", "spec.ports", keyed("port", &["port", "protocol"])),
    ("serviceaccounts", "secrets", keyed("name", &["name"])),
    ("nodes", "spec.podCIDRs", Merge::Set),
    ("nodes", "status.addresses", keyed("type", &["type"])),
    ("pods", "status.podIPs", keyed("ip", &["ip"])),
    ("pods", "status.hostIPs", keyed("ip", &["ip"])),
    ("pods", "status.resourceClaimStatuses", keyed("name", &["name"])),
    ("csinodes", "spec.drivers", keyed("name", &["name"])),
    ("resourceclaims", "status.reservedFor", keyed("uid", &["uid"])),
    ("mutatingwebhookconfigurations", "webhooks", keyed("name", &["name"])),
    ("validatingwebhookconfigurations", "webhooks", keyed("name", &["name"])),
    ("mutatingwebhookconfigurations", "webhooks[].matchConditions", keyed("name", &["name"])),
    ("validatingwebhookconfigurations", "webhooks[].matchConditions", keyed("name", &["name"])),
    ("validatingadmissionpolicies", "spec.matchConditions", keyed("name", &["name"])),
    ("validatingadmissionpolicies", "spec.variables", keyed("name", &["name"])),
    ("mutatingadmissionpolicies", "spec.matchConditions", keyed("name", &["name"])),
    ("mutatingadmissionpolicies", "spec.variables", keyed("name", &["name"])),
];

/// Resources whose `status.conditions` are merged by type.
const WITH_CONDITIONS: [&str; 17] = [
    "apiservices",
    "daemonsets",
    "deployments",
    "flowschemas",
    "horizontalpodautoscalers",
    "jobs",
    "namespaces",
    "nodes",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
    "pods",
    "prioritylevelconfigurations",
    "replicasets",
    "replicationcontrollers",
    "services",
    "servicecidrs",
    "statefulsets",
];

/// Where the spec of a pod is in an object of this resource.
fn pod_spec(resource: &str) -> Option<&'static str> {
    Some(match resource {
        "pods" => "spec.",
        "deployments"
        | "replicasets"
        | "daemonsets"
        | "statefulsets"
        | "jobs"
        | "replicationcontrollers" => "spec.template.spec.",
        "cronjobs" => "spec.jobTemplate.spec.template.spec.",
        "podtemplates" => "template.spec.",
        _ => return None,
    })
}

/// How the list at this path of this resource is merged, such as `spec.containers[].env`; `None` if it is
/// replaced as a whole.
pub fn merge_of(resource: &str, path: &str) -> Option<Merge> {
    if path == "metadata.finalizers" || path.ends_with(".metadata.finalizers") {
        return Some(Merge::Set);
    }
    if path == "metadata.ownerReferences" || path.ends_with(".metadata.ownerReferences") {
        return Some(keyed("uid", &["uid"]));
    }
    if path == "status.conditions" {
        return WITH_CONDITIONS.contains(&resource).then_some(keyed("type", &["type"]));
    }

    let in_pod = pod_spec(resource).and_then(|prefix| path.strip_prefix(prefix));
    let find = |table: &[(&str, Merge)], name: &str| {
        table.iter().find(|(list, _)| *list == name).map(|(_, merge)| *merge)
    };
    let in_container =
        in_pod.and_then(|rest| CONTAINER_LISTS.iter().find_map(|list| rest.strip_prefix(list)));
    if let Some(name) = in_container {
        return find(CONTAINER, name);
    }
    let other = OTHERS.iter().find(|(of, list, _)| *of == resource && *list == path);
    in_pod.and_then(|name| find(POD, name)).or(other.map(|(.., merge)| *merge))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(resource: &str, path: &str, expected: Option<&str>) {
        let found = merge_of(resource, path).map(|merge| match merge {
            Merge::Keyed { key, .. } => key,
            Merge::Set => "",
        });
        assert_eq!(found, expected, "{resource} {path}");
    }

    #[test]
    fn lists_and_their_keys() {
        check("pods", "spec.containers", Some("name"));
        check("deployments", "spec.template.spec.containers[].ports", Some("containerPort"));
        check("cronjobs", "spec.jobTemplate.spec.template.spec.volumes", Some("name"));
        check("services", "spec.ports", Some("port"));
        check("widgets", "spec.containers", None);
        check("pods", "spec.tolerations", None);
        check("pods", "status.conditions", Some("type"));
        check("certificatesigningrequests", "status.conditions", None);
        check("widgets", "metadata.finalizers", Some(""));
        check("deployments", "spec.template.metadata.ownerReferences", Some("uid"));
    }
}
