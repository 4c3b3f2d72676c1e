//! The objects that RBAC reads, as far as it reads them.
//!
//! Source: `staging/src/k8s.io/api/rbac/v1/types.go`. Kept in place of k8s-openapi's types, which
//! hold all of an object: of ten thousand bindings only this is worth the memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// `null` is the same as absent, as in Go.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// What of `metadata` matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    pub namespace: String,
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// Only an object that an API server stored has one.
    #[serde(deserialize_with = "nullable")]
    pub uid: String,
    #[serde(deserialize_with = "nullable")]
    owner_references: Vec<Owner>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Owner {
    kind: String,
    name: String,
}

impl Metadata {
    /// Kind and name of the first owner, as in `ReplicaSet web-5d4`.
    pub fn owner(&self) -> Option<String> {
        self.owner_references.first().map(|it| format!("{} {}", it.kind, it.name))
    }
}

/// What a role allows: these verbs on these resources, or on these paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub verbs: Vec<String>,
}

/// A `Role`, or without a namespace a `ClusterRole`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Role {
    pub metadata: Metadata,
    #[serde(deserialize_with = "nullable")]
    pub rules: Vec<PolicyRule>,
    pub aggregation_rule: Option<AggregationRule>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AggregationRule {
    #[serde(deserialize_with = "nullable")]
    pub cluster_role_selectors: Vec<LabelSelector>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    #[serde(deserialize_with = "nullable")]
    pub match_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub match_expressions: Vec<Requirement>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Requirement {
    pub key: String,
    pub operator: String,
    #[serde(deserialize_with = "nullable")]
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Source: `metav1.LabelSelectorAsSelector`; an operator that nobody knows selects nothing.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |key: &String, value: &String| labels.get(key) == Some(value);
        self.match_labels.iter().all(|(key, value)| has(key, value))
            && self.match_expressions.iter().all(|it| {
                let value = labels.get(&it.key);
                match it.operator.as_str() {
                    "In" => value.is_some_and(|value| it.values.contains(value)),
                    "NotIn" => value.is_none_or(|value| !it.values.contains(value)),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

/// A `RoleBinding`, or without a namespace a `ClusterRoleBinding`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleBinding {
    pub metadata: Metadata,
    pub role_ref: RoleRef,
    #[serde(deserialize_with = "nullable")]
    pub subjects: Vec<Subject>,
}

/// The role that a binding gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleRef {
    pub kind: String,
    pub name: String,
}

/// Whom a binding gives it to: a `User`, a `Group` or a `ServiceAccount`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    pub kind: String,
    pub name: String,
    pub namespace: Option<String>,
}

/// A service account, or anything of which only the name matters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Named {
    pub metadata: Metadata,
}

/// A pod: as which service account it runs, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Pod {
    pub metadata: Metadata,
    pub spec: PodSpec,
}

impl Pod {
    /// Admission fills it in; a manifest may leave it out.
    pub fn service_account(&self) -> &str {
        match self.spec.service_account_name.as_str() {
            "" => "default",
            name => name,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    #[serde(deserialize_with = "nullable")]
    pub service_account_name: String,
}

/// What was found of the objects that RBAC decides by.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    pub roles: Vec<Role>,
    pub cluster_roles: Vec<Role>,
    pub role_bindings: Vec<RoleBinding>,
    pub cluster_role_bindings: Vec<RoleBinding>,
    /// `None` where nobody could, or wanted to, list them.
    pub service_accounts: Option<Vec<Named>>,
    pub nodes: Option<Vec<Named>>,
    pub pods: Option<Vec<Pod>>,
    /// What is missing or odd, in words for a person.
    pub notes: Vec<String>,
    /// Kinds that could not be listed: an answer may lack grants.
    pub is_partial: bool,
}

impl Objects {
    /// Lays other objects over these: of the same object the later counts.
    pub fn add(&mut self, other: Objects) {
        self.roles.extend(other.roles);
        self.cluster_roles.extend(other.cluster_roles);
        self.role_bindings.extend(other.role_bindings);
        self.cluster_role_bindings.extend(other.cluster_role_bindings);
        let join = |mine: &mut Option<Vec<_>>, its: Option<Vec<_>>| {
            if let Some(its) = its {
                mine.get_or_insert_default().extend(its);
            }
        };
        join(&mut self.service_accounts, other.service_accounts);
        join(&mut self.nodes, other.nodes);
        if let Some(pods) = other.pods {
            self.pods.get_or_insert_default().extend(pods);
        }
        self.notes.extend(other.notes);
        self.is_partial |= other.is_partial;
    }

    /// Whether there is nothing to decide by.
    pub fn is_empty(&self) -> bool {
        self.role_bindings.is_empty()
            && self.cluster_role_bindings.is_empty()
            && self.roles.is_empty()
            && self.cluster_roles.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn selects(selector: &str, expected: bool) {
        let selector: LabelSelector = serde_json::from_str(selector).expect(selector);
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        assert_eq!(selector.matches(&labels), expected, "{selector:?}");
    }

    #[test]
    fn selectors() {
        selects("{}", true);
        selects(r#"{"matchLabels":{"a":"1"}}"#, true);
        selects(r#"{"matchLabels":{"a":"2"}}"#, false);
        selects(r#"{"matchLabels":{"a":"1","b":"1"}}"#, false);
        selects(r#"{"matchExpressions":[{"key":"a","operator":"In","values":["1","2"]}]}"#, true);
        selects(r#"{"matchExpressions":[{"key":"a","operator":"NotIn","values":["1"]}]}"#, false);
        selects(r#"{"matchExpressions":[{"key":"b","operator":"NotIn","values":["1"]}]}"#, true);
        selects(r#"{"matchExpressions":[{"key":"a","operator":"Exists"}]}"#, true);
        selects(r#"{"matchExpressions":[{"key":"a","operator":"DoesNotExist"}]}"#, false);
        selects(r#"{"matchExpressions":[{"key":"a","operator":"Likes"}]}"#, false);
    }
}
