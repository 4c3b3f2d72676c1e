//! Nodes and pods as far as somebody asks for them: of the API's types only what is read here is
//! compiled in, for a whole `PodSpec` costs as much code as the readers.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An object of a collection: where it is listed, for the whole cluster.
pub trait Listed {
    /// Group and version, such as `/api/v1`.
    const API: &'static str = "/api/v1";
    /// The resource, such as `pods`.
    const RESOURCE: &'static str;
}

/// A node: `k8s.io/api/core/v1.Node`.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default)]
    pub status: NodeStatus,
}

impl Listed for Node {
    const RESOURCE: &'static str = "nodes";
}

/// A namespace, of which only its name is asked for.
#[derive(Debug, Clone, Deserialize)]
pub struct Namespace {
    #[serde(default)]
    pub metadata: Metadata,
}

impl Listed for Namespace {
    const RESOURCE: &'static str = "namespaces";
}

/// `k8s.io/apimachinery/pkg/apis/meta/v1.ObjectMeta`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    pub name: String,
    pub labels: Option<BTreeMap<String, String>>,
}

/// What a node tells of itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    pub node_info: Option<NodeInfo>,
}

/// What a node runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    pub kubelet_version: String,
}

/// A pod: `k8s.io/api/core/v1.Pod`.
#[derive(Debug, Clone, Deserialize)]
pub struct Pod {
    #[serde(default)]
    pub spec: PodSpec,
}

impl Listed for Pod {
    const RESOURCE: &'static str = "pods";
}

/// Where a pod runs, and what.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    pub node_name: Option<String>,
    pub containers: Option<Vec<Container>>,
    pub volumes: Option<Vec<Volume>>,
}

/// A program in a pod, and the folders it sees.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: String,
    pub command: Option<Vec<String>>,
    pub args: Option<Vec<String>>,
    pub volume_mounts: Option<Vec<VolumeMount>>,
}

/// At which path a container sees a volume.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    pub name: String,
    pub mount_path: String,
    pub sub_path: Option<String>,
}

/// A volume of a pod; only those of the host lead to a log.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    pub name: String,
    pub host_path: Option<HostPath>,
}

/// A file or folder of the node.
#[derive(Debug, Clone, Deserialize)]
pub struct HostPath {
    pub path: String,
}
