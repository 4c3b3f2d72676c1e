//! Where a cluster's API servers run, and where each of them writes its audit log.

use std::{collections::BTreeMap, net::IpAddr};

use super::{NodeLogError, Rotated, flags, folder::NodeLogs};
use crate::cluster::{
    Cluster, ClusterError,
    objects::{Node, Pod},
};

/// A node that should have an audit log, and the pod of its API server where there is one.
#[derive(Debug, Clone)]
pub struct ApiServer {
    pub node: String,
    pub pod: Option<Box<Pod>>,
    /// What its node runs, where nodes may be listed: distributions put their names into it.
    pub version: Option<String>,
    /// Why its pod is unknown, if pods could not be listed.
    pub unknown: Option<String>,
}

/// A log below `/var/log`: its folder, empty or ending in `/`, and the name of its live file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogPath {
    pub folder: String,
    pub live: String,
    /// Tells it from the other logs of the same node.
    pub part: Option<String>,
}

/// Where distributions put audit logs, below `/var/log`.
const KNOWN_PLACES: &[&str] = &[
    "kubernetes/audit/audit.log",
    "kubernetes/audit.log",
    // The documentation of kind.
    "kubernetes/kube-apiserver-audit.log",
    // OpenShift; the first is MicroShift's and others' too.
    "kube-apiserver/audit.log",
    "openshift-apiserver/audit.log",
    "oauth-apiserver/audit.log",
    "oauth-server/audit.log",
    // Talos.
    "audit/kube/kube-apiserver.log",
    "audit/audit.log",
    // GCE kube-up.
    "kube-apiserver-audit.log",
    // MKE 4k.
    "mke4/audit/audit.log",
    "apiserver/audit.log",
    "audit.log",
];

/// Where the pods of API servers are: namespace and labels.
const PODS: [(&str, &str); 2] = [
    ("kube-system", "component=kube-apiserver,tier=control-plane"),
    ("openshift-kube-apiserver", "apiserver=true"),
];

/// The control-plane nodes of a cluster, or those that are named.
///
/// # Errors
/// If there are none, or they cannot be listed.
pub fn api_servers(cluster: &Cluster, named: &[String]) -> Result<Vec<ApiServer>, NodeLogError> {
    let pods = PODS.iter().map(|(namespace, labels)| cluster.list_in::<Pod>(namespace, labels));
    // Without permission to list pods the known places have to do.
    let (mut unknown, mut found) = (None, Vec::new());
    for pods in pods {
        match pods {
            Ok(pods) => found.extend(pods),
            Err(ClusterError::Forbidden { .. }) if unknown.is_none() => {
                unknown = Some("may not list pods".to_owned());
            }
            Err(ClusterError::Forbidden { .. }) => {}
            Err(err) => unknown = Some(format!("cannot list pods: {err}")),
        }
    }
    let pods = found;
    let mut servers: BTreeMap<String, ApiServer> = BTreeMap::new();
    let on = |node: &str| ApiServer {
        node: node.to_owned(),
        pod: None,
        version: None,
        unknown: unknown.clone(),
    };
    for pod in pods {
        if let Some(node) = pod.spec.node_name.clone() {
            let server = ApiServer { pod: Some(Box::new(pod)), unknown: None, ..on(&node) };
            servers.insert(node, server);
        }
    }
    if named.is_empty() {
        match cluster.list::<Node>() {
            Ok(nodes) => {
                for node in nodes.iter().filter(|it| is_control_plane(it)) {
                    let name = node.metadata.name.clone();
                    let server = servers.entry(name.clone()).or_insert_with(|| on(&name));
                    let info = node.status.node_info.as_ref();
                    server.version = info.map(|it| it.kubelet_version.clone());
                }
                if servers.is_empty() {
                    return Err(no_control_plane(&nodes));
                }
            }
            Err(err @ (ClusterError::Forbidden { .. } | ClusterError::Status { .. })) => {
                if servers.is_empty() {
                    return Err(NodeLogError::CannotList(err));
                }
            }
            Err(err) => return Err(err.into()),
        }
    } else {
        let mut known = std::mem::take(&mut servers);
        let server = |it: &String| (it.clone(), known.remove(it).unwrap_or_else(|| on(it)));
        servers = named.iter().map(server).collect();
    }
    Ok(servers.into_values().collect())
}

