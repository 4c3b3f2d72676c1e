//! Names of users: what a name says about whom it stands for.
//!
//! Source: `staging/src/k8s.io/apiserver/pkg/authentication/serviceaccount/util.go` and `user/user.go`.

use std::borrow::Cow;

use super::Subject;
use crate::event::User;

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const NODE: &str = "system:node:";

/// The user name of a service account.
pub fn username(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT}{namespace}:{name}")
}

/// What a user name stands for. Namespace and name are borrowed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'n> {
    User(&'n str),
    ServiceAccount {
        namespace: &'n str,
        name: &'n str,
    },
    Node(&'n str),
    /// A component of the control plane.
    ControlPlane(&'n str),
    Anonymous,
}

impl<'n> Kind<'n> {
    pub fn of(username: &'n str) -> Kind<'n> {
        if let Some((namespace, name)) =
            username.strip_prefix(SERVICE_ACCOUNT).and_then(|it| it.split_once(':'))
            && !namespace.is_empty()
            && !name.is_empty()
        {
            return Kind::ServiceAccount { namespace, name };
        }
        if let Some(name) = username.strip_prefix(NODE).filter(|it| !it.is_empty()) {
            return Kind::Node(name);
        }
        match username {
            "" | "system:anonymous" => Kind::Anonymous,
            "system:apiserver" | "system:aggregator" | "system:cloud-controller-manager" => {
                Kind::ControlPlane(username)
            }
            "kube-apiserver-kubelet-client" => Kind::ControlPlane(username),
            _ if username.starts_with("system:kube-") => Kind::ControlPlane(username),
            _ => Kind::User(username),
        }
    }

    pub fn as_str(&self) -> &'static str {
        match self {
            Kind::User(_) => "User",
            Kind::ServiceAccount { .. } => "ServiceAccount",
            Kind::Node(_) => "Node",
            Kind::ControlPlane(_) => "ControlPlane",
            Kind::Anonymous => "Anonymous",
        }
    }

    pub fn name(&self) -> &'n str {
        match self {
            Kind::User(name) | Kind::Node(name) | Kind::ControlPlane(name) => name,
            Kind::ServiceAccount { name, .. } => name,
            Kind::Anonymous => "system:anonymous",
        }
    }

    pub fn namespace(&self) -> Option<&'n str> {
        match self {
            Kind::ServiceAccount { namespace, .. } => Some(namespace),
            _ => None,
        }
    }

    /// As the subject of a binding would name it.
    pub fn subject(&self, username: &str) -> Subject {
        match self {
            Kind::ServiceAccount { namespace, name } => Subject {
                kind: "ServiceAccount".to_owned(),
                name: (*name).to_owned(),
                namespace: Some((*namespace).to_owned()),
            },
            _ => Subject { kind: "User".to_owned(), name: username.to_owned(), namespace: None },
        }
    }
}

/// The user name that a person means: `NAMESPACE/NAME` is a service account, anything else itself.
/// A name with a slash that is no service account's, as `oidc/alice`, cannot be told from one: then
/// who names it `User oidc/alice` or in full is understood.
pub fn parse(text: &str) -> Cow<'_, str> {
    if let Some(name) = text.strip_prefix("User ") {
        return Cow::Borrowed(name);
    }
    let text = text.strip_prefix("ServiceAccount ").unwrap_or(text);
    match text.split_once('/') {
        Some((namespace, name)) if is_label(namespace) && is_label(name) => {
            Cow::Owned(username(namespace, name))
        }
        _ => Cow::Borrowed(text),
    }
}

/// Whether this can be the name of a namespace or a service account: lower case, digits, `-`, `.`.
fn is_label(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || matches!(it, b'-' | b'.'))
}

/// The groups that a user has by its name alone.
pub fn implied_groups(username: &str) -> Vec<String> {
    let mut groups = Vec::new();
    match Kind::of(username) {
        Kind::ServiceAccount { namespace, .. } => {
            groups.push("system:serviceaccounts".to_owned());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        Kind::Node(_) => groups.push("system:nodes".to_owned()),
        Kind::Anonymous => return vec!["system:unauthenticated".to_owned()],
        Kind::User(_) | Kind::ControlPlane(_) => {}
    }
    groups.push("system:authenticated".to_owned());
    groups
}

/// A user of this name with these groups and the implied ones.
pub fn user<'a>(username: &'a str, groups: impl IntoIterator<Item = Cow<'a, str>>) -> User<'a> {
    let mut all: Vec<Cow<'a, str>> = groups.into_iter().collect();
    for group in implied_groups(username) {
        if !all.contains(&Cow::Borrowed(group.as_str())) {
            all.push(Cow::Owned(group));
        }
    }
    User { username: Cow::Borrowed(username), groups: all, ..User::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn kind(username: &str, expected: &str) {
        let it = Kind::of(username);
        let shown = format!("{} {} {}", it.as_str(), it.namespace().unwrap_or("-"), it.name());
        assert_eq!(shown, expected, "{username}");
    }

    #[test]
    fn kinds() {
        kind("alice", "User - alice");
        kind("system:serviceaccount:build:ci", "ServiceAccount build ci");
        kind("system:serviceaccount:build", "User - system:serviceaccount:build");
        kind("system:serviceaccount:a:b:c", "ServiceAccount a b:c");
        kind("system:node:cp-1", "Node - cp-1");
        kind("system:node:", "User - system:node:");
        kind("system:kube-scheduler", "ControlPlane - system:kube-scheduler");
        kind("system:apiserver", "ControlPlane - system:apiserver");
        kind("", "Anonymous - system:anonymous");
        kind("kubernetes-admin", "User - kubernetes-admin");
    }

    #[test]
    fn names_of_people() {
        for (text, expected) in [
            ("alice", "alice"),
            ("build/ci", "system:serviceaccount:build:ci"),
            ("ServiceAccount build/ci", "system:serviceaccount:build:ci"),
            ("User oidc/alice", "oidc/alice"),
            ("CN=x/O=y", "CN=x/O=y"),
            ("https://idp/#alice", "https://idp/#alice"),
            ("a/b/c", "a/b/c"),
            ("system:serviceaccount:build:ci", "system:serviceaccount:build:ci"),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn implied() {
        assert_eq!(
            implied_groups("system:serviceaccount:a:b"),
            ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]
        );
        assert_eq!(implied_groups("system:anonymous"), ["system:unauthenticated"]);
        assert_eq!(implied_groups("alice"), ["system:authenticated"]);
        let user = user("alice", [Cow::Borrowed("ops"), Cow::Borrowed("system:authenticated")]);
        assert_eq!(user.groups, ["ops", "system:authenticated"]);
    }
}
