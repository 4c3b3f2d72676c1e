//! What a user is today: the `identity` beside a row, an event or a session.

use serde::Serialize;

use super::{Snapshot, is_master, subject::Kind};
use crate::event::{Attributes, User};

/// A user resolved against RBAC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    pub kind: &'static str,
    pub name: String,
    pub namespace: Option<String>,
    /// `None` for what the cluster keeps no object of, or where nobody could look.
    pub exists: Option<bool>,
    pub roles: Vec<Held>,
    /// Pods that run as it, at most three, as in `build/runner-0`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
    /// Whether RBAC would allow the request again; `None` where no single request is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_now: Option<bool>,
}

/// A role that somebody has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Held {
    /// As in `ClusterRole/edit`.
    pub role: String,
    /// As in `RoleBinding/build/ci-edit`.
    pub binding: String,
    /// The subject that it is bound to, as in `Group ops`.
    pub via: String,
}

impl Identity {
    /// For people: `ServiceAccount (gone)`, `ServiceAccount of build/runner-0`.
    pub fn label(&self) -> String {
        match (self.exists, self.used_by.as_slice()) {
            (Some(false), _) => format!("{} (gone)", self.kind),
            (_, [pod]) => format!("{} of {pod}", self.kind),
            (_, [pod, ..]) => format!("{} of {pod}, ...", self.kind),
            _ => self.kind.to_owned(),
        }
    }

    /// The roles, as in `ClusterRole/edit in build`, without those that everybody has.
    pub fn held(&self) -> String {
        let own = self.roles.iter().filter(|it| !it.is_everybodys());
        let mut roles: Vec<String> = own.map(Held::label).collect();
        roles.dedup();
        roles.join(", ")
    }
}

/// Whether a request is allowed today, and what has changed since.
pub fn now(allowed_now: Option<bool>, was_allowed: Option<bool>) -> &'static str {
    match (allowed_now, was_allowed) {
        (None, _) => "",
        (Some(true), Some(false)) => "allowed (was not)",
        (Some(false), Some(true)) => "refused (was allowed)",
        (Some(true), _) => "allowed",
        (Some(false), _) => "refused",
    }
}

impl Held {
    /// Whether Kubernetes itself gives it to everybody who got in.
    fn is_everybodys(&self) -> bool {
        let groups = ["system:authenticated", "system:unauthenticated", "system:serviceaccounts"];
        self.role.starts_with("ClusterRole/system:")
            && self.via.strip_prefix("Group ").is_some_and(|it| groups.contains(&it))
    }

    fn label(&self) -> String {
        match self.binding.split('/').collect::<Vec<_>>().as_slice() {
            ["RoleBinding", namespace, ..] => format!("{} in {namespace}", self.role),
            _ => self.role.clone(),
        }
    }
}

impl Snapshot {
    /// The same of one request: also whether it would be allowed today.
    pub fn judged(&self, attributes: &Attributes<'_>) -> Identity {
        let allowed_now = self.allowed_now(attributes);
        Identity { allowed_now, ..self.identity(attributes.user) }
    }

    /// What a user is, and which roles it has.
    pub fn identity(&self, user: &User<'_>) -> Identity {
        let kind = Kind::of(&user.username);
        let exists = match kind {
            Kind::ServiceAccount { namespace, name } => self.has_service_account(namespace, name),
            Kind::Node(name) => self.has_node(name),
            Kind::User(_) | Kind::ControlPlane(_) | Kind::Anonymous => None,
        };
        let held = |it: &super::Grant<'_>| Held {
            role: it.binding.role_ref.path(),
            binding: it.binding.object_name().path(),
            via: it.subject.label(),
        };
        let mut used_by = Vec::new();
        if let Kind::ServiceAccount { namespace, name } = kind {
            let pods = self.pods_of(namespace, name).take(3);
            used_by.extend(pods.map(|it| format!("{namespace}/{}", it.metadata.name)));
        }
        Identity {
            used_by,
            kind: kind.as_str(),
            name: kind.name().to_owned(),
            namespace: kind.namespace().map(str::to_owned),
            exists,
            roles: self.grants_for(user).iter().map(held).collect(),
            allowed_now: None,
        }
    }

    /// Whether a request would be allowed today. `None` if this is not RBAC's to say: what it does
    /// not allow a node, the Node authorizer may.
    pub fn allowed_now(&self, attributes: &Attributes<'_>) -> Option<bool> {
        let is_allowed = self.allows(attributes);
        let is_node = matches!(Kind::of(&attributes.user.username), Kind::Node(_));
        (is_allowed || !is_node || is_master(attributes.user)).then_some(is_allowed)
    }
}