/// Where distributions that run the API server inside of their own program let it write, on the host.
fn outside_place(version: &str) -> Option<&'static str> {
    match version.split_once('+')?.1 {
        it if it.starts_with("k3s") => Some("/var/lib/rancher/k3s/server/logs/audit.log"),
        it if it.starts_with("rke2") => Some("/var/lib/rancher/rke2/server/logs/audit.log"),
        _ => None,
    }
}

fn is_control_plane(node: &Node) -> bool {
    let labels = node.metadata.labels.iter().flatten();
    labels.into_iter().any(|(key, _)| {
        matches!(
            key.as_str(),
            "node-role.kubernetes.io/control-plane"
                | "node-role.kubernetes.io/controlplane"
                | "node-role.kubernetes.io/master"
        )
    })
}

/// Why a cluster shows no control plane, and where its audit log can be had instead.
fn no_control_plane(nodes: &[Node]) -> NodeLogError {
    let has_label = |prefix: &str| {
        nodes
            .iter()
            .flat_map(|it| it.metadata.labels.iter().flatten())
            .any(|(key, _)| key.starts_with(prefix))
    };
    let (why, hint) = if has_label("eks.amazonaws.com/") {
        (
            "Amazon EKS runs it out of sight",
            "switch on the `audit` log type, export the CloudWatch log group /aws/eks/CLUSTER/cluster, and give the files",
        )
    } else if has_label("cloud.google.com/gke-") {
        (
            "GKE runs it out of sight",
            "`gcloud logging read 'protoPayload.serviceName=\"k8s.io\"' --format=json > audit.json`, and give that file",
        )
    } else if has_label("kubernetes.azure.com/") {
        (
            "AKS runs it out of sight",
            "send `kube-audit` to a storage account with diagnostic settings, download the files, and give them",
        )
    } else {
        (
            "no node has its label, and no kube-apiserver pod is seen",
            "name the nodes with --node, or give log files or folders",
        )
    };
    NodeLogError::NoControlPlane { why: why.into(), hint: hint.into() }
}

impl LogPath {
    /// From a path below `/var/log`.
    fn of(path: &str) -> LogPath {
        let at = path.rfind('/').map_or(0, |it| it + 1);
        let live = Rotated::of(&path[at..]).live;
        LogPath { folder: path[..at].to_owned(), live, part: None }
    }

    /// What the log is called: the node, and which of its logs where it has several.
    pub(super) fn log_name(&self, node: &str) -> String {
        match &self.part {
            None => node.to_owned(),
            Some(part) => format!("{node}/{part}"),
        }
    }
}

/// The audit logs of a node: named, told by its API server's flags, or in one of the known places.
pub(super) fn log_paths(
    logs: &NodeLogs,
    server: &ApiServer,
    named: Option<&str>,
) -> Result<Vec<LogPath>, NodeLogError> {
    if let Some(path) = named {
        return Ok(vec![LogPath::of(&below_var_log(path, &logs.node)?)]);
    }
    let pod = server.pod.as_deref();
    let container = pod.and_then(flags::container);
    if let (Some(pod), Some(container)) = (pod, container)
        && let Some(path) = flags::flag(container, "audit-log-path")
    {
        if path == "-" {
            return Err(NodeLogError::Stdout { node: logs.node.clone() });
        }
        let path = flags::host_path(pod, container, &path).unwrap_or(path);
        return Ok(vec![LogPath::of(&below_var_log(&path, &logs.node)?)]);
    }
    let found = known_places(logs)?;
    if !found.is_empty() {
        return Ok(found);
    }
    let is_plain = container.is_some_and(|it| flags::flag(it, "etcd-servers").is_some());
    let node = logs.node.clone();
    let outside = server.version.as_deref().and_then(outside_place);
    let has_webhook =
        container.is_some_and(|it| flags::flag(it, "audit-webhook-config-file").is_some());
    Err(if is_plain && has_webhook {
        NodeLogError::WebhookOnly { node }
    } else if is_plain {
        NodeLogError::AuditOff { node }
    } else if let Some(path) = outside {
        NodeLogError::Embedded { node, path }
    } else {
        let why = "it is in none of the places where distributions put it".to_owned();
        NodeLogError::NoLog { node, why }
    })
}

