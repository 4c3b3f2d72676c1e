//! Roles and bindings as manifests that `kubectl apply` takes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{PolicyRule, RoleRef, Subject};

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMeta {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A `Role`, or without a namespace a `ClusterRole`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleManifest {
    api_version: &'static str,
    kind: &'static str,
    pub metadata: ObjectMeta,
    pub rules: Vec<PolicyRule>,
}

impl RoleManifest {
    pub fn new(metadata: ObjectMeta, rules: Vec<PolicyRule>) -> RoleManifest {
        let kind = if metadata.namespace.is_some() { "Role" } else { "ClusterRole" };
        RoleManifest { api_version: API_VERSION, kind, metadata, rules }
    }

    pub fn role_ref(&self) -> RoleRef {
        RoleRef { kind: self.kind.to_owned(), name: self.metadata.name.clone() }
    }
}

/// A `RoleBinding`, or without a namespace a `ClusterRoleBinding`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingManifest {
    api_version: &'static str,
    kind: &'static str,
    pub metadata: ObjectMeta,
    role_ref: FullRef,
    subjects: Vec<FullSubject>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct FullRef {
    api_group: &'static str,
    #[serde(flatten)]
    role: RoleRef,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct FullSubject {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_group: Option<&'static str>,
    kind: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

impl BindingManifest {
    pub fn new(metadata: ObjectMeta, role: RoleRef, subjects: &[Subject]) -> BindingManifest {
        let kind = if metadata.namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
        let full = |it: &Subject| FullSubject {
            // Service accounts are of the core group.
            api_group: (it.kind != "ServiceAccount").then_some(GROUP),
            kind: it.kind.clone(),
            name: it.name.clone(),
            namespace: it.namespace.clone(),
        };
        let subjects = subjects.iter().map(full).collect();
        let role_ref = FullRef { api_group: GROUP, role };
        BindingManifest { api_version: API_VERSION, kind, metadata, role_ref, subjects }
    }
}

/// A manifest as YAML.
pub fn yaml(manifest: &impl Serialize) -> String {
    serde_saphyr::to_string(manifest).expect("a manifest is plain data")
}