/// The URL at which an API server itself can be asked, whatever stands before it; `None` if its flags do
/// not tell.
pub fn own_address(server: &ApiServer) -> Option<String> {
    let container = flags::container(server.pod.as_deref()?)?;
    let address = flags::flag(container, "advertise-address")?;
    let port = flags::flag(container, "secure-port").unwrap_or_else(|| "6443".to_owned());
    match address.parse().ok()? {
        IpAddr::V4(address) => Some(format!("https://{address}:{port}")),
        IpAddr::V6(address) => Some(format!("https://[{address}]:{port}")),
    }
}

/// The `--audit-…` flags of an API server, without the dashes; `None` if its flags are not in its pod.
pub fn audit_flags(server: &ApiServer) -> Option<Vec<(String, String)>> {
    let container = flags::container(server.pod.as_deref()?)?;
    flags::flag(container, "etcd-servers")?;
    let all = [&container.command, &container.args].into_iter().flatten().flatten();
    let mut names: Vec<String> = all
        .flat_map(|it| it.split_whitespace())
        .filter_map(|it| it.trim_start_matches('-').split('=').next())
        .filter(|it| it.starts_with("audit-"))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    let value = |name: String| flags::flag(container, &name).map(|value| (name, value));
    Some(names.into_iter().filter_map(value).collect())
}

/// The path below `/var/log` of a path on the host; a relative one is below it.
fn below_var_log(path: &str, node: &str) -> Result<String, NodeLogError> {
    let outside = || NodeLogError::OutsideVarLog { node: node.to_owned(), path: path.to_owned() };
    if path.split('/').any(|it| it == "..") {
        return Err(outside());
    }
    match path.strip_prefix('/') {
        None => Ok(path.to_owned()),
        Some(_) => path.strip_prefix("/var/log/").map(str::to_owned).ok_or_else(outside),
    }
}

/// The known places at which there is a log. Asks only for folders that exist.
fn known_places(logs: &NodeLogs) -> Result<Vec<LogPath>, NodeLogError> {
    let mut listed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    listed.insert(String::new(), logs.list("")?);
    let mut found = Vec::new();
    for place in KNOWN_PLACES {
        let path = LogPath::of(place);
        if exists(logs, &mut listed, &path)? {
            found.push(path);
        }
    }
    if found.len() > 1 {
        for path in &mut found {
            let whole = format!("{}{}", path.folder, path.live);
            let short = whole.strip_suffix("/audit.log").unwrap_or(&whole);
            path.part = Some(short.to_owned());
        }
    }
    Ok(found)
}

fn exists(
    logs: &NodeLogs,
    listed: &mut BTreeMap<String, Vec<String>>,
    path: &LogPath,
) -> Result<bool, NodeLogError> {
    let mut folder = String::new();
    for segment in path.folder.split_inclusive('/') {
        if !listed[&folder].iter().any(|it| it == segment) {
            return Ok(false);
        }
        folder.push_str(segment);
        if !listed.contains_key(&folder) {
            listed.insert(folder.clone(), logs.list(&folder)?);
        }
    }
    Ok(listed[&folder].contains(&path.live))
}
